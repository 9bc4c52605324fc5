"""What the tracker draws: distances, ordinations, targets, and classical models beside the network."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from tabstar_lit.arrays import Float64
from tabstar_lit.families.microbes.facts import StudyFacts
from tabstar_lit.families.microbes.ordination import aligned, pcoa
from tabstar_lit.families.microbes.scores import by_group, number_scores, pair_scores
from tabstar_lit.families.microbes.study.batch import NO_CLASS
from tabstar_lit.metrics.weighted import roc
from tabstar_lit.plots.classification import confusion_figure, roc_figure
from tabstar_lit.plots.regression import draw_predicted_against_true
from tabstar_lit.plots.style import PALETTE, new_figure, palette_color

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_COLOURS = len(PALETTE)
"""Categories of a column that are drawn; more cannot be told apart."""
SHOWN_GROUPS = 30


def distance_figure(predicted: Float64, true: Float64) -> Figure:
    """Draw predicted against true UniFrac of pairs ``[P]``, with R²."""
    scores = pair_scores(predicted, true)
    figure, (axes,) = new_figure(width=5.6, height=4.8)
    if len(true):
        draw_predicted_against_true(axes, true, predicted, "UniFrac")
    axes.set_title(f"UniFrac of {len(true)} pairs: R² {scores['unifrac_r2']:.3f}, MSE {scores['unifrac_mse']:.5f}")
    return figure


def ordinations(
    predicted: Float64, true: Float64, metadata: Mapping[str, Sequence[str]]
) -> Iterator[tuple[str, Figure]]:
    """Yield principal coordinates of predicted and true distances ``[n, n]``, coloured by each column of metadata."""
    known = np.asarray(~np.isnan(true).any(axis=1))
    if known.sum() < 3:
        return
    points = pcoa(true[np.ix_(known, known)]), pcoa(predicted[np.ix_(known, known)])
    turned = aligned(points[1].coordinates, points[0].coordinates)
    for name, values in (metadata or {"": [""] * len(known)}).items():
        labels = [value for value, own in zip(values, known, strict=True) if own]
        figure, (left, right) = new_figure(1, 2, width=10, height=4.4)
        for axes, title, own, shares in (
            (left, "true UniFrac", points[0].coordinates, points[0].shares),
            (right, "predicted, turned onto the true one", turned, points[1].shares),
        ):
            _draw_points(axes, own, labels)
            percent = [f"PC{i + 1} ({100 * share:.0f} %)" for i, share in enumerate(shares)]
            axes.set(title=title, xlabel=percent[0], ylabel=percent[1])
        right.legend(title=name, frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=8)
        yield f"pcoa/{name or 'samples'}", figure


def _draw_points(axes: Axes, points: Float64, labels: Sequence[str]) -> None:
    """Draw samples by colour: the most frequent values, then all others in grey."""
    found, counts = np.unique([label for label in labels if label], return_counts=True)
    shown = [str(found[place]) for place in np.argsort(-counts, kind="stable")[:MOST_COLOURS]]
    rest = [label not in shown for label in labels]
    if any(rest):
        axes.plot(*points[rest, :2].T, "o", color="0.8", markersize=4, label="others or missing")
    for number, value in enumerate(shown):
        own = [label == value for label in labels]
        axes.plot(*points[own, :2].T, "o", color=palette_color(number), markersize=4, alpha=0.8, label=value)


def number_figure(predicted: Tensor, true: Tensor, name: str) -> Figure:
    """Draw predicted against true values ``[N]`` on their own scale."""
    known = ~true.isnan()
    scores = number_scores(predicted[known], true[known])
    figure, (axes,) = new_figure(width=5.2, height=4.6)
    if known.any():
        draw_predicted_against_true(axes, true[known].double().numpy(), predicted[known].double().numpy(), name)
    axes.set_title(f"{name}: R² {scores['r2']:.3f}, mean error {scores['mae']:.3g}")
    return figure


def target_figures(facts: StudyFacts, predicted: Tensor, true: Tensor, groups: Tensor) -> Iterator[tuple[str, Figure]]:
    """Yield confusion and ROC of classes, or predicted against true of numbers, and the scores by group."""
    if facts.kind == "classification":
        known = true != NO_CLASS
        yield from _class_figures(facts.classes, predicted[known], true[known])
    else:
        for column, name in enumerate(facts.targets):
            figure = number_figure(predicted[:, column], true[:, column], name)
            yield (f"target/{name}" if len(facts.targets) > 1 else "target"), figure
    yield "groups", group_figure(facts, predicted, true, groups)


def _class_figures(classes: Sequence[str], probabilities: Tensor, true: Tensor) -> Iterator[tuple[str, Figure]]:
    counts = np.zeros((len(classes), len(classes)))
    np.add.at(counts, (true.numpy(), probabilities.argmax(-1).numpy()), 1)
    yield "confusion", confusion_figure(counts, classes, title="Classes of validation samples")
    chosen = range(1, 2) if len(classes) == 2 else range(len(classes))
    found = {classes[c]: roc(probabilities[:, c].double().numpy(), (true == c).numpy()) for c in chosen}
    curves = {name: curve for name, curve in found.items() if curve is not None}
    yield (
        "roc",
        roc_figure(curves, title="One class against the rest", xlabel="share of the others", ylabel="share found"),
    )


def group_figure(facts: StudyFacts, predicted: Tensor, true: Tensor, groups: Tensor) -> Figure:
    """Draw the error of each group, such as a subject: accuracy, or mean absolute error, with its number of samples."""
    score = "accuracy" if facts.kind == "classification" else "mae"
    own = [(group, scores[score]) for group, scores in by_group(facts, predicted, true, groups).items()]
    known = sorted((pair for pair in own if not np.isnan(pair[1])), key=lambda pair: pair[1])[-SHOWN_GROUPS:]
    figure, (axes,) = new_figure(width=6.4, height=1.6 + 0.18 * len(known))
    sizes = [int((groups == group).sum()) for group, _ in known]
    names = facts.group_names or tuple(map(str, range(int(groups.max()) + 1 if len(groups) else 0)))
    axes.barh(range(len(known)), [value for _, value in known], color=PALETTE[0])
    labels = [f"{names[group]} ({size})" for (group, _), size in zip(known, sizes, strict=True)]
    axes.set_yticks(range(len(known)), labels, fontsize=7)
    axes.set(
        xlabel="accuracy" if score == "accuracy" else "mean absolute error", ylabel="group (samples)", title="By group"
    )
    return figure


def baseline_figure(baseline: Mapping[str, Mapping[str, float]], network: Mapping[str, float]) -> Figure:
    """Draw the network's scores beside those of classical models on the same samples."""
    every = {"network": network, **baseline}
    scores = [name for name in network if "/" not in name]
    figure, panels = new_figure(1, max(len(scores), 1), width=2.6 * max(len(scores), 1) + 0.6, height=3.4)
    for axes, score in zip(panels, scores, strict=True):
        values = [own.get(score, np.nan) for own in every.values()]
        bars = axes.bar(range(len(every)), values, color=[palette_color(number) for number in range(len(every))])
        axes.bar_label(bars, fmt="%.3g", fontsize=8)
        axes.set_xticks(range(len(every)), list(every), rotation=30, ha="right")
        axes.set(xlabel="model", ylabel=score)
    return figure
