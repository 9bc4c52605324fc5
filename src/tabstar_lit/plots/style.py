"""One look for all figures: object-oriented matplotlib and colours everyone can tell apart.

Figures made here belong to nobody but the caller: no global state, no window, nothing that stays in memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any, Literal

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.rcsetup import cycler

from tabstar_lit.errors import ConfigError
from tabstar_lit.files import replacement

PlotStyle = Literal["default", "atlas", "cms"]

PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#F0E442")
"""Okabe and Ito's colours, readable with every common colour vision deficiency; the darkest first."""

SEQUENTIAL = "viridis"
"""Colour map for values that grow: perceptually uniform, also in grey."""

DIVERGING = "PuOr"
"""Colour map for values around a middle: safe for red-green deficiency."""

DPI = 120

STYLE: dict[Any, Any] = {  # matplotlib types its keys as one long list of literals
    "axes.axisbelow": True,
    "axes.prop_cycle": cycler(color=PALETTE),
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": 11,
    "figure.dpi": DPI,
    "font.size": 10,
    "grid.alpha": 0.3,
    "grid.linewidth": 0.6,
    "image.cmap": SEQUENTIAL,
}

TAKEN = ("xtick.", "ytick.", "xaxis.labellocation", "yaxis.labellocation", "legend.frameon", "axes.unicode_minus")
"""Settings that a collaboration's style gives."""

_current: ContextVar[Mapping[Any, Any]] = ContextVar("style", default=STYLE)


def style_of(name: PlotStyle) -> Mapping[Any, Any]:
    """Return matplotlib's settings for a style: ours, or those of a collaboration as mplhep has them.

    Sizes and colours stay ours, so that many panels remain readable and everybody can tell curves apart; frame, ticks,
    places of labels and the font are theirs, without a grid.

    Raises
    ------
    ConfigError
        mplhep is not installed.
    """
    if name == "default":
        return STYLE
    try:
        import mplhep
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"experiment_config.plot_style: {name} needs mplhep: pip install 'tabstar_lit[styles]'"
        ) from error
    theirs = {"atlas": mplhep.style.ATLAS, "cms": mplhep.style.CMS}[name]
    taken = {key: value for key, value in theirs.items() if key.startswith(TAKEN) and not key.endswith("size")}
    family = [theirs["font.sans-serif"][0], "DejaVu Sans"]  # Greek letters and signs come from the second
    frame = {"axes.spines.right": True, "axes.spines.top": True, "axes.grid": False}
    return {**STYLE, **taken, **frame, "font.family": family}


@contextmanager
def in_style(settings: Mapping[Any, Any]) -> Iterator[None]:
    """Make and write the figures of the block with these settings, see :func:`style_of`."""
    token = _current.set(settings)
    try:
        with rc_context(dict(settings)):  # labels and legends take theirs when they are made
            yield
    finally:
        _current.reset(token)


def palette_color(number: int) -> str:
    """Return the colour of the curve, class or sample of a number from 0 on."""
    return PALETTE[number % len(PALETTE)]


def new_figure(
    rows: int = 1,
    columns: int = 1,
    *,
    width: float = 6.4,
    height: float = 4.2,
    grid: bool = True,
    **subplots: Any,
) -> tuple[Figure, list[Axes]]:
    """Return a figure in the common style and its axes, row by row.

    Parameters
    ----------
    rows, columns : int
        Grid of axes.
    width, height : float
        Size of the whole figure in inches.
    grid : bool
        Draw grid lines; switch off for images and heat maps.
    **subplots
        Passed to :meth:`matplotlib.figure.Figure.subplots` (``sharex``, ``width_ratios`` ...).

    Returns
    -------
    tuple of Figure and list of Axes
        ``rows * columns`` axes.
    """
    settings = _current.get()
    with rc_context({**settings, "axes.grid": grid and settings.get("axes.grid", True)}):
        figure = Figure(figsize=(width, height), dpi=DPI, layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.subplots(rows, columns, squeeze=False, **subplots)
    return figure, list(axes.flat)


def save_figure(figure: Figure, path: Path, *, note: str = "", also: Sequence[str] = ()) -> Path:
    """Write ``figure`` to ``path`` as a whole (never half a file under that name) and close it.

    Parameters
    ----------
    figure : Figure
        Is empty afterwards.
    path : Path
        Its suffix chooses the format; missing folders are made.
    note : str
        Small print below: which run, data, split and rows it shows.
    also : sequence of str
        Suffixes of further formats, such as ``.pdf``, written beside it.

    Returns
    -------
    Path
        ``path``.
    """
    try:
        if note:
            figure.supxlabel(note, x=0.995, ha="right", fontsize=7, color="0.45")
        for own in (path, *map(path.with_suffix, also)):
            with replacement(own, sync=False) as part, rc_context(dict(_current.get())):
                figure.savefig(part, format=own.suffix.removeprefix("."))
    finally:
        figure.clear()
    return path
