"""What figures of event families have in common: histograms with their statistical bands, and curves by epoch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from tabstar_lit.arrays import Float64
from tabstar_lit.plots.style import PALETTE, new_figure


def histogram(
    axes: Axes, values: Float64, weights: Float64, edges: Float64, *, label: str, color: str, normalize: bool = False
) -> Float64:
    """Draw a weighted histogram with its statistical band, ``sqrt(sum w^2)`` in each bin.

    Parameters
    ----------
    axes : Axes
        Where to.
    values, weights : ndarray
        ``[N]``; values outside ``edges`` are counted in the first and last bin.
    edges : ndarray
        ``[bins + 1]``.
    label, color : str
        Of the curve.
    normalize : bool
        Divide by the sum of weights, where it is positive.

    Returns
    -------
    ndarray
        Heights of the bins.
    """
    heights, errors = binned(values, weights, edges, normalize=normalize)
    axes.stairs(heights, edges, color=color, label=label, linewidth=1.4)
    low, high = heights - errors, heights + errors
    axes.fill_between(edges, np.append(low, low[-1]), np.append(high, high[-1]), step="post", color=color, alpha=0.25)
    return heights


def name_units(figure: Figure, units: Mapping[str, str]) -> Figure:
    """Add the unit to each horizontal axis that is named after a column, or after its absolute value.

    Parameters
    ----------
    figure : Figure
        Is changed, and returned.
    units : mapping of str to str
        Column -> unit.
    """
    for axes in figure.axes:
        unit = units.get(axes.get_xlabel().removeprefix("abs_"), units.get(axes.get_xlabel()))
        if unit:
            axes.set_xlabel(f"{axes.get_xlabel()} [{unit}]")
    return figure


def binned(values: Float64, weights: Float64, edges: Float64, *, normalize: bool = False) -> tuple[Float64, Float64]:
    """Return sums of weights by bin and their errors, ``sqrt(sum w^2)``.

    Parameters
    ----------
    values, weights : ndarray
        ``[N]``; values outside ``edges`` are counted in the first and last bin.
    edges : ndarray
        ``[bins + 1]``.
    normalize : bool
        Divide both by the whole, where that is positive.
    """
    inside = np.clip(values, edges[0], edges[-1])
    heights = np.histogram(inside, edges, weights=weights)[0]
    errors = np.sqrt(np.histogram(inside, edges, weights=weights**2)[0])
    total = heights.sum()
    scale = 1 / total if normalize and total > 0 else 1.0
    return scale * heights, scale * errors


def range_edges(values: Float64, bins: int, limits: tuple[float, float] | None) -> Float64:
    """Return bin edges over ``limits``, or over where all but 1 in 1000 values lie."""
    low, high = np.quantile(values, [0.0005, 0.9995]) if limits is None and len(values) else limits or (0.0, 1.0)
    if not high > low:
        low, high = low - 0.5, low + 0.5
    return np.linspace(low, high, bins + 1)


def make_logarithmic(axes: Axes, heights: Float64) -> None:
    """Make the vertical axis logarithmic, from below the lowest bin on, where a bin is above 0."""
    positive = heights[heights > 0]
    if len(positive):
        axes.set_yscale("log", nonpositive="clip")
        axes.set_ylim(max(positive.min() / 2, positive.max() / 1e6), positive.max() * 2)


def epoch_figure(history: Sequence[Mapping[str, float]], names: Sequence[str], title: str) -> Figure | None:
    """Draw values of the history by epoch, or None where it has none of them."""
    curves = {name: [(entry["epoch"], entry[name]) for entry in history if name in entry] for name in names}
    curves = {name: curve for name, curve in curves.items() if curve}
    if not curves:
        return None
    figure, (axes,) = new_figure(width=6.4)
    for number, (name, curve) in enumerate(curves.items()):
        epochs, values = np.array(curve).T
        marker = "o" if len(epochs) <= 30 else None
        axes.plot(epochs, values, marker=marker, markersize=3.5, color=PALETTE[number % len(PALETTE)], label=name)
    axes.set(xlabel="epoch", title=title)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1.01, 0.5), fontsize=9)
    return figure
