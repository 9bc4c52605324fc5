"""Curves of classifiers, against scikit-learn and by what stands on the axes."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.calibration import calibration_curve
from sklearn.metrics import average_precision_score

from tabstar_lit.metrics.weighted import calibration_error, precision_recall, roc
from tabstar_lit.plots.classification import (
    POINTS,
    PrecisionRecall,
    calibration_figure,
    confusion_figure,
    precision_recall_figure,
    reliability,
    roc_figure,
    thinned,
)

RNG = np.random.default_rng(0)
P = RNG.uniform(size=2000)
TRUE = RNG.uniform(size=2000) < P**1.5
WEIGHTS = RNG.uniform(0.1, 2, size=2000)


def test_reliability_is_that_of_scikit_learn_and_weights_are_numbers_of_rows() -> None:
    rates, means = calibration_curve(TRUE, P, n_bins=15)
    found = reliability(P, TRUE)
    np.testing.assert_allclose(found.rate, rates)
    np.testing.assert_allclose(found.mean, means)
    assert found.total.sum() == 2000
    copies = RNG.integers(1, 4, size=2000)
    weighted = reliability(P, TRUE, copies.astype(float))
    np.testing.assert_allclose(weighted.rate, reliability(np.repeat(P, copies), np.repeat(TRUE, copies)).rate)


def test_reliability_adds_up_to_the_calibration_error() -> None:
    found = reliability(P, TRUE, WEIGHTS)
    error = np.sum(np.abs(found.rate - found.mean) * found.total[found.total > 0]) / WEIGHTS.sum()
    assert error == pytest.approx(calibration_error(P, TRUE, WEIGHTS))


def test_a_bin_that_is_all_right_is_not_certain_and_more_rows_are_surer() -> None:
    bars = {n: reliability(np.full(n, 0.9), np.ones(n, dtype=bool)) for n in (1, 10, 1000)}
    assert [found.rate.tolist() for found in bars.values()] == [[1.0]] * 3
    assert bars[1].error[0] > bars[10].error[0] > bars[1000].error[0] > 0
    assert bars[10].error[0] == pytest.approx(math.sqrt(11 / 12 * 1 / 12 / 13))


def test_bins_begin_at_the_confidence_of_a_guess() -> None:
    found = reliability(np.array([0.25, 0.3, 1.0]), np.array([True, False, True]), low=0.25, bins=3)
    assert found.edges.tolist() == [0.25, 0.5, 0.75, 1.0]
    assert found.total.tolist() == [2, 0, 1]
    assert found.rate.tolist() == [0.5, 1.0]


def test_a_calibration_says_what_came_true_and_of_how_much() -> None:
    figure = calibration_figure(reliability(P, TRUE), title="Calibration", ylabel="share of signal", note="all alike")
    axes, below = figure.axes
    assert (axes.get_ylabel(), below.get_xlabel()) == ("share of signal", "predicted probability")
    assert below.get_ylabel() == "sum of\nweights / bin"
    assert axes.texts[0].get_text() == "all alike"


def test_roc_curves_are_named_with_their_area_and_no_curve_is_no_legend() -> None:
    curve = roc(P, TRUE)
    assert curve is not None
    labels = {"title": "ROC", "xlabel": "background efficiency", "ylabel": "signal efficiency"}
    (axes,) = roc_figure({"signal": curve}, **labels).axes
    legend = axes.get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == [f"signal {curve.area:.4f}"]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("background efficiency", "signal efficiency")
    assert roc_figure({}, **labels).axes[0].get_legend() is None


def test_the_area_under_precision_and_recall_is_scikit_learns_average_precision() -> None:
    found = precision_recall(P, TRUE, WEIGHTS)
    assert found is not None
    curve = PrecisionRecall(*found, share=0.4)
    assert curve.area == pytest.approx(average_precision_score(TRUE, P, sample_weight=WEIGHTS))
    (axes,) = precision_recall_figure({"signal": curve}, title="", xlabel="recall", ylabel="precision").axes
    assert axes.lines[1].get_ydata() == [0.4, 0.4]


def test_a_confusion_matrix_says_counts_and_shares_of_the_true_class() -> None:
    figure = confusion_figure(np.array([[3.0, 1.0], [0.0, 0.0]]), ("cat", "dog"), title="Confusion")
    axes = figure.axes[0]
    assert [text.get_text() for text in axes.texts] == ["3\n75.0 %", "1\n25.0 %", "0", "0"]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("predicted class", "true class")
    assert [label.get_text() for label in axes.get_yticklabels()] == ["cat", "dog"]


@pytest.mark.parametrize("points", [1, 2, POINTS, POINTS + 1, 10**6])
def test_thinned_curves_keep_both_ends(points: int) -> None:
    kept = thinned(points)
    assert len(kept) <= POINTS
    assert (kept[0], kept[-1]) == (0, points - 1) or points > POINTS
    assert kept[-1] == points - 1
    assert (np.diff(kept) > 0).all()
