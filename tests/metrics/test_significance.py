"""Asimov significance against its limits and published numbers, and the scan against cuts one by one."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.stats import norm, poisson

from tabstar_lit.metrics.significance import asimov_significance, scan_cuts


def test_formula_by_hand() -> None:
    assert float(asimov_significance(5, 10)) == pytest.approx(math.sqrt(2 * (15 * math.log(1.5) - 5)))


def test_small_signals_follow_s_over_root_b() -> None:
    assert float(asimov_significance(1e-3, 1e4)) == pytest.approx(1e-3 / 100, rel=1e-4)


def test_large_yields_agree_with_poisson_probabilities() -> None:
    exact = norm.isf(poisson.sf(120 - 1, 100))
    assert float(asimov_significance(20, 100)) == pytest.approx(exact, abs=0.06)


def test_background_uncertainty_is_the_profile_likelihood() -> None:
    s, b, relative = 12.0, 30.0, 0.2
    tau = 1 / (relative**2 * b)  # an auxiliary measurement of tau b events has that relative uncertainty

    def minus_two_log(background: float) -> float:
        expected = [(s + b, background), (tau * b, tau * background)]
        return 2 * sum(mean - seen * math.log(mean) for seen, mean in expected)

    def best() -> float:
        return 2 * sum(mean - mean * math.log(mean) for mean in (s + b, tau * b))

    profiled = minimize_scalar(minus_two_log, bounds=(1, 200), method="bounded", options={"xatol": 1e-10}).fun
    assert float(asimov_significance(s, b, relative)) == pytest.approx(math.sqrt(profiled - best()), rel=1e-6)
    assert float(asimov_significance(s, b, 1e-5)) == pytest.approx(float(asimov_significance(s, b)), rel=1e-4)


@pytest.mark.parametrize(("s", "b"), [(1, 0), (1, -2), (0, 5), (-1, 5), (-1, -1)])
@pytest.mark.parametrize("uncertainty", [0.0, 0.1])
def test_no_signal_or_no_background_gives_zero(s: float, b: float, uncertainty: float) -> None:
    assert float(asimov_significance(s, b, uncertainty)) == 0.0


def test_scan_equals_cut_by_cut() -> None:
    rng = np.random.default_rng(0)
    signal = rng.random(300) < 0.3
    scores = np.round(np.clip(0.25 * rng.normal(size=300) + 0.35 + 0.3 * signal, 0, 0.99), 2) + 0.004
    weights = rng.exponential(size=300) - 0.1
    scan = scan_cuts(scores, signal, ~signal, weights, min_events=5)
    assert scan is not None
    for cut, seen in zip(scan.cuts, scan.significance, strict=True):
        above = scores >= cut
        s, b = weights[above & signal].sum(), weights[above & ~signal].sum()
        enough = (above & ~signal).sum() >= 5
        assert seen == pytest.approx(float(asimov_significance(s, b)) if enough else 0.0, abs=1e-9)
    assert scan.maximum == scan.significance.max()
    assert scan.integrated >= scan.maximum


def test_bins_hold_equal_shares_of_the_signal_and_enough_background() -> None:
    signal = np.tile([1, 0, 0], 40).astype(bool)  # one signal event before two of background, all along
    scores = np.linspace(5, -5, 120)
    weights = np.where(signal, 1.0, 3.0)
    best_is_all = scan_cuts(scores, signal, ~signal, weights, min_events=8, bins=4)
    assert best_is_all is not None
    assert best_is_all.best == len(scores) - 3  # the last cut that a signal event passes, before two of background
    parts = [
        (10, 18),
        (10, 20),
        (10, 20),
        (10, 20),
    ]  # of the signal: a bin ends with a signal event, where its share is
    squares = [float(asimov_significance(s, 3 * b)) ** 2 for s, b in parts]
    assert best_is_all.integrated == pytest.approx(math.sqrt(sum(squares)), rel=1e-9)
    few = scan_cuts(scores, signal, ~signal, weights, min_events=40, bins=4)
    assert few is not None
    assert few.integrated == pytest.approx(few.maximum, rel=1e-9)  # 78 events of background make no two bins of 40


def test_the_best_part_of_the_score_counts_however_little_background_is_in_it() -> None:
    scores = np.concatenate([np.linspace(0.9, 1, 50), np.linspace(0, 0.5, 200)])
    signal = np.arange(250) < 50
    scan = scan_cuts(scores, signal, ~signal, min_events=10)
    assert scan is not None
    assert scan.integrated == pytest.approx(float(asimov_significance(50, 10)))


@pytest.mark.parametrize("seed", range(5))
def test_a_calibration_changes_no_significance_and_bins_are_never_worse_than_a_cut(seed: int) -> None:
    rng = np.random.default_rng(seed)
    signal = rng.random(600) < 0.3
    scores, weights = rng.normal(size=600) + 1.5 * signal, rng.exponential(size=600) - 0.1
    plain, calibrated = (
        scan_cuts(values, signal, ~signal, weights, min_events=7)
        for values in (scores, 1 / (1 + np.exp(1 - 3 * scores)))
    )
    assert plain is not None
    assert calibrated is not None
    assert plain.integrated == pytest.approx(calibrated.integrated, rel=1e-9)
    assert plain.integrated >= plain.maximum * (1 - 1e-12)


def test_a_cut_that_leaves_too_little_background_does_not_count() -> None:
    scores = np.array([0.9] * 5 + [0.8] + [0.2] * 20)
    signal = np.arange(26) < 5
    weights = np.where(signal, 1.0, 1e-6)
    scan = scan_cuts(scores, signal, ~signal, weights, min_events=10)
    assert scan is not None
    assert scan.cuts[scan.best] == 0.2


def test_no_scan_without_both() -> None:
    assert scan_cuts(np.ones(3), np.ones(3, bool), np.zeros(3, bool)) is None
