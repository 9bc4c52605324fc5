"""Orders of training events and what a resampler draws: functions of (seed, epoch), nothing lost, nothing twice."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tabstar_lit.data.plans import PlanSampler
from tabstar_lit.errors import DataError
from tabstar_lit.families.hep.preparation.plans import ChunkShuffledPlan, ShuffledPlan
from tabstar_lit.families.hep.preparation.resampling import Resampler, epoch_counts


def make_plan(n: int, batch_size: int, seed: int, chunk_rows: int | None, drop_last: bool = False) -> ShuffledPlan:
    rows = np.flatnonzero(np.random.default_rng(n).random(2 * n) < 0.5)
    rows = rows if len(rows) else np.array([3])
    if chunk_rows is None:
        return ShuffledPlan(rows, batch_size, seed=seed, drop_last=drop_last)
    return ChunkShuffledPlan(rows, batch_size, seed=seed, drop_last=drop_last, chunk_rows=chunk_rows, mixed=3)


@settings(max_examples=60)
@given(
    n=st.integers(1, 300),
    batch_size=st.integers(1, 64),
    seed=st.integers(0, 99),
    epoch=st.integers(0, 5),
    chunk_rows=st.sampled_from([None, 7, 50]),
    world_size=st.integers(1, 3),
)
def test_every_row_once_an_epoch(
    n: int, batch_size: int, seed: int, epoch: int, chunk_rows: int | None, world_size: int
) -> None:
    plan = make_plan(n, batch_size, seed, chunk_rows)
    keys = plan.batches(epoch)
    rows = np.concatenate([key.rows for key in keys])
    expected = np.sort(plan._rows)
    np.testing.assert_array_equal(np.sort(rows), expected)
    assert len(keys) == len(plan)
    assert all(len(key.rows) == batch_size for key in keys[:-1])
    again = np.concatenate([key.rows for key in make_plan(n, batch_size, seed, chunk_rows).batches(epoch)])
    np.testing.assert_array_equal(again, rows)
    shared_out = batch_size > 1 or len(expected) % world_size == 0  # single rows cannot be split
    if len(expected) >= world_size * batch_size and shared_out:
        samplers = [PlanSampler(plan, rank, world_size) for rank in range(world_size)]
        for sampler in samplers:
            sampler.set_epoch(epoch)
        shares = [[key.rows for key in sampler] for sampler in samplers]
        assert len({len(share) for share in shares}) == 1
        np.testing.assert_array_equal(np.sort(np.concatenate([part for share in shares for part in share])), expected)


@pytest.mark.parametrize("chunk_rows", [None, 64])
def test_epochs_and_seeds_differ_and_a_run_goes_on_anywhere(chunk_rows: int | None) -> None:
    plan = make_plan(2000, 32, 0, chunk_rows)
    first, second = (np.concatenate([key.rows for key in plan.batches(epoch)]) for epoch in (0, 1))
    other = np.concatenate([key.rows for key in make_plan(2000, 32, 1, chunk_rows).batches(0)])
    assert (first != second).mean() > 0.9
    assert (first != other).mean() > 0.9
    sampler = PlanSampler(plan)
    sampler.start_at(1, 5)
    np.testing.assert_array_equal(np.concatenate([key.rows for key in sampler]), second[5 * 32 :])


def test_chunks_are_read_a_few_at_a_time() -> None:
    plan = make_plan(4000, 32, 0, 100)
    spans = [len(np.unique(key.rows // 100)) for key in plan.batches(0)]
    assert max(spans) <= 6
    assert np.median(spans) == 3
    chunks = [number for key in plan.batches(0) for number in np.unique(key.rows // 100)]
    assert sum(a != b for a, b in zip(chunks[::3], chunks[3::3], strict=False)) > 10


def test_drop_last_leaves_out_a_short_batch_or_says_that_nothing_is_left() -> None:
    plan = ShuffledPlan(np.arange(100), 32, seed=0, drop_last=True)
    assert [len(key.rows) for key in plan.batches(0)] == [32, 32, 32]
    assert len(plan) == 3
    with pytest.raises(DataError, match="less than one batch of 32"):
        ShuffledPlan(np.arange(31), 32, seed=0, drop_last=True)


NAMES = ("a", "b", "c")
PRESENT = np.array([50, 10, 30])


@pytest.mark.parametrize(
    ("sampler", "strategy", "expected"),
    [
        ("RandomOverSampler", "auto", [50, 50, 50]),
        ("RandomOverSampler", "minority", [50, 50, 30]),
        ("RandomOverSampler", {"b": 20}, [50, 20, 30]),
        ("RandomUnderSampler", "auto", [10, 10, 10]),
        ("RandomUnderSampler", "majority", [10, 10, 30]),
        ("RandomUnderSampler", "not majority", [50, 10, 10]),
        ("RandomResamplerToTarget", {"a": 20, "b": 40}, [20, 40, 30]),
    ],
)
def test_counts_of_an_epoch(sampler: str, strategy: str | dict[str, int], expected: list[int]) -> None:
    assert epoch_counts(PRESENT, NAMES, sampler, strategy).tolist() == expected


def test_impossible_counts_are_named() -> None:
    with pytest.raises(DataError, match="no class 'd'"):
        epoch_counts(PRESENT, NAMES, "RandomOverSampler", {"d": 5})
    with pytest.raises(DataError, match="20 events of class 'a' are fewer than the 50"):
        epoch_counts(PRESENT, NAMES, "RandomOverSampler", {"a": 20})
    with pytest.raises(DataError, match="20 events of class 'b' are more than the 10"):
        epoch_counts(PRESENT, NAMES, "RandomUnderSampler", {"b": 20})


def test_resampling_repeats_no_event_that_it_need_not() -> None:
    targets = np.repeat([0, 1, 2], PRESENT)
    rows = np.arange(90) + 500
    resampler = Resampler(rows, targets, np.array([20, 25, 30]), seed=3)
    drawn = resampler.draw(4)
    times = np.bincount(drawn - 500, minlength=90)
    assert np.bincount(targets, weights=times).tolist() == [20, 25, 30]
    assert times[:50].max() == 1
    assert times[50:60].min() >= 1
    assert (times[60:] == 1).all()
    np.testing.assert_array_equal(Resampler(rows, targets, np.array([20, 25, 30]), seed=3).draw(4), drawn)
    assert not np.array_equal(resampler.draw(5), drawn)
    plan = ShuffledPlan(rows, 16, seed=3, resampler=resampler)
    np.testing.assert_array_equal(np.sort(np.concatenate([key.rows for key in plan.batches(4)])), np.sort(drawn))
    assert len(plan) == len(plan.batches(0)) == 5
