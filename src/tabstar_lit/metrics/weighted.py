"""Scores of classifiers on weighted events.

Weights are physical and may be negative, as those of next-to-leading-order simulation are. They count as they are:
every score is made of signed sums, the unbiased estimate, and can therefore leave its usual range a little. A score is
NaN where it is not defined: a class without events, or with a sum of weights that is not positive.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import kstwo
from sklearn.metrics import accuracy_score, roc_curve

from tabstar_lit.arrays import Bool, Float64, Int64
from tabstar_lit.metrics.scores import area_under_roc

ECE_BINS = 15


@dataclass(frozen=True, slots=True)
class Roc:
    """The ROC curve of a score.

    Attributes
    ----------
    fpr, tpr : ndarray
        ``[T]`` background and signal efficiency, from (0, 0) to (1, 1), a point for each distinct score.
    one_event : float
        Background efficiency that the background event of highest score has alone; smaller ones are not resolved.
    """

    fpr: Float64
    tpr: Float64
    one_event: float

    @property
    def area(self) -> float:
        """Area under the curve: the weighted share of pairs in which signal scores above background."""
        return float(np.trapezoid(self.tpr, self.fpr))

    def rejection(self, efficiency: float) -> float:
        """Return ``1 / fpr`` at a signal efficiency, linear between points.

        It is at most that of one background event, the first that would pass. Where no background passes, this is the
        lower limit that the events allow: the number of background events, where all have the same weight.
        """
        # Negative weights let an efficiency fall; the cut that first reaches it is meant.
        rising = np.maximum.accumulate(self.tpr)
        return 1.0 / max(float(np.interp(efficiency, rising, self.fpr)), self.one_event)


def roc(scores: Float64, positive: Bool, weights: Float64 | None = None) -> Roc | None:
    """Return the ROC curve, or None where one of the classes has no weight.

    Parameters
    ----------
    scores : ndarray
        ``[N]``, larger for signal.
    positive : ndarray of bool
        ``[N]`` whether the event is signal.
    weights : ndarray or None
        ``[N]`` event weights.
    """
    if not _both_present(positive, weights):
        return None
    fpr, tpr, _ = roc_curve(positive, scores, sample_weight=weights, drop_intermediate=False)
    return Roc(fpr, tpr, _one_event(scores[~positive], None if weights is None else weights[~positive]))


def auroc(scores: Float64, positive: Bool, weights: Float64 | None = None) -> float:
    """Return the area under the ROC curve; arguments as in :func:`roc`."""
    if weights is None and _both_present(positive, weights):
        return area_under_roc(torch.from_numpy(scores), torch.from_numpy(positive))
    curve = roc(scores, positive, weights)
    return math.nan if curve is None else curve.area


def precision_recall(scores: Float64, positive: Bool, weights: Float64 | None = None) -> tuple[Float64, Float64] | None:
    """Return precision and recall ``[T]`` by falling cut, recall rising; None where a class has no weight."""
    if not _both_present(positive, weights):
        return None
    passed = passing(scores, positive, ~positive, weights)
    total = passed.signal + passed.background
    precision = np.divide(passed.signal, total, out=np.zeros_like(total), where=total > 0)
    return precision, passed.signal / passed.signal[-1]


def auprc(scores: Float64, positive: Bool, weights: Float64 | None = None) -> float:
    """Return the average precision ``sum_t (R_t - R_{t-1}) P_t``; arguments as in :func:`roc`."""
    curve = precision_recall(scores, positive, weights)
    if curve is None:
        return math.nan
    precision, recall = curve
    return float(np.sum(np.diff(recall, prepend=0.0) * precision))


def accuracy(predicted: Int64, targets: Int64, weights: Float64 | None = None) -> float:
    """Return the weighted share of events whose class ``[N]`` is predicted right."""
    if not _positive_sum(targets, weights):
        return math.nan
    return float(accuracy_score(targets, predicted, sample_weight=weights))


def f1_macro(predicted: Int64, targets: Int64, n_classes: int, weights: Float64 | None = None) -> float:
    """Return the mean over classes of ``2 tp / (2 tp + fp + fn)``, over classes with events only."""
    if not _positive_sum(targets, weights):
        return math.nan
    counts = confusion(predicted, targets, n_classes, weights)
    true, both = np.diag(counts), counts.sum(axis=0) + counts.sum(axis=1)
    present = np.bincount(targets, minlength=n_classes) > 0
    scores = np.divide(2 * true, both, out=np.zeros_like(both), where=both > 0)
    return float(scores[present].mean())


def confusion(predicted: Int64, targets: Int64, n_classes: int, weights: Float64 | None = None) -> Float64:
    """Return sums of weights ``[C, C]``, true class by predicted class."""
    # scikit-learn's refuses weights that are all zero
    sums = np.bincount(targets * n_classes + predicted, weights, minlength=n_classes**2)
    return sums.astype(np.float64).reshape(n_classes, n_classes)


def calibration_error(
    confidence: Float64, correct: Bool, weights: Float64 | None = None, bins: int = ECE_BINS
) -> float:
    """Return the expected calibration error (arXiv 1706.04599) over equal bins in [0, 1].

    Parameters
    ----------
    confidence : ndarray
        ``[N]`` probability that was given: of the signal class with two classes, of the predicted class with more.
    correct : ndarray of bool
        ``[N]`` whether that is what the event was.
    weights : ndarray or None
        ``[N]``.
    bins : int
        Number of bins.
    """
    if not _positive_sum(confidence, weights):
        return math.nan
    weights = np.ones(len(confidence)) if weights is None else weights
    which = np.clip((confidence * bins).astype(np.int64), 0, bins - 1)
    gaps = np.bincount(which, weights * (confidence - correct), minlength=bins)
    return float(np.abs(gaps).sum() / weights.sum())


class Distance(NamedTuple):
    """The Kolmogorov-Smirnov distance of two samples, and how probable a larger one is if both are of one origin."""

    distance: float
    p_value: float


def kolmogorov_smirnov(first: Float64, second: Float64, weights: tuple[Float64, Float64] | None = None) -> Distance:
    """Compare two samples by the largest difference of their cumulative distributions.

    Parameters
    ----------
    first, second : ndarray
        ``[N]`` and ``[M]`` values.
    weights : tuple of ndarray or None
        ``[N]`` and ``[M]``. A sample is worth ``(sum w)^2 / sum w^2`` events, which the probability, that of the
        two-sided distribution at ``n m / (n + m)`` events, goes by; NaN where a sum of weights is not positive.
    """
    own = weights or (np.ones(len(first)), np.ones(len(second)))
    if not all(_positive_sum(values, w) for values, w in zip((first, second), own, strict=True)):
        return Distance(math.nan, math.nan)
    values = np.concatenate([first, second])
    steps = np.concatenate([own[0] / own[0].sum(), -own[1] / own[1].sum()])
    order = np.argsort(values, kind="stable")
    last = np.flatnonzero(np.diff(values[order], append=np.nan) != 0)  # equal values step together
    distance = float(np.abs(np.cumsum(steps[order])[last]).max())
    n, m = (float(w.sum() ** 2 / np.square(w).sum()) for w in own)
    return Distance(distance, float(kstwo.sf(min(distance, 1.0), max(1, round(n * m / (n + m))))))


@dataclass(frozen=True, slots=True)
class Passing:
    """What passes each cut, from the hardest to none.

    Attributes
    ----------
    cuts : ndarray
        ``[T]`` falling distinct scores; an event passes from its score on.
    signal, background : ndarray
        ``[T]`` sums of weights above the cut.
    background_events : ndarray of int
        ``[T]`` number of background events above the cut.
    """

    cuts: Float64
    signal: Float64
    background: Float64
    background_events: Int64


def passing(scores: Float64, signal: Bool, background: Bool, weights: Float64 | None = None) -> Passing:
    """Return what passes each cut: one sort and cumulative sums; events of neither class are left out."""
    chosen = signal | background
    scores, is_signal = scores[chosen], signal[chosen]
    own = np.ones(len(scores)) if weights is None else weights[chosen].astype(np.float64)
    order = np.argsort(-scores, kind="stable")
    scores, is_signal, own = scores[order], is_signal[order], own[order]
    last = np.flatnonzero(np.diff(scores, append=np.nan) != 0)  # equal scores pass together
    return Passing(
        scores[last],
        np.cumsum(own * is_signal)[last],
        np.cumsum(own * ~is_signal)[last],
        np.cumsum(~is_signal, dtype=np.int64)[last],
    )


def one_vs_rest(
    score: Callable[[Float64, Bool, Float64 | None], float],
    values: Float64,
    targets: Int64,
    classes: Iterable[int],
    weights: Float64 | None = None,
) -> list[float]:
    """Return ``score`` of each class against all others, by its column of ``values [N, C]``."""
    return [score(values[:, c], targets == c, weights) for c in classes]


def _one_event(scores: Float64, weights: Float64 | None) -> float:
    """Return the share of the whole that an event of highest score has, in size, without events that weigh nothing."""
    own = np.ones(len(scores)) if weights is None else weights
    first = scores == scores[own != 0].max()
    return float(np.abs(own[first & (own != 0)]).mean() / own.sum())


def _both_present(positive: Bool, weights: Float64 | None) -> bool:
    return all(_positive_sum(positive[own], None if weights is None else weights[own]) for own in (positive, ~positive))


def _positive_sum(rows: NDArray[np.generic], weights: Float64 | None) -> bool:
    return len(rows) > 0 and (weights is None or float(weights.sum()) > 0)
