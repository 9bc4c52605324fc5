"""Curves of a signal classifier: ROC, rejection, precision and recall, calibration, significance, and epochs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tabstar_lit.arrays import Bool, Float64
from tabstar_lit.metrics.significance import Scan
from tabstar_lit.metrics.weighted import ECE_BINS, Roc, calibration_error
from tabstar_lit.plots.style import PALETTE, new_figure

POINTS = 2000
"""A curve is drawn through at most so many of its points."""


def roc_figure(curves: Mapping[str, Roc]) -> Figure:
    """Draw signal against background efficiency of each curve, with its area."""
    figure, (axes,) = new_figure(width=5.2, height=4.8)
    axes.plot([0, 1], [0, 1], color="0.6", linewidth=1, linestyle="--")
    for number, (name, curve) in enumerate(curves.items()):
        kept = _thin(len(curve.fpr))
        axes.plot(curve.fpr[kept], curve.tpr[kept], color=_color(number), label=f"{name} {curve.area:.4f}")
    axes.set(xlabel="background efficiency", ylabel="signal efficiency", title="ROC", xlim=(-0.01, 1.01))
    axes.legend(title="area", loc="lower right", frameon=False)
    return figure


def rejection_figure(curves: Mapping[str, Roc], efficiencies: Sequence[float]) -> Figure:
    """Draw 1 / background efficiency against signal efficiency, with the first curve's values as they are logged."""
    figure, (axes,) = new_figure(width=5.6)
    for number, (name, curve) in enumerate(curves.items()):
        kept = _thin(len(curve.fpr))
        tpr, fpr = curve.tpr[kept], curve.fpr[kept]
        axes.plot(tpr[fpr > 0], 1 / fpr[fpr > 0], color=_color(number), label=name)
    first = next(iter(curves.values()))
    for share, value in ((share, first.rejection(share)) for share in efficiencies):
        if np.isfinite(value):
            axes.plot(share, value, "o", color=_color(0), markersize=4)
            axes.annotate(f"{value:.3g}", (share, value), textcoords="offset points", xytext=(5, 5), fontsize=8)
    axes.set(xlabel="signal efficiency", ylabel="1 / background efficiency", title="Background rejection")
    axes.set(yscale="log", xlim=(-0.01, 1.01))
    axes.legend(frameon=False)
    return figure


def precision_recall_figure(curves: Mapping[str, tuple[Float64, Float64, float]]) -> Figure:
    """Draw precision against recall; each curve is precision, recall and the share of signal among all events."""
    figure, (axes,) = new_figure(width=5.2, height=4.8)
    for number, (name, (precision, recall, share)) in enumerate(curves.items()):
        area = float(np.sum(np.diff(recall, prepend=0.0) * precision))
        kept = _thin(len(recall))
        axes.plot(recall[kept], precision[kept], color=_color(number), label=f"{name} {area:.4f}")
        axes.axhline(share, color=_color(number), linewidth=1, linestyle=":")
    axes.set(xlabel="recall (signal efficiency)", ylabel="precision (purity)", title="Precision and recall")
    axes.set(xlim=(-0.01, 1.01), ylim=(-0.02, 1.04))
    axes.legend(title="area (dotted: no separation)", frameon=False, loc="best")
    return figure


