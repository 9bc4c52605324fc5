"""Bootstrap replicas are Poisson, independent or balanced, and fixed; normalisation factors and clipped weights."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from tabstar_lit.errors import ConfigError
from tabstar_lit.families.hep.fakes.replicas import (
    balanced_copies,
    clip_threshold,
    clip_weights,
    mc_norm_factors,
    poisson_copies,
)

N = 200_000
IDS = {
    "counted": np.arange(N, dtype=np.uint64),
    "hashed": np.random.default_rng(0).integers(0, 2**64, N, dtype=np.uint64),
}


@pytest.mark.parametrize("ids", IDS)
def test_copies_are_poisson_of_mean_one(ids: str) -> None:
    copies = poisson_copies(IDS[ids], 4, seed=3)
    expected = N * stats.poisson.pmf(np.arange(7), 1)
    expected[6] += N - expected.sum()
    for head in range(4):
        counts = np.bincount(np.minimum(copies[:, head], 6), minlength=7)
        assert stats.chisquare(counts, expected).pvalue > 1e-3


def test_heads_seeds_and_neighbours_are_independent() -> None:
    copies = poisson_copies(IDS["counted"], 3, seed=3).astype(float)
    other = poisson_copies(IDS["counted"], 1, seed=4).astype(float)
    series = np.stack([*copies.T, other[:, 0], np.roll(copies[:, 0], 1)])
    correlations = np.corrcoef(series)[np.triu_indices(5, 1)]
    assert np.abs(correlations).max() < 4 / np.sqrt(N)
    table = np.histogram2d(copies[:, 0], copies[:, 1], bins=[[0, 1, 2, 3, 99]] * 2)[0]
    assert stats.chi2_contingency(table).pvalue > 1e-3


def test_copies_belong_to_the_event_and_not_to_its_place() -> None:
    ids, order = IDS["counted"][:1000], np.random.default_rng(1).permutation(1000)
    copies = poisson_copies(ids, 5, seed=0)
    assert np.array_equal(poisson_copies(ids[order], 5, seed=0), copies[order])
    assert np.array_equal(poisson_copies(ids[:10], 2, seed=0), copies[:10, :2])
    assert poisson_copies(ids, 0, seed=0).shape == (1000, 0)


def test_the_spread_of_heads_is_the_statistical_error() -> None:
    """The standard deviation of a bootstrapped weighted sum is the root of the sum of squares."""
    weights = np.random.default_rng(2).lognormal(0, 0.5, 2000)
    sums = weights @ poisson_copies(IDS["counted"][:2000], 400, seed=1)
    assert sums.std() == pytest.approx(np.sqrt((weights**2).sum()), rel=0.12)
    assert sums.mean() == pytest.approx(weights.sum(), rel=0.01)


@pytest.mark.parametrize("ids", IDS)
def test_balanced_copies_are_multinomial(ids: str) -> None:
    copies = balanced_copies(IDS[ids], 4, seed=3)
    assert (copies.sum(axis=1) == 4).all()
    expected = N * stats.binom.pmf(np.arange(5), 4, 1 / 4)
    for head in range(4):
        assert stats.chisquare(np.bincount(copies[:, head], minlength=5), expected).pvalue > 1e-3
    correlations = np.corrcoef(copies.T.astype(float))[np.triu_indices(4, 1)]
    np.testing.assert_allclose(correlations, -1 / 3, atol=4 / np.sqrt(N))


def test_balanced_copies_of_events_seeds_and_numbers_of_heads_are_independent() -> None:
    copies = balanced_copies(IDS["counted"], 4, seed=3)[:, 0].astype(float)
    others = [balanced_copies(IDS["counted"], heads, seed)[:, 0] for heads, seed in ((4, 4), (5, 3))]
    series = np.stack([copies, *others, np.roll(copies, 1)])
    assert np.abs(np.corrcoef(series)[0, 1:]).max() < 4 / np.sqrt(N)


def test_balanced_copies_belong_to_the_event_and_not_to_its_place() -> None:
    ids, order = IDS["counted"][:1000], np.random.default_rng(1).permutation(1000)
    copies = balanced_copies(ids, 5, seed=0)
    assert np.array_equal(balanced_copies(ids[order], 5, seed=0), copies[order])
    assert balanced_copies(ids, 1, seed=0).tolist() == [[1]] * 1000  # a single head has the sample itself
    assert balanced_copies(ids, 0, seed=0).shape == (1000, 0)


def test_balanced_heads_differ_by_the_statistical_error_and_their_mean_by_none() -> None:
    """The mean of independent heads scatters about the sum by its error over the root of their number."""
    weights = np.random.default_rng(2).lognormal(0, 0.5, 2000)
    error = np.sqrt((weights**2).sum())
    sums = {
        draw: np.stack([weights @ draw(IDS["counted"][:2000], 16, seed=seed) for seed in range(200)])
        for draw in (balanced_copies, poisson_copies)
    }
    for own in sums.values():
        assert np.sqrt(own.var(axis=1, ddof=1).mean()) == pytest.approx(error, rel=0.06)
    np.testing.assert_allclose(sums[balanced_copies].mean(axis=1), weights.sum(), rtol=1e-12)
    assert sums[poisson_copies].mean(axis=1).std() == pytest.approx(error / 4, rel=0.2)


def test_balanced_normalisations_scatter_as_much_and_cancel() -> None:
    logs = np.log([mc_norm_factors(0.1, 16, seed, balanced=True) for seed in range(500)])
    np.testing.assert_allclose(logs.sum(axis=1), 0, atol=1e-12)
    assert np.sqrt(logs.var(axis=1, ddof=1).mean()) == pytest.approx(0.1, rel=0.03)
    own = np.log(mc_norm_factors(0.1, 16, seed=3))
    np.testing.assert_allclose(logs[3], own - own.mean(), atol=1e-12)
    assert mc_norm_factors(0.1, 1, seed=3, balanced=True).tolist() == [1]


def test_normalisations_scatter_by_sigma_and_stay_for_a_run() -> None:
    logs = np.log(mc_norm_factors(0.1, 2000, seed=5))
    assert stats.kstest(logs / 0.1, "norm").pvalue > 1e-3
    assert np.array_equal(mc_norm_factors(0.1, 3, seed=5), mc_norm_factors(0.1, 9, seed=5)[:3])
    assert not np.array_equal(mc_norm_factors(0.1, 3, seed=5), mc_norm_factors(0.1, 3, seed=6))
    assert mc_norm_factors(0.0, 3, seed=5).tolist() == [1, 1, 1]


def test_normalisations_by_step_are_drawn_anew_but_repeatable() -> None:
    first, second = mc_norm_factors(0.1, 3, 5, step=0), mc_norm_factors(0.1, 3, 5, step=1)
    assert not np.array_equal(first, second)
    assert np.array_equal(first, mc_norm_factors(0.1, 3, 5, step=0))


def test_weights_are_clipped_by_size() -> None:
    weights = np.array([-9.0, -1.0, 0.5, 1.0, 2.0, 3.0, 4.0, 50.0])
    threshold = clip_threshold(weights, 0.75)
    assert threshold == pytest.approx(np.quantile(np.abs(weights), 0.75))
    clipped = clip_weights(weights, threshold)
    assert np.array_equal(np.sign(clipped), np.sign(weights))
    assert np.abs(clipped).max() == threshold
    assert np.array_equal(clip_weights(weights, clip_threshold(weights, 1.0)), weights)


def test_numbers_out_of_range_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"mc_norm_sigma: -0.1 is not"):
        mc_norm_factors(-0.1, 2, seed=0)
    for quantile in (0.0, 1.5, float("nan")):
        with pytest.raises(ConfigError, match="weight_clip_quantile"):
            clip_threshold(np.ones(3), quantile)
