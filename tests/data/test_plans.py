"""Batch plans: equal epochs for equal seeds, every row dealt once, and a start at any batch."""

from __future__ import annotations

import numpy as np
import pytest

from tabstar_lit.data.plans import PlanSampler, RowBatch, RowPlan, SequentialPlan, cut
from tabstar_lit.errors import DataError


class ShuffledPlan(RowPlan):
    """Rows of one source in an order that depends on the epoch."""

    def __init__(self, n_rows: int, batch_size: int) -> None:
        self.n_rows, self.batch_size = n_rows, batch_size

    def batches(self, epoch: int) -> list[RowBatch]:
        order = np.random.default_rng([7, epoch]).permutation(self.n_rows)
        return [RowBatch(0, part) for part in cut(order, self.batch_size)]


def rows_of(keys: list[RowBatch]) -> list[tuple[int, ...]]:
    return [tuple(key.rows.tolist()) for key in keys]


def test_cut_keeps_every_row_and_the_order() -> None:
    parts = cut(np.arange(10), 4)
    assert [part.tolist() for part in parts] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    assert cut(np.arange(0), 4) == []


def test_one_rank_serves_the_plan_as_it_is() -> None:
    plan = ShuffledPlan(50, 8)
    sampler = PlanSampler(plan)
    sampler.set_epoch(3)
    assert rows_of(list(sampler)) == rows_of(plan.batches(3))
    assert len(sampler) == len(plan) == 7


def test_epochs_differ_and_repeat() -> None:
    sampler = PlanSampler(ShuffledPlan(50, 8))
    first = rows_of(list(sampler))
    sampler.set_epoch(1)
    second = rows_of(list(sampler))
    sampler.set_epoch(0)
    assert first != second
    assert rows_of(list(sampler)) == first


@pytest.mark.parametrize("world_size", [2, 3, 4, 5])
def test_ranks_share_no_row_lose_none_and_make_equal_steps(world_size: int) -> None:
    plan = ShuffledPlan(53, 8)
    shares = [list(PlanSampler(plan, rank, world_size)) for rank in range(world_size)]
    assert {len(share) for share in shares} == {len(PlanSampler(plan, 0, world_size))}
    dealt = [row for share in shares for key in share for row in key.rows.tolist()]
    assert sorted(dealt) == list(range(53))


def test_uneven_batches_are_made_even_by_splitting_the_largest() -> None:
    plan = SequentialPlan([np.arange(4), np.arange(9), np.arange(2)], batch_size=100)
    shares = [list(PlanSampler(plan, rank, 2)) for rank in range(2)]
    assert sorted(len(key.rows) for share in shares for key in share) == [2, 4, 4, 5]


def test_ranks_that_would_idle_are_refused() -> None:
    plan = SequentialPlan([np.arange(2)], batch_size=1)
    with pytest.raises(DataError, match="among 3 processes"):
        list(PlanSampler(plan, 0, 3))


@pytest.mark.parametrize("world_size", [1, 2])
def test_start_inside_an_epoch_serves_the_rest_of_it_and_the_next_epoch_whole(world_size: int) -> None:
    plan = ShuffledPlan(60, 7)
    unbroken = PlanSampler(plan, 0, world_size)
    unbroken.set_epoch(2)
    whole = rows_of(list(unbroken))
    resumed = PlanSampler(plan, 0, world_size)
    resumed.start_at(2, 3)
    assert rows_of(list(resumed)) == whole[3:]
    assert rows_of(list(resumed)) == whole[3:], "asking twice must not go on counting"
    assert len(resumed) == len(whole)
    resumed.set_epoch(3)
    unbroken.set_epoch(3)
    assert rows_of(list(resumed)) == rows_of(list(unbroken))


def test_start_at_the_end_of_an_epoch_serves_nothing_of_it() -> None:
    sampler = PlanSampler(ShuffledPlan(16, 4))
    sampler.start_at(0, 4)
    assert list(sampler) == []


def test_sequential_plan_serves_every_row_of_every_source_once() -> None:
    plan = SequentialPlan([np.array([3, 5, 8]), np.array([], dtype=np.int64), np.arange(5)], batch_size=2)
    served = [(key.source, key.rows.tolist()) for key in plan.batches(9)]
    assert served == [(0, [3, 5]), (0, [8]), (2, [0, 1]), (2, [2, 3]), (2, [4])]