def calibration_figure(confidence: Float64, correct: Bool, weights: Float64, label: str) -> Figure:
    """Draw how often a probability comes true, with errors of weighted counts, above the events in each bin.

    Counts are of event weights, as physics has them. A network that was trained with class weights or on resampled
    events gives the probabilities of other shares of the classes, and is off the diagonal by that.
    """
    figure, (axes, below) = new_figure(2, 1, width=5.2, height=5.6, sharex=True, height_ratios=[3, 1])
    edges = np.linspace(0, 1, ECE_BINS + 1)
    which = np.clip((confidence * ECE_BINS).astype(int), 0, ECE_BINS - 1)
    total = np.bincount(which, weights, ECE_BINS)
    filled = total > 0
    mean = np.bincount(which, weights * confidence, ECE_BINS)[filled] / total[filled]
    rate = np.bincount(which, weights * correct, ECE_BINS)[filled] / total[filled]
    # Bayesian with a flat prior, for the number of events that the weights are worth: no bin is without an error.
    worth = total[filled] ** 2 / np.bincount(which, weights**2, ECE_BINS)[filled]
    expected = (np.clip(rate, 0, 1) * worth + 1) / (worth + 2)
    error = np.sqrt(expected * (1 - expected) / (worth + 3))
    axes.plot([0, 1], [0, 1], color="0.6", linewidth=1, linestyle="--")
    axes.errorbar(mean, rate, yerr=error, marker="o", markersize=4, linewidth=1.2, capsize=2, color=PALETTE[0])
    ece = calibration_error(confidence, correct, weights)
    axes.set(ylabel=f"share of {label}", title=f"Calibration, expected error {ece:.4f}")
    axes.set(ylim=(-0.03, 1.03), xlim=(-0.01, 1.01))
    weighed = "by the weights of the events in the file" if np.ptp(weights) > 0 else "all events weigh the same"
    note = f"{weighed};\nclass weights and resampling of the training\nare not in it, and move points off the line"
    axes.text(0.03, 0.97, note, transform=axes.transAxes, va="top", fontsize=8, color="0.3")
    below.stairs(total, edges, fill=True, color=PALETTE[0], alpha=0.5)
    below.set(xlabel="predicted probability", ylabel="weight")
    return figure


def significance_figure(scan: Scan, name: str) -> Figure:
    """Draw significance and efficiencies against the cut on the log-odds, with the numbers of the best one above."""
    figure, (axes, below) = new_figure(2, 1, width=5.8, height=5.9, sharex=True, height_ratios=[3, 2])
    best = scan.best
    kept = np.union1d(_thin(len(scan.cuts)), [best])
    axes.plot(scan.cuts[kept], scan.significance[kept], color=PALETTE[0])
    axes.plot(scan.cuts[best], scan.maximum, "o", color=PALETTE[1])
    lines = (
        f"Significance {name}".rstrip(),
        f"best cut {scan.maximum:.3g} σ at {scan.cuts[best]:.3g}: "
        f"s = {scan.signal[best]:.4g}{_share(scan.signal, best)}, "
        f"b = {scan.background[best]:.4g}{_share(scan.background, best)}",
        f"bins of the score {scan.integrated:.3g} σ",
    )
    axes.set_title("\n".join(lines), fontsize=9)
    axes.set(ylabel="Asimov significance (σ)")
    for color, label, yields in ((PALETTE[1], "signal", scan.signal), (PALETTE[0], "background", scan.background)):
        if yields[-1] > 0:
            below.plot(scan.cuts[kept], yields[kept] / yields[-1], color=color, label=label)
            below.legend(frameon=False)
    below.axvline(scan.cuts[best], color="0.6", linewidth=1, linestyle=":")
    below.set(xlabel="cut on log(p signal / p background)", ylabel="efficiency")
    return figure


def draw_one_vs_rest(axes: Axes, curves: Mapping[str, Roc]) -> None:
    """Draw the ROC curve of each class against all others into ``axes``."""
    for number, (name, curve) in enumerate(curves.items()):
        kept = _thin(len(curve.fpr))
        axes.plot(curve.fpr[kept], curve.tpr[kept], color=_color(number), label=f"{name} {curve.area:.4f}")
    axes.plot([0, 1], [0, 1], color="0.6", linewidth=1, linestyle="--")
    axes.set(xlabel="efficiency of the other classes", ylabel="efficiency", title="One against the rest")
    if curves:
        axes.legend(title="area (weighted)", loc="lower right", frameon=False, fontsize=9)


def _share(yields: Float64, index: int) -> str:
    """Return which share of all passes a cut, where negative weights leave a whole to take a share of."""
    return f" ({100 * yields[index] / yields[-1]:.3g} %)" if yields[-1] > 0 else ""


def _thin(points: int) -> np.ndarray[tuple[int], np.dtype[np.intp]]:
    """Return indices of at most :data:`POINTS` points, both ends among them and the first ones dense."""
    if points <= POINTS:
        return np.arange(points)
    dense = np.geomspace(1, points - 1, POINTS // 2).astype(np.intp)
    even = np.linspace(0, points - 1, POINTS // 2).astype(np.intp)
    return np.unique(np.concatenate([dense, even]))


def _color(number: int) -> str:
    return PALETTE[number % len(PALETTE)]
