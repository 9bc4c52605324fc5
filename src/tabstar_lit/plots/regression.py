"""How near predicted values are to true ones."""

from __future__ import annotations

from matplotlib.axes import Axes

from tabstar_lit.arrays import Float64
from tabstar_lit.plots.style import PALETTE

MOST_POINTS = 2000
"""More rows are drawn as a density: points would hide each other."""
FEW_POINTS = 100
CELLS = 40
"""Cells of a density along the horizontal axis."""


def draw_predicted_against_true(axes: Axes, true: Float64, predicted: Float64, unit: str) -> None:
    """Draw predictions against targets, with the line of equality: as points, or where they are many as a density.

    Parameters
    ----------
    axes : Axes
        Where to.
    true, predicted : ndarray
        ``[N]``, at least one row.
    unit : str
        Of both, as in "true z-score".
    """
    low, high = min(true.min(), predicted.min()), max(true.max(), predicted.max())
    if len(true) > MOST_POINTS:
        cells = axes.hexbin(true, predicted, gridsize=CELLS, bins="log", mincnt=1, linewidths=0.1)
        axes.figure.colorbar(cells, ax=axes, label="rows / cell")
    else:
        size = 5 if len(true) <= FEW_POINTS else 3
        axes.plot(true, predicted, "o", markersize=size, alpha=0.6, color=PALETTE[0], markeredgewidth=0)
    axes.plot([low, high], [low, high], color="0.4", linewidth=1, linestyle="--")
    axes.set(xlabel=f"true {unit}", ylabel=f"predicted {unit}")
