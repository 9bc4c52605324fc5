"""What the tabstar tracker draws. A curve is a mapping from epoch to value."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from tabstar_lit.arrays import Float64
from tabstar_lit.engine.tracking.columns import Columns
from tabstar_lit.plots.style import PALETTE, new_figure

Curve = dict[int, float]
Panel = Callable[[Axes, Columns], None]

PANELS_PER_PAGE = 12
COLUMNS = 4
BINS = 10
NAMED_CURVES = 8
"""So many tables get a colour and a name; of more, all are drawn in grey around their mean."""


def series(history: Sequence[Mapping[str, float]], name: str) -> dict[str, Curve]:
    """Return curves from a tracker's history.

    Parameters
    ----------
    history : sequence of mappings
        One per validated epoch, with ``epoch`` among the values.
    name : str
        A metric, or a prefix that ends with ``/`` for one curve per source.

    Returns
    -------
    dict
        Curves by source; under the metric's own name when ``name`` is no prefix.
    """
    curves: dict[str, Curve] = {}
    for entry in history:
        for key, value in entry.items():
            if key == name or (name.endswith("/") and key.startswith(name)):
                curves.setdefault(key.removeprefix(name) or name, {})[int(entry["epoch"])] = value
    return curves


def mean_curve(curves: Sequence[Curve]) -> Curve:
    """Return the mean at every epoch over the curves that have a value there."""
    epochs = sorted({epoch for curve in curves for epoch in curve})
    return {epoch: float(np.mean([curve[epoch] for curve in curves if epoch in curve])) for epoch in epochs}


def score_curves(scores: Mapping[str, Curve], mean: Mapping[str, Curve]) -> Figure:
    """Draw the score of every table and their mean over the epochs."""
    figure, (axes,) = new_figure(width=7.2)
    few = len(scores) <= NAMED_CURVES
    for number, (table, curve) in enumerate(scores.items()):
        style = {"color": PALETTE[number % len(PALETTE)], "label": table} if few else {"color": "0.75"}
        _plot(axes, curve, linewidth=1.2, **style)
    for curve in mean.values():
        _plot(axes, curve, color="black", linewidth=2.4, label=f"mean of {len(scores)} tables")
    axes.set(xlabel="epoch", ylabel="ROC-AUC or R² on validation rows", title="Score per table")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False, fontsize=9)
    return figure


def score_heat_map(scores: Mapping[str, Curve]) -> Figure:
    """Draw table × epoch as colours, tables sorted by their last score; scores below 0 share the darkest colour."""
    tables = sorted(scores, key=lambda table: list(scores[table].values())[-1], reverse=True)
    epochs = sorted({epoch for curve in scores.values() for epoch in curve})
    values = np.array([[scores[table].get(epoch, math.nan) for epoch in epochs] for table in tables])
    figure, (axes,) = new_figure(width=7.2, height=1.6 + 0.26 * len(tables), grid=False)
    image = axes.imshow(values, aspect="auto", vmin=0.0, vmax=1.0, interpolation="nearest")
    axes.set(xlabel="epoch", title="Score per table and epoch")
    axes.set_yticks(range(len(tables)), tables)
    shown = np.unique(np.linspace(0, len(epochs) - 1, num=min(len(epochs), 12)).astype(int))
    axes.set_xticks(shown, [str(epochs[i]) for i in shown])
    figure.colorbar(image, ax=axes, label="ROC-AUC or R²", extend="min")
    return figure


def loss_curves(losses: Mapping[str, Mapping[str, Curve]]) -> Figure:
    """Draw training and validation loss by task, mean over tables."""
    tasks = sorted({task for curves in losses.values() for task in curves})
    figure, all_axes = new_figure(1, max(1, len(tasks)), width=4.6 * max(1, len(tasks)), height=3.6)
    for axes, task in zip(all_axes, tasks, strict=False):
        for color, (split, curves) in zip(PALETTE, losses.items(), strict=False):
            if task in curves:
                _plot(axes, curves[task], color=color, label=split)
        name = "cross-entropy" if task == "classification" else "squared error of the z-score"
        axes.set(xlabel="epoch", ylabel=name, title=f"Loss, {task}")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.legend(frameon=False)
    return figure


def pages(tables: Mapping[str, Columns], panel: Panel) -> Iterator[Figure]:
    """Draw one panel per table, twelve to a page."""
    names = sorted(tables)
    for start in range(0, len(names), PANELS_PER_PAGE):
        own = names[start : start + PANELS_PER_PAGE]
        columns = min(COLUMNS, len(own))
        rows = -(-len(own) // columns)
        figure, all_axes = new_figure(rows, columns, width=3.1 * columns, height=2.9 * rows)
        for axes, name in zip(all_axes, own, strict=False):
            panel(axes, tables[name])
            axes.set_title(f"{name} ({len(tables[name]['targets'])} rows)", fontsize=9)
        for axes in all_axes[len(own) :]:
            axes.set_axis_off()
        yield figure


def calibration(axes: Axes, rows: Columns) -> None:
    """Draw how often the predicted class is right against how sure the model was, with binomial errors.

    Each bin of confidence gives a point at its mean confidence; the number of rows decides the error bar.
    """
    confidence, predicted = rows["predictions"].max(dim=1)
    correct = (predicted == rows["targets"]).double().numpy()
    sure = confidence.double().numpy()
    edges = np.linspace(1.0 / rows["predictions"].shape[1], 1.0, BINS + 1)
    which = np.clip(np.digitize(sure, edges) - 1, 0, BINS - 1)
    points = [_bin(sure[which == b], correct[which == b]) for b in range(BINS) if np.any(which == b)]
    x, y, error = np.array(points).T
    axes.plot([edges[0], 1], [edges[0], 1], color="0.6", linewidth=1, linestyle="--")
    axes.errorbar(x, y, yerr=error, marker="o", markersize=3.5, linewidth=1.2, capsize=2, color=PALETTE[0])
    axes.set(xlabel="confidence", ylabel="accuracy", ylim=(-0.02, 1.02))


def predicted_vs_true(axes: Axes, rows: Columns) -> None:
    """Draw predictions against targets, both as z-scores, with the line of equality."""
    true, predicted = rows["targets"].double().numpy(), rows["predictions"].double().numpy()
    low, high = min(true.min(), predicted.min()), max(true.max(), predicted.max())
    axes.plot([low, high], [low, high], color="0.6", linewidth=1, linestyle="--")
    axes.plot(true, predicted, ".", markersize=3, alpha=0.4, color=PALETTE[0], markeredgewidth=0)
    axes.set(xlabel="true z-score", ylabel="predicted z-score")


def _bin(sure: Float64, correct: Float64) -> tuple[float, float, float]:
    rate, rows = float(correct.mean()), len(correct)
    expected = (correct.sum() + 1) / (rows + 2)  # Laplace's rule: a bin that is all right is not certain
    return float(sure.mean()), rate, math.sqrt(expected * (1 - expected) / (rows + 3))


def _plot(axes: Axes, curve: Curve, **style: object) -> None:
    epochs = sorted(curve)
    marker = "o" if len(epochs) <= 30 else None
    axes.plot(epochs, [curve[epoch] for epoch in epochs], marker=marker, markersize=3.5, **style)  # type: ignore[arg-type]  # matplotlib's own keywords
