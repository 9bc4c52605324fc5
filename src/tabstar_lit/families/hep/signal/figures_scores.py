"""Distributions of a signal classifier: scores, logits, discriminants, confusion, sculpting, embedding."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE

from tabstar_lit.arrays import Bool, Float64
from tabstar_lit.families.hep.plotting import binned, histogram, make_logarithmic, range_edges
from tabstar_lit.families.hep.signal.figures_curves import draw_one_vs_rest
from tabstar_lit.families.hep.signal.scored import Scored
from tabstar_lit.metrics.weighted import confusion, roc
from tabstar_lit.plots.style import PALETTE, SEQUENTIAL, new_figure

COLUMNS = 3
EMBEDDED_EVENTS = 2000
SLICES = (0.0, 0.5, 0.8, 0.95)
"""Shares of background that a cut removes; its variable is drawn for what each leaves."""


def by_class_figure(values: Float64, events: Scored, edges: Float64, *, xlabel: str, title: str) -> Figure:
    """Draw the distribution of ``values [N]`` for each class: as weighted, and each normalized to 1.

    The first is logarithmic and cannot show bins that negative weights made negative; the second can.
    """
    figure, panels = new_figure(1, 2, width=9.4, height=4.0)
    for axes, normalize in zip(panels, (False, True), strict=True):
        heights = [
            histogram(axes, values[own], events.weights[own], edges, label=name, color=color, normalize=normalize)
            for name, color, own in _present(events)
        ]
        axes.set(xlabel=xlabel, ylabel="normalized" if normalize else "sum of weights", title=title)
        if not normalize:
            make_logarithmic(axes, np.concatenate(heights))
    panels[1].legend(frameon=False)
    return figure


def confusion_figure(events: Scored) -> Figure:
    """Draw the confusion matrix as sums of weights, coloured and labelled with the share of each true class."""
    counts = confusion(events.predicted, events.targets, len(events.classes), events.weights)
    totals = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, totals, out=np.full_like(counts, np.nan), where=totals > 0)
    size = 2.6 + 0.9 * len(events.classes)
    figure, (axes,) = new_figure(width=size + 1, height=size, grid=False)
    image = axes.imshow(shares, vmin=0, vmax=1, cmap=SEQUENTIAL)
    for true, predicted in np.ndindex(counts.shape):
        share = shares[true, predicted]
        text = f"{counts[true, predicted]:.4g}" + ("" if np.isnan(share) else f"\n{100 * share:.1f} %")
        axes.text(predicted, true, text, ha="center", va="center", color="black" if share > 0.6 else "white")
    axes.set(xlabel="predicted", ylabel="true", title="Confusion (weighted, % of the true class)")
    axes.set_xticks(range(len(events.classes)), events.classes, rotation=30, ha="right")
    axes.set_yticks(range(len(events.classes)), events.classes)
    figure.colorbar(image, ax=axes, label="share of the true class")
    return figure


def one_vs_rest_figure(events: Scored) -> Figure:
    """Draw the ROC curve of each class against all others, by its probability."""
    curves = {name: roc(events.p[:, i], events.targets == i, events.weights) for i, name in enumerate(events.classes)}
    figure, (axes,) = new_figure(width=5.2, height=4.8)
    draw_one_vs_rest(axes, {name: curve for name, curve in curves.items() if curve is not None})
    return figure


def discriminants_figure(events: Scored, bins: int, logit_range: tuple[float, float] | None) -> Figure:
    """Draw ``log(p_i / sum_{j != i} p_j)`` of each class ``i``, for the events of every class, normalized."""
    count = len(events.classes)
    rows = -(-count // COLUMNS)
    columns = min(COLUMNS, count)
    figure, panels = new_figure(rows, columns, width=3.6 * columns + 0.6, height=3.2 * rows)
    for number, axes in enumerate(panels):
        if number >= count:
            axes.set_axis_off()
            continue
        values = events.discriminant([number], [c for c in range(count) if c != number])
        edges = range_edges(values, bins, logit_range)
        for name, color, own in _present(events):
            histogram(axes, values[own], events.weights[own], edges, label=name, color=color, normalize=True)
        axes.set(xlabel=f"log(p / (1 - p)) of {events.classes[number]}", ylabel="normalized")
    panels[0].legend(frameon=False, fontsize=9)
    return figure


def sculpting_figure(events: Scored, variable: str, bins: int) -> Figure:
    """Draw the background's ``variable`` in what ever harder cuts on the score leave, normalized, and its ratio.

    Flat ratios mean that the score does not sculpt the variable.
    """
    chosen = ~events.is_signal & np.isfinite(events.variables[variable])
    background = events.rows(chosen)
    values, scores, weights = background.variables[variable], background.logit, background.weights
    edges = range_edges(values, min(bins, 30), _central(values, weights))
    figure, (axes, below) = new_figure(2, 1, width=6.0, height=5.6, sharex=True, height_ratios=[3, 2])
    whole = binned(values, weights, edges, normalize=True)[0]
    for number, removed in enumerate(SLICES):
        passed = scores >= _quantile(scores, weights, removed) if removed else np.ones(len(scores), dtype=bool)
        if not passed.any():
            continue
        label = "all background" if not removed else f"most signal-like {100 * (1 - removed):.0f} %"
        color = PALETTE[number]
        histogram(axes, values[passed], weights[passed], edges, label=label, color=color, normalize=True)
        if removed:
            heights, errors = binned(values[passed], weights[passed], edges, normalize=True)
            ratio, spread = (_ratio(part, whole) for part in (heights, errors))
            below.errorbar((edges[1:] + edges[:-1]) / 2, ratio, yerr=spread, fmt="o", markersize=2.5, color=color)
    below.axhline(1, color="0.6", linewidth=1)
    axes.set(ylabel="normalized", title=f"Background {variable} above cuts on the score")
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
    axes.set(title=f"Logits of {len(values)} events, {method.upper()}", xlabel="1", ylabel="2")
    return figure


def _present(events: Scored) -> list[tuple[str, str, Bool]]:
    """Return name, colour and rows of each class that has events."""
    numbered = [(name, PALETTE[i % len(PALETTE)], events.targets == i) for i, name in enumerate(events.classes)]
    return [(name, color, own) for name, color, own in numbered if own.any()]


def _ratio(part: Float64, whole: Float64) -> Float64:
    return np.divide(part, whole, out=np.full_like(part, np.nan), where=whole > 0)


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
