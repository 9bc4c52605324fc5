"""How well classes are told apart and probabilities meant: ROC, precision and recall, confusion, calibration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from numpy.typing import NDArray

from tabstar_lit.arrays import Bool, Float64
from tabstar_lit.plots.style import PALETTE, SEQUENTIAL, new_figure, palette_color

POINTS = 2000
"""A curve is drawn through at most so many of its points."""
BINS = 15
"""Bins of confidence, as many as the expected calibration error is taken over."""
FEW_CLASSES = 10
"""A small panel of more classes says no numbers."""


class RocCurve(Protocol):
    """Efficiencies ``[T]`` of what is not looked for and of what is, rising, and the area under the curve."""

    @property
    def fpr(self) -> Float64:
        """Share of the others that passes."""

    @property
    def tpr(self) -> Float64:
        """Share of the looked-for that passes."""

    @property
    def area(self) -> float:
        """Area under the curve."""


class PrecisionRecall(NamedTuple):
    """Precision and recall ``[T]`` by falling cut, and the share of the looked-for among all: what no cut reaches."""

    precision: Float64
    recall: Float64
    share: float

    @property
    def area(self) -> float:
        """Average precision."""
        return float(np.sum(np.diff(self.recall, prepend=0.0) * self.precision))


class Reliability(NamedTuple):
    """How often a probability comes true, in bins of it.

    Attributes
    ----------
    mean, rate, error : ndarray
        ``[filled bins]``: mean probability, share that came true, and its statistical error.
    total : ndarray
        ``[bins]`` sum of weights.
    edges : ndarray
        ``[bins + 1]``.
    """

    mean: Float64
    rate: Float64
    error: Float64
    total: Float64
    edges: Float64


def reliability(
    confidence: Float64, correct: Bool, weights: Float64 | None = None, *, low: float = 0.0, bins: int = BINS
) -> Reliability:
    """Compare probabilities with what happened.

    Errors are Bayesian with a flat prior, for the number of rows that the weights are worth: a bin that is all right is
    not certain.

    Parameters
    ----------
    confidence : ndarray
        ``[N]`` probabilities from ``low`` to 1.
    correct : ndarray of bool
        ``[N]`` whether that is what happened.
    weights : ndarray, optional
        ``[N]``.
    low : float
        Least probability: that of a guess among C classes is 1 / C.
    bins : int
        Number of equal bins.
    """
    weights = np.ones(len(confidence)) if weights is None else weights
    which = np.clip(((confidence - low) / (1 - low) * bins).astype(int), 0, bins - 1)
    total = np.asarray(np.bincount(which, weights, bins), dtype=np.float64)
    filled = total > 0
    sums = (np.bincount(which, weights * values, bins)[filled] for values in (confidence, correct))
    mean, rate = (own / total[filled] for own in sums)
    worth = total[filled] ** 2 / np.bincount(which, weights**2, bins)[filled]
    expected = (np.clip(rate, 0, 1) * worth + 1) / (worth + 2)
    error = np.sqrt(expected * (1 - expected) / (worth + 3))
    return Reliability(mean, rate, error, total, np.linspace(low, 1, bins + 1))


def draw_reliability(axes: Axes, found: Reliability) -> None:
    """Draw how often a probability comes true against it, with errors, and where both are equal."""
    low = found.edges[0]
    axes.plot([low, 1], [low, 1], color="0.6", linewidth=1, linestyle="--")
    style = {"marker": "o", "markersize": 4, "linewidth": 1.2, "capsize": 2, "color": PALETTE[0]}
    room = np.stack([found.rate, 1 - found.rate]).clip(0)  # a share cannot leave [0, 1], nor can its error
    axes.errorbar(found.mean, found.rate, yerr=np.minimum(room, found.error), **style)  # type: ignore[arg-type]  # matplotlib's own keywords
    axes.set_ylim(-0.03, 1.03)


def calibration_figure(found: Reliability, *, title: str, ylabel: str, note: str = "") -> Figure:
    """Draw how often a probability comes true, above the rows in each bin.

    Parameters
    ----------
    found : Reliability
        See :func:`reliability`.
    title, ylabel : str
        What came true.
    note : str
        Small print in a corner that a good curve leaves free.
    """
    figure, (axes, below) = new_figure(2, 1, width=5.2, height=5.6, sharex=True, height_ratios=[3, 1])
    draw_reliability(axes, found)
    axes.set(ylabel=ylabel, title=title, xlim=(found.edges[0] - 0.01, 1.01))
    axes.text(0.03, 0.97, note, transform=axes.transAxes, va="top", fontsize=8, color="0.3")
    below.stairs(found.total, found.edges, fill=True, color=PALETTE[0], alpha=0.5)
    below.set(xlabel="predicted probability", ylabel="sum of\nweights / bin")
    return figure


def roc_figure(curves: Mapping[str, RocCurve], *, title: str, xlabel: str, ylabel: str, area: str = "area") -> Figure:
    """Draw ROC curves by name, each with its area.

    Parameters
    ----------
    curves : mapping of str to RocCurve
        May be empty.
    title : str
        Of the figure.
    xlabel, ylabel : str
        What passes of the others, and of the looked-for.
    area : str
        Above the areas.
    """
    figure, (axes,) = new_figure(width=5.2, height=4.8)
    draw_roc(axes, curves, area=area)
    axes.set(xlabel=xlabel, ylabel=ylabel, title=title)
    return figure


def draw_roc(
    axes: Axes, curves: Mapping[str, RocCurve], *, area: str, named: int = len(PALETTE), fontsize: float | None = None
) -> None:
    """Draw ROC curves by name, each with its area, and the line of no use; more than ``named`` in grey, unnamed."""
    axes.plot([0, 1], [0, 1], color="0.6", linewidth=1, linestyle="--")
    few = len(curves) <= named
    for number, (name, curve) in enumerate(curves.items()):
        kept, color = thinned(len(curve.fpr)), palette_color(number) if few else "0.7"
        label = f"{name} {curve.area:.4f}" if few else None
        axes.plot(curve.fpr[kept], curve.tpr[kept], color=color, label=label)
    axes.set_xlim(-0.01, 1.01)
    if curves and few:
        axes.legend(title=area, loc="lower right", frameon=False, fontsize=fontsize, title_fontsize=fontsize)
    elif curves:
        areas = [curve.area for curve in curves.values()]
        text = f"{area} of {len(areas)}: {min(areas):.3f} to {max(areas):.3f}"
        axes.text(0.97, 0.04, text, transform=axes.transAxes, ha="right", fontsize=fontsize)


def precision_recall_figure(curves: Mapping[str, PrecisionRecall], *, title: str, xlabel: str, ylabel: str) -> Figure:
    """Draw precision against recall by name, each with its area and the share that no separation gives."""
    figure, (axes,) = new_figure(width=5.2, height=4.8)
    for number, (name, curve) in enumerate(curves.items()):
        kept = thinned(len(curve.recall))
        color = palette_color(number)
        axes.plot(curve.recall[kept], curve.precision[kept], color=color, label=f"{name} {curve.area:.4f}")
        axes.axhline(curve.share, color=color, linewidth=1, linestyle=":")
    axes.set(xlabel=xlabel, ylabel=ylabel, title=title, xlim=(-0.01, 1.01), ylim=(-0.02, 1.04))
    axes.legend(title="area (dotted: no separation)", frameon=False, loc="best")
    return figure


def confusion_figure(counts: Float64, classes: Sequence[str], *, title: str) -> Figure:
    """Draw a confusion matrix as sums of weights, coloured and labelled with the share of each true class.

    Parameters
    ----------
    counts : ndarray
        ``[C, C]`` sums of weights, true class by predicted class.
    classes : sequence of str
        Names of the ``C`` classes.
    title : str
        Of the figure.
    """
    size = 2.6 + 0.9 * len(classes)
    figure, (axes,) = new_figure(width=size + 1, height=size, grid=False)
    image = draw_confusion(axes, counts, classes)
    axes.set_title(title)
    figure.colorbar(image, ax=axes, label="share of the true class")
    return figure


def draw_confusion(axes: Axes, counts: Float64, classes: Sequence[str], *, fontsize: float | None = None) -> AxesImage:
    """Draw a confusion matrix ``[C, C]``: its shares of each true class, in few classes with its sums of weights."""
    totals = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, totals, out=np.full_like(counts, np.nan), where=totals > 0)
    image = axes.imshow(shares, vmin=0, vmax=1, cmap=SEQUENTIAL)
    for true, predicted in np.ndindex(counts.shape):
        share = shares[true, predicted]
        percent = "" if np.isnan(share) else f"{100 * share:.1f} %"
        text = f"{counts[true, predicted]:.4g}\n{percent}".strip() if fontsize is None else f"{100 * share:.0f}"
        color = "black" if share > 0.6 else "white"
        if fontsize is None or len(classes) <= FEW_CLASSES:
            axes.text(predicted, true, text, ha="center", va="center", color=color, fontsize=fontsize)
    axes.set(xlabel="predicted class", ylabel="true class")
    axes.set_xticks(range(len(classes)), classes, rotation=30, ha="right", fontsize=fontsize)
    axes.set_yticks(range(len(classes)), classes, fontsize=fontsize)
    axes.minorticks_off()
    return image


def thinned(points: int) -> NDArray[np.intp]:
    """Return indices of at most :data:`POINTS` points, both ends among them and the first ones dense."""
    if points <= POINTS:
        return np.arange(points)
    dense = np.geomspace(1, points - 1, POINTS // 2).astype(np.intp)
    even = np.linspace(0, points - 1, POINTS // 2).astype(np.intp)
    return np.unique(np.concatenate([dense, even]))
