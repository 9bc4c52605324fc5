"""Sequence logos: at each position the letters there, as high as they are informative (Schneider and Stephens 1990)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.font_manager import FontProperties
from matplotlib.patches import PathPatch
from matplotlib.textpath import TextPath
from matplotlib.transforms import Affine2D

from tabstar_lit.arrays import Float64
from tabstar_lit.plots.style import palette_color

GROUPS: Mapping[str, int] = {
    **dict.fromkeys("DE", 1),
    **dict.fromkeys("KRH", 0),
    **dict.fromkeys("FWY", 2),
    **dict.fromkeys("AVLIMPC", 3),
    **dict.fromkeys("GSTNQ", 4),
}
"""Letters of amino acids by chemistry, which colours them: acid, basic, aromatic, hydrophobic, polar."""

LEAST_HEIGHT = 0.02
"""Letters lower than this, in bits, are not drawn."""

_FONT = FontProperties(family="DejaVu Sans Mono", weight="bold")


def letter_heights(texts: Sequence[str], letters: str) -> Float64:
    """Return the height of each letter at each position, in bits.

    Parameters
    ----------
    texts : sequence of str
        Sequences of one length, L.
    letters : str
        The alphabet, of K letters.

    Returns
    -------
    NDArray of float64
        ``[L, K]`` share of the letter, times ``log2(K) - H``, the information of the position.
    """
    table = np.array([list(text) for text in texts])
    shares = np.stack([(table == letter).mean(0) for letter in letters], axis=1)
    entropy = -(shares * np.log2(np.where(shares > 0, shares, 1.0))).sum(1)
    return np.asarray(shares * (np.log2(len(letters)) - entropy)[:, None])


def draw_logo(axes: Axes, texts: Sequence[str], letters: str) -> None:
    """Draw the logo of sequences of one length, the most frequent letters on top."""
    heights = letter_heights(texts, letters)
    for place, column in enumerate(heights):
        bottom = 0.0
        for number in np.argsort(column):
            if column[number] >= LEAST_HEIGHT:
                _draw_letter(axes, letters[number], place, bottom, column[number])
                bottom += column[number]
    axes.set_xlim(-0.5, len(heights) - 0.5)
    axes.set_xticks(range(len(heights)), [str(place + 1) for place in range(len(heights))])
    axes.set_ylim(0, max(axes.get_ylim()[1], 1.05 * heights.sum(axis=1).max()))
    axes.set_ylabel("information (bits)")


def _draw_letter(axes: Axes, letter: str, place: int, bottom: float, height: float) -> None:
    path = TextPath((0, 0), letter, size=1, prop=_FONT)
    box = path.get_extents()
    shape = Affine2D().translate(-box.x0, -box.y0).scale(0.9 / box.width, height / box.height)
    moved = shape.translate(place - 0.45, bottom).transform_path(path)
    axes.add_patch(PathPatch(moved, facecolor=palette_color(GROUPS.get(letter, 5)), linewidth=0))
