"""Weighted histograms: sums of weights with their statistical errors, as bands or points, and ratios of two below.

An error is ``sqrt(sum w^2)``; weights may be negative. All values are counted: those beyond the bins in the outermost.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tabstar_lit.arrays import Float64
from tabstar_lit.plots.style import new_figure

COUNTED = "#000000"
"""Colour of points: what was counted, and others are compared with."""
CENTRAL = (0.0005, 0.9995)
"""Quantiles that bins reach to, where nobody says how far."""
STEEP = 30.0
"""A spectrum whose highest bin is so many times its median one is drawn logarithmically."""
DECADES = 1e6
"""A logarithmic axis goes down from the highest bin by at most this factor."""
RATIO_LIMITS = (0.4, 1.6)


class Bins(NamedTuple):
    """A weighted histogram.

    Attributes
    ----------
    heights, errors : ndarray
        ``[bins]`` sums of weights and their errors.
    edges : ndarray
        ``[bins + 1]``.
    """

    heights: Float64
    errors: Float64
    edges: Float64

    @property
    def middles(self) -> Float64:
        """The middle of each bin."""
        return np.asarray((self.edges[1:] + self.edges[:-1]) / 2)

    def over(self, whole: Float64) -> Bins:
        """Return both divided by ``whole [bins]``; NaN where that is not above 0."""
        positive = np.where(whole > 0, whole, np.nan)
        return Bins(self.heights / positive, self.errors / positive, self.edges)


class Sample(NamedTuple):
    """Values ``[N]`` of one class or sample with their weights ``[N]``, and how they are drawn."""

    label: str
    color: str
    values: Float64
    weights: Float64


def binned(values: Float64, weights: Float64, edges: Float64, *, normalize: bool = False) -> Bins:
    """Return sums of weights by bin and their errors.

    Parameters
    ----------
    values, weights : ndarray
        ``[N]``.
    edges : ndarray
        ``[bins + 1]``, rising.
    normalize : bool
        Divide both by the whole, where that is positive.
    """
    inside = np.clip(values, edges[0], edges[-1])
    heights = np.histogram(inside, edges, weights=weights)[0]
    errors = np.sqrt(np.histogram(inside, edges, weights=weights**2)[0])
    total = heights.sum()
    scale = 1 / total if normalize and total > 0 else 1.0
    return Bins(scale * heights, scale * errors, edges)


def range_edges(values: Float64, bins: int, limits: tuple[float, float] | None = None) -> Float64:
    """Return edges of ``bins`` equal bins over ``limits``, or over where all but 1 in 1000 values lie."""
    low, high = np.quantile(values, CENTRAL) if limits is None and len(values) else limits or (0.0, 1.0)
    if not high > low:
        low, high = low - 0.5, low + 0.5
    return np.linspace(low, high, bins + 1)


def draw_band(axes: Axes, bins: Bins, *, color: str, label: str = "") -> None:
    """Draw a histogram as a line with the band of its errors."""
    axes.stairs(bins.heights, bins.edges, color=color, linewidth=1.4, label=label or None, baseline=None)
    low, high = (np.append(y, y[-1:]) for y in (bins.heights - bins.errors, bins.heights + bins.errors))
    axes.fill_between(bins.edges, low, high, step="post", color=color, alpha=0.25, linewidth=0)


def draw_points(axes: Axes, bins: Bins, *, color: str = COUNTED, label: str = "", widths: bool = False) -> None:
    """Draw a histogram as points with error bars, and with ``widths`` bars as wide as the bins."""
    axes.errorbar(
        bins.middles,
        bins.heights,
        yerr=bins.errors,
        xerr=np.diff(bins.edges) / 2 if widths else None,
        fmt="o",
        markersize=3,
        linewidth=1,
        color=color,
        label=label or None,
        zorder=3,
    )


def draw_ratio(axes: Axes, reference: Bins, sample: Bins, *, color: str) -> None:
    """Draw reference over sample with the errors of the first as bars, and those of the second as a band around 1."""
    draw_band(axes, sample.over(sample.heights), color=color)
    draw_points(axes, reference.over(sample.heights))


def with_ratio_panel(xlabel: str, *, log: bool = False) -> tuple[Figure, Axes, Axes]:
    """Return a figure with a panel for a ratio below, on the same axis; logarithmic with ``log``."""
    figure, (axes, below) = new_figure(2, 1, width=6.4, height=5.6, sharex=True, height_ratios=[3, 1.2])
    below.axhline(1, color="0.6", linewidth=1)
    below.set(xlabel=xlabel, ylim=RATIO_LIMITS)
    if log:
        below.set_xscale("log")
    return figure, axes, below


def sample_figure(samples: Sequence[Sample], edges: Float64, *, xlabel: str, title: str) -> Figure:
    """Draw a distribution in several samples: as weighted, and each normalized to 1.

    The first is logarithmic and cannot show bins that negative weights made negative; the second can.

    Parameters
    ----------
    samples : sequence of Sample
        Classes, or what else is compared.
    edges : ndarray
        ``[bins + 1]``.
    xlabel, title : str
        What the values are.
    """
    figure, (left, right) = new_figure(1, 2, width=9.4, height=4.0)
    draw_samples(left, samples, edges, normalize=False)
    draw_samples(right, samples, edges, normalize=True)
    left.set(xlabel=xlabel, ylabel="sum of weights / bin", title=title)
    right.set(xlabel=xlabel, ylabel="share of the sum of weights / bin", title=f"{title}, each normalized to 1")
    right.legend(frameon=False)
    return figure


def draw_samples(axes: Axes, samples: Sequence[Sample], edges: Float64, *, normalize: bool) -> None:
    """Draw a distribution in several samples: each normalized to 1, or as weighted on a logarithmic axis."""
    heights = []
    for own in samples:
        bins = binned(own.values, own.weights, edges, normalize=normalize)
        draw_band(axes, bins, color=own.color, label=own.label)
        heights.append(bins.heights)
    if not normalize and heights:
        make_logarithmic(axes, np.concatenate(heights))


def overlay_figure(
    first: Sequence[Sample],
    second: Sequence[Sample],
    edges: Float64,
    *,
    names: tuple[str, str],
    xlabel: str,
    title: str,
    notes: Mapping[str, str] | None = None,
) -> Figure:
    """Draw the same samples of two origins over each other, each normalized to 1, above the ratio of the two.

    Parameters
    ----------
    first, second : sequence of Sample
        Drawn as lines with bands, and as points. Those of equal label are compared.
    edges : ndarray
        ``[bins + 1]``.
    names : tuple of str
        What the origins are, such as training and validation.
    xlabel, title : str
        What the values are.
    notes : mapping of str to str
        By label, what else is said of a comparison.
    """
    figure, axes, below = with_ratio_panel(xlabel)
    wholes = {own.label: binned(own.values, own.weights, edges, normalize=True) for own in first}
    for own in first:
        draw_band(axes, wholes[own.label], color=own.color, label=f"{own.label}, {names[0]}")
    for own in second:
        bins = binned(own.values, own.weights, edges, normalize=True)
        note = (notes or {}).get(own.label)
        draw_points(axes, bins, color=own.color, label=f"{own.label}, {names[1]}" + (f"\n{note}" if note else ""))
        if own.label in wholes:
            draw_points(below, _ratio(bins, wholes[own.label]), color=own.color)
    axes.set(ylabel="share of the sum of weights / bin", title=title)
    axes.legend(frameon=False)
    below.set(ylabel=f"{names[1]} /\n{names[0]}")
    return figure


def _ratio(bins: Bins, whole: Bins) -> Bins:
    """Return the ratio of two independent histograms, with the errors of both."""
    ratio, relative = bins.over(whole.heights), whole.over(whole.heights).errors
    return Bins(ratio.heights, np.hypot(ratio.errors, ratio.heights * relative), bins.edges)


def make_logarithmic(axes: Axes, heights: Float64) -> None:
    """Make the vertical axis logarithmic, from below the lowest bin on, where a bin is above 0."""
    positive = heights[heights > 0]
    if len(positive):
        axes.set_yscale("log", nonpositive="clip")
        axes.set_ylim(max(positive.min() / 2, positive.max() / DECADES), positive.max() * 2)


def scale_to(axes: Axes, bins: Bins) -> None:
    """Scale the vertical axis to one histogram, whatever one value of large weight adds to the others.

    Logarithmic where the spectrum falls steeply.
    """
    positive = bins.heights[bins.heights > 0]
    if len(positive) and positive.max() > STEEP * np.median(positive):
        make_logarithmic(axes, bins.heights)
    elif len(positive):
        low, high = (bins.heights - bins.errors).min(), (bins.heights + bins.errors).max()
        axes.set_ylim(min(0.0, 1.1 * float(low)), 1.25 * float(high))
