"""Edges of bins and cuts, who is left out, and weighted scores as properties of any sample."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import mannwhitneyu
from sklearn.metrics import accuracy_score, average_precision_score, precision_recall_curve

from tabstar_lit.metrics.scores import r_squared, roc_auc
from tabstar_lit.metrics.significance import asimov_significance, scan_cuts
from tabstar_lit.metrics.weighted import (
    accuracy,
    auprc,
    auroc,
    calibration_error,
    confusion,
    f1_macro,
    passing,
    precision_recall,
    roc,
)

Numbers = NDArray[np.float64]
Chosen = NDArray[np.bool_]


def sample(seed: int, rows: int = 60) -> tuple[Numbers, Chosen, Numbers]:
    rng = np.random.default_rng(seed)
    positive = rng.permutation(rows) < rng.integers(1, rows)
    return rng.integers(0, 12, rows) / 12, positive, rng.exponential(size=rows)


seeds = st.integers(0, 2**20)
quick = settings(max_examples=40)


@quick
@given(seeds)
def test_the_area_is_the_statistic_of_mann_and_whitney(seed: int) -> None:
    scores, positive, weights = sample(seed)
    statistic = mannwhitneyu(scores[positive], scores[~positive]).statistic
    assert auroc(scores, positive) == pytest.approx(statistic / (positive.sum() * (~positive).sum()))
    assert auroc(-scores, positive, weights) == pytest.approx(1 - auroc(scores, positive, weights))
    assert auroc(np.exp(5 * scores), positive, 7 * weights) == pytest.approx(auroc(scores, positive, weights))


@quick
@given(seeds)
def test_precision_and_recall_are_those_of_scikit_learn(seed: int) -> None:
    scores, positive, weights = sample(seed)
    curve = precision_recall(scores, positive, weights)
    assert curve is not None
    precision, recall, _ = precision_recall_curve(positive, scores, sample_weight=weights)
    np.testing.assert_allclose(curve[0][::-1], precision[:-1], atol=1e-12)
    np.testing.assert_allclose(curve[1][::-1], recall[:-1], atol=1e-12)
    assert auprc(scores, positive, weights) == pytest.approx(
        average_precision_score(positive, scores, sample_weight=weights)
    )


@quick
@given(seeds)
def test_what_passes_falls_to_everything(seed: int) -> None:
    scores, positive, weights = sample(seed)
    passed = passing(scores, positive, ~positive, weights)
    assert passed.cuts.tolist() == sorted(set(scores.tolist()), reverse=True)
    assert passed.signal[-1] == pytest.approx(weights[positive].sum())
    assert passed.background_events[-1] == (~positive).sum()
    unweighted = passing(scores, positive, ~positive)
    np.testing.assert_array_equal(unweighted.background, unweighted.background_events)


def test_nothing_passes_where_there_is_nothing() -> None:
    nobody = np.zeros(3, dtype=bool)
    assert passing(np.ones(3), nobody, nobody).cuts.shape == (0,)


def test_curves_go_from_corner_to_corner_with_a_point_for_each_score() -> None:
    scores, positive, weights = sample(1)
    curve = roc(scores, positive, weights)
    assert curve is not None
    assert (curve.fpr[0], curve.tpr[0]) == (0, 0)
    assert (curve.fpr[-1], curve.tpr[-1]) == pytest.approx((1, 1))
    assert len(curve.fpr) == len(set(scores.tolist())) + 1


def test_rejection_with_a_falling_efficiency_is_of_the_first_cut_that_reaches_it() -> None:
    scores, weights = np.arange(6.0)[::-1], np.array([1.0, 4.0, -3.0, 1.0, 2.0, 3.0])
    positive = np.array([False, True, True, False, True, False])
    curve = roc(scores, positive, weights)  # signal 4, then 1, then 3 of 3; background 1 of 5 before all that
    assert curve is not None
    assert curve.rejection(0.9) == pytest.approx(5.0)


def test_a_class_without_weight_makes_precision_undefined() -> None:
    positive = np.array([True, False])
    assert precision_recall(np.ones(2), positive, np.array([0.0, 1.0])) is None
    assert precision_recall(np.ones(2), positive, np.array([1.0, -1.0])) is None


@pytest.mark.parametrize(("first", "second", "expected"), [(0.5, 0.75, 0.125), (1.0, 0.75, 0.375), (0.0, 0.25, 0.375)])
def test_a_confidence_at_an_edge_is_in_the_bin_above_and_one_in_the_last(
    first: float, second: float, expected: float
) -> None:
    confidence, correct = np.array([first, second]), np.array([True, False])
    assert calibration_error(confidence, correct, bins=2) == pytest.approx(expected)


def test_errors_of_a_bin_cancel_and_those_of_two_do_not() -> None:
    confidence, correct = np.array([0.4, 0.6, 0.6]), np.array([True, False, False])
    assert calibration_error(confidence, correct, bins=1) == pytest.approx(abs(1.6 - 1) / 3)
    assert calibration_error(confidence, correct, bins=2) == pytest.approx((0.6 + 1.2) / 3)
    assert calibration_error(confidence, correct, np.array([1.0, 0.0, 0.0]), bins=2) == pytest.approx(0.6)


@pytest.mark.parametrize("weights", [np.zeros(2), np.array([1.0, -2.0])])
def test_scores_of_no_weight_are_undefined(weights: Numbers) -> None:
    classes = np.array([0, 1])
    assert math.isnan(accuracy(classes, classes, weights))
    assert math.isnan(f1_macro(classes, classes, 2, weights))
    assert math.isnan(calibration_error(np.ones(2), np.ones(2, bool), weights))


def test_rows_of_the_confusion_are_the_truth() -> None:
    truth, predicted = np.array([0, 0, 2]), np.array([1, 1, 0])
    assert confusion(predicted, truth, 3).tolist() == [[0, 2, 0], [0, 0, 0], [1, 0, 0]]
    assert confusion(predicted, truth, 3).dtype == np.float64
    weights, partly = np.array([1.0, 2, 3]), np.array([0, 1, 2])
    assert accuracy(partly, truth, weights) == pytest.approx(accuracy_score(truth, partly, sample_weight=weights))


def test_a_class_that_is_predicted_but_absent_costs_only_the_others() -> None:
    truth, predicted = np.array([0, 0, 1, 1]), np.array([0, 2, 1, 1])
    assert f1_macro(predicted, truth, 3) == pytest.approx((2 / 3 + 1) / 2)


@quick
@given(st.floats(0.01, 1e3), st.floats(0.01, 1e5), st.floats(0.01, 1.0))
def test_significance_rises_with_signal_and_falls_with_background_and_its_uncertainty(
    s: float, b: float, uncertainty: float
) -> None:
    seen = float(asimov_significance(s, b))
    assert 0 < seen <= s / math.sqrt(b) * (1 + 1e-6) + 1e-6
    assert float(asimov_significance(1.1 * s, b)) > seen > float(asimov_significance(s, 1.1 * b))
    certain = float(asimov_significance(s, b, uncertainty))
    assert 0 <= certain <= seen + 1e-6


def test_yields_broadcast() -> None:
    seen = asimov_significance(np.array([[1.0], [2.0]]), np.array([4.0, 0.0, 9.0]))
    assert seen.shape == (2, 3)
    assert seen[:, 1].tolist() == [0.0, 0.0]
    assert seen[1, 2] == float(asimov_significance(2, 9))


@pytest.mark.parametrize(("min_events", "counts"), [(3, True), (4, False)])
def test_just_enough_background_counts_for_cut_and_bin(min_events: int, counts: bool) -> None:
    scores, signal = np.array([0.95, 0.95, 0.95, 0.95, 0.05]), np.array([1, 0, 0, 0, 0], bool)
    scan = scan_cuts(scores, signal, ~signal, min_events=min_events)
    assert scan is not None
    expected = float(asimov_significance(1, 3)) if counts else 0.0
    assert scan.significance[0] == pytest.approx(expected)
    assert scan.maximum == pytest.approx(expected if counts else float(asimov_significance(1, 4)))
    assert scan.integrated == pytest.approx(scan.maximum)


def test_events_of_neither_side_enter_neither_cuts_nor_bins() -> None:
    rng = np.random.default_rng(0)
    scores, kind = rng.random(90), np.arange(90) % 3
    signal, background, weights = kind == 0, kind == 1, rng.exponential(size=90)
    own = kind < 2
    whole = scan_cuts(scores, signal, background, weights, min_events=2, bins=4)
    part = scan_cuts(scores[own], signal[own], background[own], weights[own], min_events=2, bins=4)
    assert whole is not None
    assert part is not None
    np.testing.assert_allclose(whole.significance, part.significance)
    assert whole.integrated == pytest.approx(part.integrated)


def test_the_number_of_bins_counts() -> None:
    scores, signal = np.array([4.0, 3.0, 3.0, 2.0, 1.0]), np.array([1, 1, 0, 1, 0], bool)
    scan = scan_cuts(scores, signal, ~signal, min_events=1, bins=2)
    single = scan_cuts(scores, signal, ~signal, min_events=1, bins=1)
    assert scan is not None
    assert single is not None
    assert single.integrated == pytest.approx(single.maximum)
    assert scan.integrated >= single.integrated


def test_the_uncertainty_reaches_cuts_and_bins() -> None:
    scores, positive, weights = sample(3, 200)
    plain, uncertain = (scan_cuts(scores, positive, ~positive, weights, uncertainty=u) for u in (0.0, 0.3))
    assert plain is not None
    assert uncertain is not None
    np.testing.assert_allclose(
        uncertain.significance[-1], asimov_significance(uncertain.signal[-1], uncertain.background[-1], 0.3)
    )
    assert uncertain.integrated < plain.integrated
    assert uncertain.signal[uncertain.best] == uncertain.signal[int(np.argmax(uncertain.significance))]


def test_two_columns_are_judged_by_the_second_class() -> None:
    scores = torch.tensor([[0.9, 0.1], [0.6, 0.4], [0.7, 0.3], [0.2, 0.8]])
    assert roc_auc(scores, torch.tensor([0, 0, 1, 1])) == pytest.approx(0.75)
    assert roc_auc(scores.requires_grad_(), torch.tensor([0, 1, 0, 1])) == pytest.approx(1.0)


def test_r_squared_is_negative_below_the_mean() -> None:
    targets = torch.tensor([1.0, 2.0, 3.0])
    assert r_squared(targets.mean().expand(3), targets) == pytest.approx(0.0)
    assert r_squared(targets.flip(0), targets) == pytest.approx(-3.0)
