"""How figures of fakes look: points for what was counted, lines with bands for what was learned, ratios below."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tabstar_lit.arrays import Float64
from tabstar_lit.families.hep.fakes.tracking.plotting_config import VariablePlot
from tabstar_lit.families.hep.plotting import make_logarithmic, range_edges
from tabstar_lit.plots.style import PALETTE, new_figure

COUNTED, LEARNED, BEFORE, TRUTH = "#000000", PALETTE[1], "0.55", PALETTE[2]
RATIO_RANGE = (0.4, 1.6)
STEEP = 30.0
"""A spectrum whose highest bin is so many times its median one is drawn logarithmically."""


def plot_edges(values: Float64, plot: VariablePlot) -> Float64:
    """Return the bin edges of a variable ``[N]``; whole numbers in a short range get a bin each."""
    low, high = np.quantile(values, [0.0005, 0.9995]) if len(values) else (0.0, 1.0)
    low, high = (own if own is not None else found for own, found in ((plot.low, low), (plot.high, high)))
    if plot.log:
        positive = values[values > 0]
        low = low if low > 0 else float(positive.min(initial=high))
        if 0 < low < high:
            return np.geomspace(low, high, plot.bins + 1)
    if plot.low is None and plot.high is None and high - low < plot.bins and not np.any(values % 1):
        return np.arange(low, high + 2) - 0.5
    return range_edges(values, plot.bins, (float(low), float(high)))


def draw_points(axes: Axes, heights: Float64, errors: Float64, edges: Float64, *, label: str) -> None:
    """Draw bins as points with error bars."""
    axes.errorbar(middles(edges), heights, yerr=errors, fmt="o", markersize=3, color=COUNTED, label=label, zorder=3)


def draw_band(axes: Axes, heights: Float64, errors: Float64, edges: Float64, *, color: str, label: str = "") -> None:
    """Draw bins as a line with a band."""
    axes.stairs(heights, edges, color=color, linewidth=1.4, label=label or None, baseline=None)
    low, high = (np.append(y, y[-1]) for y in (heights - errors, heights + errors))
    axes.fill_between(edges, low, high, step="post", color=color, alpha=0.25, linewidth=0)


def draw_ratio(
    axes: Axes,
    reference: tuple[Float64, Float64],
    sample: tuple[Float64, Float64],
    edges: Float64,
    color: str = LEARNED,
) -> None:
    """Draw reference over sample with the errors of the first as bars, and those of the second as a band around 1."""
    positive = np.where(sample[0] > 0, sample[0], np.nan)
    draw_band(axes, np.ones_like(positive), sample[1] / positive, edges, color=color)
    axes.errorbar(
        middles(edges), reference[0] / positive, yerr=reference[1] / positive, fmt="o", markersize=3, color=COUNTED
    )


def scale_to(axes: Axes, heights: Float64, errors: Float64) -> None:
    """Scale the vertical axis to what was counted, whatever one event of large weight adds to the rest.

    Logarithmic where the spectrum falls steeply.
    """
    positive = heights[heights > 0]
    if len(positive) and positive.max() > STEEP * np.median(positive):
        make_logarithmic(axes, heights)
    elif len(positive):
        axes.set_ylim(min(0.0, 1.1 * float((heights - errors).min())), 1.25 * float((heights + errors).max()))


def with_ratio_panel(xlabel: str, *, log: bool) -> tuple[Figure, Axes, Axes]:
    """Return a figure with a panel for a ratio below."""
    figure, (axes, below) = new_figure(2, 1, width=6.4, height=5.6, sharex=True, height_ratios=[3, 1.2])
    below.axhline(1, color="0.6", linewidth=1)
    below.set(xlabel=xlabel, ylim=RATIO_RANGE)
    if log:
        below.set_xscale("log")
    return figure, axes, below


def middles(edges: Float64) -> Float64:
    """Return the middle of each bin."""
    return np.asarray((edges[1:] + edges[:-1]) / 2)
