"""Distributions of a stage of fakes: reweighted against reference, weights, log-ratios, data minus simulation."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tabstar_lit.arrays import Float64
from tabstar_lit.families.hep.fakes.subtraction import subtraction
from tabstar_lit.families.hep.fakes.tracking.figures_style import (
    BEFORE,
    COUNTED,
    LEARNED,
    draw_band,
    draw_points,
    draw_ratio,
    middles,
    plot_edges,
    scale_to,
    with_ratio_panel,
)
from tabstar_lit.families.hep.fakes.tracking.plotting_config import VariablePlot
from tabstar_lit.families.hep.fakes.tracking.reweighted import Reweighted
from tabstar_lit.families.hep.plotting import binned, histogram, make_logarithmic, range_edges
from tabstar_lit.plots.style import PALETTE, new_figure

CENTRAL = (0.005, 0.995)
"""Quantiles a log-ratio is drawn between: it has no bound where one sample has no events."""


def reweighting_figure(events: Reweighted, variable: str, plot: VariablePlot, chi2: float) -> Figure:
    """Draw the reference, and the other sample before and after it is reweighted, above their ratio.

    Bands and bars are statistical; ``chi2`` is what was logged, per bin.
    """
    values = events.variable(variable)
    known = np.isfinite(values)
    values, own = values[known], events.rows(known)
    reference, sample = own.is_reference, ~own.is_reference
    edges = plot_edges(values, plot)
    figure, axes, below = with_ratio_panel(variable, log=plot.log)
    heights, errors = binned(values[reference], own.weights[reference], edges)
    draw_points(axes, heights, errors, edges, label=own.names[0])
    axes.stairs(binned(values[sample], own.weights[sample], edges)[0], edges, color=BEFORE, linestyle="--")
    axes.plot([], [], color=BEFORE, linestyle="--", label=own.names[1])
    after = histogram(
        axes, values[sample], own.reweights[sample], edges, label=f"{own.names[1]} × learned ratio", color=LEARNED
    )
    spread = binned(values[sample], own.reweights[sample], edges)[1]
    draw_ratio(below, (heights, errors), (after, spread), edges)
    axes.set(ylabel="sum of weights", title=f"{own.role.capitalize()}: χ²/bin {chi2:.2f}")
    scale_to(axes, heights, errors)
    axes.legend(frameon=False)
    below.set(ylabel=f"{own.names[0]} /\nreweighted")
    return figure


def weights_figure(events: Reweighted, bins: int) -> Figure:
    """Draw how many events of each sample have which weight, before and after they are reweighted."""
    figure, panels = new_figure(1, 2, width=9.4, height=4.0)
    reference, sample = events.is_reference, ~events.is_reference
    before = {
        events.names[0]: (events.weights[reference], PALETTE[0]),
        events.names[1]: (events.weights[sample], BEFORE),
    }
    after = {f"{events.names[1]} × learned ratio": (events.reweights[sample], LEARNED)}
    _draw_counts(panels[0], before, bins, "Weights of events")
    _draw_counts(panels[1], after, bins, "Weights after reweighting")
    return figure


def log_ratio_figure(events: Reweighted, bins: int) -> Figure:
    """Draw the log-ratio of both samples, normalized, and how far the heads are apart."""
    several = events.heads > 1
    figure, panels = new_figure(1, 2 if several else 1, width=9.4 if several else 5.4, height=4.0)
    low, high = np.quantile(events.mean, CENTRAL)
    edges = range_edges(events.mean, bins, (float(low), float(high)))
    groups = ((events.names[0], PALETTE[0], events.is_reference), (events.names[1], LEARNED, ~events.is_reference))
    for name, color, own in groups:
        if own.any():
            label = f"{name}, mean {events.mean[own].mean():.2f}"
            weights = events.weights[own]
            histogram(panels[0], events.mean[own], weights, edges, label=label, color=color, normalize=True)
    panels[0].set(xlabel="log-ratio, mean of the heads" if several else "log-ratio", ylabel="normalized")
    panels[0].set(title=f"Log-ratio {events.names[0]} / {events.names[1]}")
    panels[0].legend(frameon=False)
    if several:
        spread = range_edges(events.std, bins, (0.0, float(np.quantile(events.std, 0.999)) or 1.0))
        for name, color, own in groups:
            ones = np.ones(int(own.sum()))
            histogram(panels[1], events.std[own], ones, spread, label=name, color=color, normalize=True)
        panels[1].set(xlabel="standard deviation of the log-ratio", ylabel="normalized (unweighted)")
        panels[1].set(title=f"Spread of {events.heads} heads")
    return figure


def subtraction_figure(events: Reweighted, variable: str, plot: VariablePlot) -> Figure:
    """Draw data minus simulation as counted in bins, and as the weights ``1 - 1/r`` and ``r - 1`` make it of either."""
    values = events.variable(variable)
    known = np.isfinite(values)
    values, own = values[known], events.rows(known)
    data = own.is_reference
    edges = plot_edges(values, plot)
    figure, axes, below = with_ratio_panel(variable, log=plot.log)
    counted, errors = binned(values, np.where(data, own.weights, -own.weights), edges)
    draw_points(axes, counted, errors, edges, label="data - simulation, counted")
    mean, std = torch.from_numpy(own.mean), torch.from_numpy(own.std)
    weights = own.weights * subtraction(mean, std, torch.from_numpy(data)).factors.numpy()
    for name, color, chosen in (("data × (1 - 1/r)", LEARNED, data), ("simulation × (r - 1)", PALETTE[0], ~data)):
        heights = histogram(axes, values[chosen], weights[chosen], edges, label=name, color=color)
        positive = np.where(counted > 0, counted, np.nan)
        spread = binned(values[chosen], weights[chosen], edges)[1]
        draw_band(below, heights / positive, spread / positive, edges, color=color)
    below.errorbar(middles(edges), np.ones(len(counted)), yerr=errors / positive, fmt=".", color=COUNTED)
    axes.set(ylabel="sum of weights", title=f"{own.role.capitalize()}: data minus simulation")
    scale_to(axes, counted, errors)
    axes.legend(frameon=False)
    below.set(ylabel="ratio to\ncounted")
    return figure


def _draw_counts(axes: Axes, groups: Mapping[str, tuple[Float64, str]], bins: int, title: str) -> None:
    edges = range_edges(np.concatenate([weights for weights, _ in groups.values()]), bins, None)
    heights = [
        histogram(axes, weights, np.ones(len(weights)), edges, label=name, color=color)
        for name, (weights, color) in groups.items()
    ]
    axes.set(xlabel="weight", ylabel="events", title=title)
    make_logarithmic(axes, np.concatenate(heights))
    axes.legend(frameon=False)
