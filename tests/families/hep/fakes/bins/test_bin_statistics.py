"""Agreement and errors of weighted events in bins, against hand calculations and scipy."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from tabstar_lit.families.hep.fakes.bins.statistics import (
    chi2_of,
    chi2_per_bin,
    comparable_edges,
    grouped_variance,
    grouped_variances,
    quantile_edges,
)


def test_chi2_by_hand() -> None:
    # Two bins of 10 and 20 reference events of weight 1, against 10 of weight 2 and 20 of weight 0.5.
    values = np.r_[np.zeros(10), np.ones(20), np.zeros(10), np.ones(20)]
    weights = np.r_[np.ones(30), np.full(10, 2.0), np.full(20, 0.5)]
    reference = np.arange(60) < 30
    edges = quantile_edges(values[reference], 2)
    assert list(edges) == [0.0, 1.0]  # one bin: the median is 1
    total = (30 - 30) ** 2 / (30 + 40 + 5)
    assert chi2_per_bin(values, weights, reference, 2) == pytest.approx(total)
    assert chi2_of(np.array([-10.0, 10.0]), np.array([50.0, 25.0])) == pytest.approx((100 / 50 + 100 / 25) / 2)


def test_chi2_of_equal_distributions_is_the_one_of_scipy() -> None:
    rng = np.random.default_rng(0)
    found = []
    for _ in range(200):
        a, b = rng.exponential(size=rng.poisson(1000)), rng.exponential(size=rng.poisson(4000))
        weights = np.r_[np.ones(len(a)), np.full(len(b), 0.25)]
        found.append(chi2_per_bin(np.r_[a, b], weights, np.arange(len(weights)) < len(a), 20))
    assert stats.kstest(20 * np.array(found), stats.chi2(20).cdf).pvalue > 1e-3
    assert np.mean(found) == pytest.approx(1, abs=0.07)


def test_chi2_sees_what_is_wrong() -> None:
    rng = np.random.default_rng(1)
    a, b = rng.uniform(0, 1, 2000), rng.uniform(0, 1, 2000)
    values, reference = np.r_[a, b], np.arange(4000) < 2000
    assert chi2_per_bin(values, np.ones(4000), reference, 20) == pytest.approx(1, abs=0.7)
    assert chi2_per_bin(values, np.where(reference, 1.0, 1.3), reference, 20) > 3
    assert math.isnan(chi2_per_bin(values[:10], np.ones(10), np.ones(10, dtype=bool), 5))


def test_bins_without_events_of_the_other_sample_are_merged_and_still_count() -> None:
    rng = np.random.default_rng(1)
    a, b = np.r_[rng.uniform(0, 1, 2000), rng.uniform(2, 3, 2000)], rng.uniform(0, 1, 2000)  # nothing of b above 1
    edges = comparable_edges(a, b, 20)
    assert len(edges) == 11  # the upper ten bins are one with their neighbour
    assert (edges[0], edges[-1]) == (a.min(), a.max())
    assert np.histogram(b, edges)[0].min() >= 10
    assert chi2_per_bin(np.r_[a, b], np.ones(6000), np.arange(6000) < 4000, 20) > 3


def test_chi2_of_the_truth_is_one_where_the_other_sample_is_thin() -> None:
    """Few events of large weight stand for many: in most of the bins before they are merged there are none."""
    rng = np.random.default_rng(2)
    found = []
    for _ in range(300):
        a, b = rng.exponential(1.0, rng.poisson(2000)), rng.exponential(0.4, rng.poisson(300))
        weights = np.r_[np.ones(len(a)), 2000 / 300 * 0.4 * np.exp(b / 0.4 - b)]
        reference = np.arange(len(weights)) < len(a)
        assert len(comparable_edges(a, b, 20)) < 20
        found.append(chi2_per_bin(np.r_[a, b], weights, reference, 20))
    assert np.median(found) == pytest.approx(1, abs=0.2)


def test_bins_of_few_values_and_few_events() -> None:
    assert list(quantile_edges(np.full(100, 3.0), 10)) == [2.5, 3.5]
    assert len(quantile_edges(np.arange(35.0), 20)) == 4  # at least ten events in each
    counts = np.histogram(np.arange(1000.0), quantile_edges(np.arange(1000.0), 8))[0]
    assert set(counts) <= {124, 125, 126}


def test_a_pair_varies_as_one_event() -> None:
    """Two events of a group in the first bin add up before they are squared; those in different bins do not."""
    values, edges = np.array([1.0, 1.0, 1.5, 2.5, 9.0]), np.array([1.0, 2.0, 3.0])
    weights = np.array([1.0, 1.0, -1.0, 1.0, -3.0])
    alone, paired = np.arange(5, dtype=np.uint64), np.array([7, 7, 8, 9, 8], dtype=np.uint64)
    np.testing.assert_allclose(grouped_variances(values, weights, alone, edges), [3, 10])
    np.testing.assert_allclose(grouped_variances(values, weights, paired, edges), [4 + 1, 1 + 9])
    assert (grouped_variance(weights, alone), grouped_variance(weights, paired)) == (13, 4 + 16 + 1)
    assert grouped_variance(weights[:0], alone[:0]) == 0
