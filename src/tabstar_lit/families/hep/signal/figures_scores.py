"""Distributions of a signal classifier: scores, logits, discriminants, sculpting, embedding."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE

from tabstar_lit.arrays import Bool, Float64
from tabstar_lit.families.hep.signal.scored import Scored
from tabstar_lit.metrics.weighted import kolmogorov_smirnov
from tabstar_lit.plots.histograms import (
    Sample,
    binned,
    draw_band,
    draw_points,
    draw_samples,
    overlay_figure,
    range_edges,
    sample_figure,
)
from tabstar_lit.plots.style import PALETTE, new_figure, palette_color

EMBEDDED_EVENTS = 2000
OVERLAY_BINS = 30
SLICES = (0.0, 0.5, 0.8, 0.95)
"""Shares of background that a cut removes; its variable is drawn for what each leaves."""


def by_class_figure(values: Float64, events: Scored, edges: Float64, *, xlabel: str, title: str) -> Figure:
    """Draw the distribution of ``values [N]`` for each class: as weighted, and each normalized to 1."""
    return sample_figure(_by_class(values, events), edges, xlabel=xlabel, title=title)


def overtraining_figure(trained: Scored, held_out: Scored, bins: int, held_out_name: str) -> Figure:
    """Draw the logit of each class for training events, and for events that were not trained on.

    A network that has learned its events by heart gives them better scores than others of the same class.
    """
    first, second = (_by_class(events.logit, events) for events in (trained, held_out))
    edges = range_edges(held_out.logit, min(bins, OVERLAY_BINS))
    title = f"{len(trained.targets)} training events against {len(held_out.targets)} of {held_out_name}"
    names, xlabel = ("training", held_out_name), "log(p signal / p background)"
    others = {own.label: own for own in second}
    pairs = [(own, others[own.label]) for own in first if own.label in others]
    notes = {own.label: _compared(own, other) for own, other in pairs}
    return overlay_figure(first, second, edges, names=names, xlabel=xlabel, title=title, notes=notes)


def _compared(own: Sample, other: Sample) -> str:
    distance, p_value = kolmogorov_smirnov(own.values, other.values, (own.weights, other.weights))
    return f"KS distance {distance:.3f}, p = {p_value:.2g}"


def discriminant_panels(
    events: Scored, bins: int, logit_range: tuple[float, float] | None
) -> dict[str, Callable[[Axes], None]]:
    """Return what draws ``log(p_i / sum_{j != i} p_j)`` of each class ``i`` for the events of every class."""

    def draw(axes: Axes, own: int) -> None:
        values = events.discriminant([own], [c for c in range(len(events.classes)) if c != own])
        draw_samples(axes, _by_class(values, events), range_edges(values, bins, logit_range), normalize=True)
        axes.set(xlabel="log(p / (1 - p))", ylabel="share of each class / bin")
        axes.legend(frameon=False, fontsize=7)

    return {f"discriminant of {name}": partial(draw, own=number) for number, name in enumerate(events.classes)}


def sculpting_figure(events: Scored, variable: str, bins: int) -> Figure:
    """Draw the background's ``variable`` in what ever harder cuts on the score leave, normalized, and its ratio.

    Flat ratios mean that the score does not sculpt the variable.
    """
    chosen = ~events.is_signal & np.isfinite(events.variables[variable])
    background = events.rows(chosen)
    values, scores, weights = background.variables[variable], background.logit, background.weights
    edges = range_edges(values, min(bins, 30), _central(values, weights))
    figure, (axes, below) = new_figure(2, 1, width=6.0, height=5.6, sharex=True, height_ratios=[3, 2])
    whole = binned(values, weights, edges, normalize=True)
    for number, removed in enumerate(SLICES):
        passed = scores >= _quantile(scores, weights, removed) if removed else np.ones(len(scores), dtype=bool)
        if not passed.any():
            continue
        label = "all background" if not removed else f"most signal-like {100 * (1 - removed):.0f} %"
        color = PALETTE[number]
        part = binned(values[passed], weights[passed], edges, normalize=True)
        draw_band(axes, part, color=color, label=label)
        if removed:
            draw_points(below, part.over(whole.heights), color=color)
    below.axhline(1, color="0.6", linewidth=1)
    axes.set(ylabel="share of what passes / bin", title=f"Background {variable} above cuts on the score")
    axes.legend(frameon=False)
    below.set(xlabel=variable, ylabel="ratio to all", ylim=(0, 3))
    return figure


def embedding_figure(events: Scored, method: str) -> Figure:
    """Draw the log-probabilities of up to 2000 events in a plane, by PCA or t-SNE, coloured by class."""
    few = events.at_most(EMBEDDED_EVENTS)
    values = few.log_p - few.log_p.mean(axis=1, keepdims=True)  # logits up to the constant that softmax ignores
    figure, (axes,) = new_figure(width=5.8, height=5.0)
    if len(values) >= 3:
        perplexity = min(30.0, (len(values) - 1) / 3)
        reducer = PCA(2) if method == "pca" else TSNE(2, perplexity=perplexity, init="random", random_state=0)
        places = reducer.fit_transform(values)
        for name, color, own in _present(few):
            axes.plot(*places[own].T, ".", color=color, label=name, alpha=0.5, markersize=4)
        axes.legend(frameon=False)
    axes.set(
        title=f"Logits of {len(values)} events, {method.upper()}", xlabel="first component", ylabel="second component"
    )
    return figure


def _by_class(values: Float64, events: Scored) -> list[Sample]:
    """Return ``values [N]`` of each class that has events."""
    return [Sample(name, color, values[own], events.weights[own]) for name, color, own in _present(events)]


def _present(events: Scored) -> list[tuple[str, str, Bool]]:
    """Return name, colour and rows of each class that has events."""
    numbered = [(name, palette_color(i), events.targets == i) for i, name in enumerate(events.classes)]
    return [(name, color, own) for name, color, own in numbered if own.any()]


def _quantile(values: Float64, weights: Float64, share: float) -> float:
    """Return the value below which ``share`` of the weight lies; negative weights count as none."""
    order = np.argsort(values)
    rising = np.cumsum(np.maximum(weights[order], 0.0))
    return float(values[order][min(len(values) - 1, np.searchsorted(rising, share * rising[-1]))])


def _central(values: Float64, weights: Float64) -> tuple[float, float] | None:
    """Return where all but 1 in 100 of the weight lies, so that few events of little weight do not set the scale."""
    if not weights.clip(0).sum() > 0:
        return None
    return _quantile(values, weights, 0.005), _quantile(values, weights, 0.995)
