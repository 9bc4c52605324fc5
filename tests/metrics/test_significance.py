"""Asimov significance against its limits and published numbers, and the scan against cuts one by one."""

from __future__ import annotations

import math
from itertools import pairwise

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
    edges = np.linspace(0, 1, 11)
    parts = [(scores >= low) & ((scores < high) | (high == 1)) for low, high in pairwise(edges)]
    squares = [
        float(asimov_significance(weights[p & signal].sum(), weights[p & ~signal].sum())) ** 2
        for p in parts
        if (p & ~signal).sum() >= 5
    ]
    assert scan.integrated == pytest.approx(math.sqrt(sum(squares)), rel=1e-9)


def test_a_cut_that_leaves_too_little_background_does_not_count() -> None:
    scores = np.array([0.9] * 5 + [0.8] + [0.2] * 20)
    signal = np.arange(26) < 5
    weights = np.where(signal, 1.0, 1e-6)
    scan = scan_cuts(scores, signal, ~signal, weights, min_events=10)
    assert scan is not None
    assert scan.cuts[scan.best] == 0.2


def test_no_scan_without_both() -> None:
    assert scan_cuts(np.ones(3), np.ones(3, bool), np.zeros(3, bool)) is None
