"""What events count for each head: clipped, copied, varied in normalisation, and turned into data minus simulation."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tabstar_lit.errors import DataError
from tabstar_lit.families.hep.fakes.replicas import balanced_copies, mc_norm_factors, poisson_copies
from tabstar_lit.families.hep.fakes.training_config import FakesTraining
from tabstar_lit.families.hep.fakes.weights import Sample, head_weights
from tabstar_lit.families.hep.preparation.weights import require_positive_sums

N, HEADS, SEED = 400, 3, 5
WEIGHTS = np.random.default_rng(0).normal(1.0, 1.0, N)
IDS = np.random.default_rng(1).integers(0, 2**63, N).astype(np.uint64)
TRAINING = np.arange(N) % 4 != 0
SIMULATED = np.arange(N) % 3 == 0
SAMPLE = Sample(WEIGHTS, IDS, TRAINING, SIMULATED)


def weigh(factors: Any = None, *, heads: int = HEADS, seed: int = SEED, **options: Any) -> Any:
    return head_weights(SAMPLE, FakesTraining(**options), heads=heads, seed=seed, factors=factors)


def test_without_options_all_heads_see_the_signed_weights_of_the_file() -> None:
    own = weigh()
    np.testing.assert_array_equal(own.events, WEIGHTS.astype(np.float32))
    np.testing.assert_array_equal(own.loss, np.repeat(WEIGHTS.astype(np.float32)[:, None], HEADS, axis=1))
    assert own.mean == pytest.approx(np.abs(WEIGHTS[TRAINING]).mean(), rel=1e-6)


def test_copies_are_drawn_for_training_events_alone() -> None:
    own = weigh(poisson_bootstrap=True)
    copies = poisson_copies(IDS, HEADS, SEED)
    np.testing.assert_allclose(own.loss[TRAINING], (WEIGHTS[:, None] * copies)[TRAINING], rtol=1e-6)
    np.testing.assert_array_equal(own.loss[~TRAINING], weigh().loss[~TRAINING])
    np.testing.assert_array_equal(own.events, weigh().events)
    assert not np.array_equal(own.loss, weigh(poisson_bootstrap=True, seed=SEED + 1).loss)


def test_events_of_a_group_are_copied_together() -> None:
    sample = Sample(np.ones(N), np.repeat(IDS[: N // 2], 2), np.ones(N, dtype=bool), SIMULATED)
    loss = head_weights(sample, FakesTraining(poisson_bootstrap=True), heads=HEADS, seed=SEED).loss.numpy()
    np.testing.assert_array_equal(loss[::2], loss[1::2])
    assert len(np.unique(loss)) > 3


def test_normalisation_varies_on_simulated_training_events_alone() -> None:
    own = weigh(mc_norm_sigma=0.3)
    factors = mc_norm_factors(0.3, HEADS, SEED)
    ratios = own.loss.numpy() / WEIGHTS[:, None]
    varied = (TRAINING & SIMULATED)[:, None]
    np.testing.assert_allclose(ratios, np.where(varied, factors, 1.0), rtol=1e-5)


def test_twins_learn_from_the_samples_of_the_first_heads() -> None:
    own = weigh(heads=5, twins=2, poisson_bootstrap=True, mc_norm_sigma=0.3).loss.numpy()
    np.testing.assert_array_equal(own[:, 3:], own[:, :2])
    np.testing.assert_array_equal(own[:, :3], weigh(heads=3, poisson_bootstrap=True, mc_norm_sigma=0.3).loss)
    assert [FakesTraining(twins=4).twins_among(heads) for heads in (1, 3, 20)] == [0, 1, 4]


def test_balanced_samples_hold_each_event_as_often_as_there_are_samples() -> None:
    own = weigh(heads=5, twins=2, poisson_bootstrap=True, balanced_replicas=True).loss.numpy()
    expected = WEIGHTS[:, None] * balanced_copies(IDS, 3, SEED)
    np.testing.assert_allclose(own[TRAINING], expected[TRAINING][:, [0, 1, 2, 0, 1]], rtol=1e-6)
    np.testing.assert_allclose(own[:, :3].mean(axis=1), WEIGHTS, rtol=1e-5)


def test_balanced_normalisations_cancel() -> None:
    own = weigh(mc_norm_sigma=0.3, balanced_replicas=True)
    np.testing.assert_allclose(np.log(own.loss.numpy() / WEIGHTS[:, None]).mean(axis=1), 0, atol=1e-6)
    assert not np.array_equal(own.loss, weigh(balanced_replicas=True).loss)


def test_balanced_replicas_of_nothing_are_none() -> None:
    np.testing.assert_array_equal(weigh(balanced_replicas=True).loss, weigh().loss)
    assert not FakesTraining(balanced_replicas=True).balances_replicas
    assert FakesTraining(balanced_replicas=True, poisson_bootstrap=True).balances_replicas


def test_sizes_are_clipped_at_the_quantile_of_training_events_and_signs_kept() -> None:
    own = weigh(weight_clip_quantile=0.8)
    threshold = np.quantile(np.abs(WEIGHTS.astype(np.float32)[TRAINING]), 0.8)
    expected = np.clip(WEIGHTS, -threshold, threshold)
    np.testing.assert_allclose(own.loss[:, 0], expected, rtol=1e-6)
    np.testing.assert_array_equal(own.events, WEIGHTS.astype(np.float32))  # metrics see them as they are
    assert 0 < (np.abs(WEIGHTS) > threshold).mean() < 0.3


def test_subtraction_is_by_head_in_training_and_their_mean_elsewhere() -> None:
    factors = np.random.default_rng(2).normal(0.5, 0.5, (N, HEADS)).astype(np.float32)
    own = weigh(factors)
    product = WEIGHTS[:, None] * factors
    np.testing.assert_allclose(own.loss[TRAINING], product[TRAINING], rtol=1e-5)
    np.testing.assert_allclose(own.events, product.mean(1), rtol=1e-4, atol=1e-6)
    for head in range(HEADS):
        np.testing.assert_allclose(own.loss[~TRAINING][:, head], product.mean(1)[~TRAINING], rtol=1e-4, atol=1e-6)


def test_clipping_is_of_the_weights_after_the_subtraction() -> None:
    factors = np.where(np.arange(N) == 1, 1e6, 1.0)[:, None].astype(np.float32)
    own = weigh(factors, weight_clip_quantile=0.99)
    assert own.loss.abs().max() < 10
    assert own.events.abs().max() > 1e5


def test_a_stage_whose_events_weigh_nothing_is_refused() -> None:
    with pytest.raises(DataError, match="weigh 0"):
        head_weights(Sample(np.zeros(N), IDS, TRAINING, SIMULATED), FakesTraining(), heads=1, seed=0)


def test_a_class_that_the_stage_does_not_serve_needs_no_weight() -> None:
    weights, classes = np.array([1.0, 1.0, 0.0]), ("first", "second")
    require_positive_sums(weights, np.array([1, 1, 1]), classes, "file", "why")
    with pytest.raises(DataError, match="of class 'first' sum to 0"):
        require_positive_sums(weights, np.array([1, 1, 0]), classes, "file", "why")


@pytest.mark.parametrize(("first", "says"), [(-1.0, "sum to -2"), (0.0, "sum to 0")])
def test_a_class_without_positive_weight_is_refused_by_name(first: float, says: str) -> None:
    weights, targets = np.array([first, first, 1.0, -0.5]), np.array([0, 0, 1, 1])
    with pytest.raises(
        DataError, match=f"file: train split: the weights of the 2 events of class 'tight_mc' {says}, why"
    ):
        require_positive_sums(weights, targets, ("tight_mc", "tight_data"), "file: train split", "why")
