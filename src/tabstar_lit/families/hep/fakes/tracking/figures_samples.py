"""Distributions of a stage of fakes: reweighted against reference, weights, log-ratios, data minus simulation."""

from __future__ import annotations

import numpy as np
import torch
from matplotlib.figure import Figure

from tabstar_lit.arrays import Float64
from tabstar_lit.families.hep.fakes.bins.profile import BEFORE, LEARNED
from tabstar_lit.families.hep.fakes.plotting_config import VariablePlot
from tabstar_lit.families.hep.fakes.subtraction import subtraction
from tabstar_lit.families.hep.fakes.tracking.reweighted import Reweighted
from tabstar_lit.plots.histograms import (
    Sample,
    binned,
    draw_band,
    draw_points,
    draw_ratio,
    draw_samples,
    range_edges,
    scale_to,
    with_ratio_panel,
)
from tabstar_lit.plots.style import PALETTE, new_figure

CENTRAL = (0.005, 0.995)
"""Quantiles a log-ratio is drawn between: it has no bound where one sample has no events."""


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
    seen = binned(values[reference], own.weights[reference], edges)
    before = binned(values[sample], own.weights[sample], edges)
    after = binned(values[sample], own.reweights[sample], edges)
    draw_points(axes, seen, label=own.names[0])
    axes.stairs(before.heights, edges, color=BEFORE, linestyle="--", baseline=None, label=own.names[1])
    draw_band(axes, after, color=LEARNED, label=f"{own.names[1]} × learned ratio")
    draw_ratio(below, seen, after, color=LEARNED)
    axes.set(ylabel="sum of weights / bin", title=f"{own.role.capitalize()}: χ²/bin {chi2:.2f}")
    scale_to(axes, seen)
    axes.legend(frameon=False)
    below.set(ylabel=f"{own.names[0]} /\nreweighted")
    return figure


def weights_figure(events: Reweighted, bins: int) -> Figure:
    """Draw how many events of each sample have which weight, before and after they are reweighted."""
    figure, panels = new_figure(1, 2, width=9.4, height=4.0)
    reference, sample = events.is_reference, ~events.is_reference
    before = [
        _counts(events.names[0], PALETTE[0], events.weights[reference]),
        _counts(events.names[1], BEFORE, events.weights[sample]),
    ]
    after = [_counts(f"{events.names[1]} × learned ratio", LEARNED, events.reweights[sample])]
    for axes, samples, title in zip(panels, (before, after), ("before", "after"), strict=True):
        edges = range_edges(np.concatenate([own.values for own in samples]), bins)
        draw_samples(axes, samples, edges, normalize=False)
        axes.set(xlabel="weight of an event", ylabel="events / bin", title=f"Weights {title} reweighting")
        axes.legend(frameon=False)
    return figure


def log_ratio_figure(events: Reweighted, bins: int) -> Figure:
    """Draw the log-ratio of both samples, normalized, and how far the heads are apart."""
    several = events.heads > 1
    figure, panels = new_figure(1, 2 if several else 1, width=9.4 if several else 5.4, height=4.0)
    low, high = np.quantile(events.mean, CENTRAL)
    edges = range_edges(events.mean, bins, (float(low), float(high)))
    groups = ((events.names[0], PALETTE[0], events.is_reference), (events.names[1], LEARNED, ~events.is_reference))
    samples = [
        Sample(f"{name}, mean {events.mean[own].mean():.2f}", color, events.mean[own], events.weights[own])
        for name, color, own in groups
        if own.any()
    ]
    draw_samples(panels[0], samples, edges, normalize=True)
    panels[0].set(xlabel="log-ratio, mean of the heads" if several else "log-ratio")
    panels[0].set(ylabel="share of the sum of weights / bin")
    panels[0].set(title=f"Log-ratio {events.names[0]} / {events.names[1]}")
    panels[0].legend(frameon=False)
    if several:
        spread = range_edges(events.std, bins, (0.0, float(np.quantile(events.std, 0.999)) or 1.0))
        counts = [_counts(name, color, events.std[own]) for name, color, own in groups]
        draw_samples(panels[1], counts, spread, normalize=True)
        panels[1].set(xlabel="standard deviation of the log-ratio over heads", ylabel="share of the events / bin")
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
    counted = binned(values, np.where(data, own.weights, -own.weights), edges)
    draw_points(axes, counted, label="data - simulation, counted")
    mean, std = torch.from_numpy(own.mean), torch.from_numpy(own.std)
    weights = own.weights * subtraction(mean, std, torch.from_numpy(data)).factors.numpy()
    for name, color, chosen in (("data × (1 - 1/r)", LEARNED, data), ("simulation × (r - 1)", PALETTE[0], ~data)):
        made = binned(values[chosen], weights[chosen], edges)
        draw_band(axes, made, color=color, label=name)
        draw_band(below, made.over(counted.heights), color=color)
    draw_points(below, counted.over(counted.heights))
    axes.set(ylabel="sum of weights / bin", title=f"{own.role.capitalize()}: data minus simulation")
    scale_to(axes, counted)
    axes.legend(frameon=False)
    below.set(ylabel="ratio to\ncounted")
    return figure


def _counts(label: str, color: str, values: Float64) -> Sample:
    """Return ``values [N]`` that count 1 each."""
    return Sample(label, color, values, np.ones(len(values)))
