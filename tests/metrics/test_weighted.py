"""Weighted scores against scikit-learn, repeated events and pairs counted one by one."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import ks_2samp
from sklearn.metrics import average_precision_score, confusion_matrix, f1_score, roc_auc_score

from tabstar_lit.metrics.weighted import (
    accuracy,
    auprc,
    auroc,
    calibration_error,
    confusion,
    f1_macro,
    kolmogorov_smirnov,
    one_vs_rest,
    passing,
    roc,
)

Sample = tuple[NDArray[np.float64], NDArray[np.bool_], NDArray[np.float64]]


@pytest.fixture(params=["distinct", "tied"])
def sample(request: pytest.FixtureRequest) -> Sample:
    rng = np.random.default_rng(0)
    positive = rng.random(400) < 0.3
    scores = rng.normal(size=400) + positive
    scores = np.round(scores) if request.param == "tied" else scores
    return scores, positive, rng.exponential(size=400)


def test_areas_equal_scikit_learn(sample: Sample) -> None:
    scores, positive, weights = sample
    assert auroc(scores, positive, weights) == pytest.approx(roc_auc_score(positive, scores, sample_weight=weights))
    expected = average_precision_score(positive, scores, sample_weight=weights)
    assert auprc(scores, positive, weights) == pytest.approx(expected)
    assert auroc(scores, positive) == pytest.approx(roc_auc_score(positive, scores))


def test_negative_weights_count_signed_pairs(sample: Sample) -> None:
    scores, positive, weights = sample
    weights = np.where(np.arange(400) % 5 == 0, -0.5 * weights, weights)
    pairs = np.sign(scores[positive][:, None] - scores[~positive]) / 2 + 0.5
    own, other = weights[positive], weights[~positive]
    expected = own @ pairs @ other / (own.sum() * other.sum())
    assert auroc(scores, positive, weights) == pytest.approx(expected)


def test_rejection_is_read_off_the_curve(sample: Sample) -> None:
    scores, positive, weights = sample
    curve = roc(scores, positive, weights)
    assert curve is not None
    for efficiency in (0.3, 0.5, 0.7):
        above = np.flatnonzero(curve.tpr >= efficiency)[0]
        assert 1 / curve.fpr[above] <= curve.rejection(efficiency) <= 1 / max(curve.fpr[above - 1], 1e-12)


def test_rejection_by_hand() -> None:
    curve = roc(np.array([4.0, 3, 2, 1]), np.array([True, False, True, False]), np.array([1.0, 1, 1, 3]))
    assert curve is not None
    assert curve.rejection(0.75) == pytest.approx(4.0)  # one background of weight 1 in 4 passes
    assert curve.rejection(0.3) == pytest.approx(4.0)  # none passes: at least as good as with the first one


@pytest.mark.parametrize("weights", [None, np.full(8, 2.0)])
def test_rejection_where_no_background_passes_is_the_limit_of_the_sample(weights: np.ndarray | None) -> None:
    scores = np.array([8.0, 7, 6, 5, 4, 3, 2, 1])
    curve = roc(scores, scores > 5, weights)
    assert curve is not None
    assert curve.rejection(0.5) == pytest.approx(5.0)  # background events in all
    nearly = roc(scores, (scores > 6) | (scores == 5), weights)
    assert nearly is not None
    assert nearly.rejection(0.7) == pytest.approx(5.0)  # not more for a share of the one event that passes


def test_the_limit_of_a_rejection_is_that_of_the_next_event_and_not_of_ties() -> None:
    weights = np.array([1.0, 1, 0, 0.5, 1.5, 3])
    curve = roc(np.array([6.0, 5, 5, 4, 4, 1]), np.arange(6) < 2, weights)
    assert curve is not None
    assert curve.rejection(0.4) == pytest.approx(5.0)  # a fifth: two events share the score and weigh 1 on average
    flat = roc(np.zeros(6), np.arange(6) < 2)
    assert flat is not None
    assert flat.rejection(0.5) == pytest.approx(2.0)


@pytest.mark.parametrize("kind", ["no signal", "no background", "empty", "no weight"])
def test_undefined_scores_are_nan(kind: str) -> None:
    rows = 0 if kind == "empty" else 4
    positive = np.arange(rows) % 2 == 0 if kind == "no weight" else np.full(rows, kind == "no background")
    weights = np.where(positive, 1.0, 0.0) if kind == "no weight" else np.ones(rows)
    scores = np.linspace(0, 1, rows)
    assert math.isnan(auroc(scores, positive, weights))
    assert math.isnan(auprc(scores, positive, weights))
    assert roc(scores, positive, weights) is None
    if kind == "empty":
        assert math.isnan(accuracy(positive.astype(int), positive.astype(int), weights))
        assert math.isnan(f1_macro(positive.astype(int), positive.astype(int), 2, weights))
        assert math.isnan(calibration_error(scores, positive, weights))


def test_equal_scores_are_worth_a_coin() -> None:
    positive = np.arange(10) < 4
    assert auroc(np.ones(10), positive, np.arange(10) + 1.0) == pytest.approx(0.5)
    assert auprc(np.ones(10), positive) == pytest.approx(0.4)


def test_class_scores_equal_scikit_learn() -> None:
    rng = np.random.default_rng(1)
    targets, predicted, weights = rng.integers(0, 3, 200), rng.integers(0, 3, 200), rng.exponential(size=200)
    expected = f1_score(targets, predicted, average="macro", sample_weight=weights)
    assert f1_macro(predicted, targets, 3, weights) == pytest.approx(expected)
    assert accuracy(predicted, targets, weights) == pytest.approx(weights[targets == predicted].sum() / weights.sum())
    table = confusion(predicted, targets, 4, weights)
    np.testing.assert_allclose(table[:3, :3], confusion_matrix(targets, predicted, sample_weight=weights))
    assert table[:, 3].tolist() == table[3].tolist() == [0, 0, 0, 0]


def test_an_absent_class_does_not_lower_f1() -> None:
    targets = np.array([0, 0, 1, 1])
    assert f1_macro(targets, targets, 5) == 1.0


def test_calibration_error_by_hand() -> None:
    confidence = np.array([0.1, 0.1, 0.9, 1.0])
    correct = np.array([False, True, True, True])
    # bin 1: weight 4, mean 0.1, right in 1 of 4; bins 13 and 14 on their own
    expected = (abs(4 * 0.1 - 1) + 0.1 + 0.0) / 6
    assert calibration_error(confidence, correct, np.array([3.0, 1, 1, 1])) == pytest.approx(expected)


def test_a_calibrated_score_has_a_small_error() -> None:
    rng = np.random.default_rng(2)
    probability = rng.random(100_000)
    assert calibration_error(probability, rng.random(100_000) < probability) < 0.01


def test_what_passes_is_counted_with_ties_together() -> None:
    scores = np.array([0.5, 0.9, 0.5, 0.1, 0.7])
    signal, background = np.array([1, 1, 0, 0, 0], bool), np.array([0, 0, 1, 1, 0], bool)
    passed = passing(scores, signal, background, np.array([1.0, 2, 4, 8, 100]))
    assert passed.cuts.tolist() == [0.9, 0.5, 0.1]
    assert passed.signal.tolist() == [2, 3, 3]
    assert passed.background.tolist() == [0, 4, 12]
    assert passed.background_events.tolist() == [0, 1, 2]


def test_one_against_the_rest() -> None:
    rng = np.random.default_rng(3)
    targets, values = rng.integers(0, 3, 100), rng.random((100, 3))
    expected = [roc_auc_score(targets == c, values[:, c]) for c in range(3)]
    assert one_vs_rest(auroc, values, targets, range(3)) == pytest.approx(expected)


@given(st.integers(0, 2**32 - 1), st.integers(2, 40), st.integers(2, 40))
def test_kolmogorov_smirnov_is_scipys_and_weights_are_numbers_of_events(seed: int, n: int, m: int) -> None:
    rng = np.random.default_rng(seed)
    first, second = rng.integers(0, 8, n).astype(float), rng.integers(0, 8, m) + rng.integers(0, 2)
    expected = ks_2samp(first, second, method="asymp")
    found = kolmogorov_smirnov(first, second.astype(float))
    assert found.distance == pytest.approx(expected.statistic)
    assert found.p_value == pytest.approx(expected.pvalue, abs=1e-9)
    copies = rng.integers(1, 4, n)
    repeated = ks_2samp(np.repeat(first, copies), second).statistic
    weighted = kolmogorov_smirnov(first, second.astype(float), (copies.astype(float), np.ones(m)))
    assert weighted.distance == pytest.approx(repeated)
    assert kolmogorov_smirnov(first, second.astype(float), (np.full(n, 7.0), np.ones(m))) == pytest.approx(found)


def test_a_sample_without_weight_is_no_sample() -> None:
    values = np.arange(3.0)
    assert math.isnan(kolmogorov_smirnov(values, values, (np.ones(3), np.array([1.0, -1.0, 0.0]))).distance)
    assert math.isnan(kolmogorov_smirnov(values, values[:0]).p_value)
