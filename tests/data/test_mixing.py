"""Mixed batches: shares hold in every batch, all rows are used before one repeats, and any batch can be resumed at."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tabstar_lit.data.mixing import MixedBatch, MixedPlan, interleave
from tabstar_lit.data.plans import PlanSampler, RowBatch
from tabstar_lit.data.quotas import row_quotas
from tabstar_lit.errors import DataError

Row = tuple[int, int]


def plan_of(sizes: list[int], batch_size: int = 8, **options: Any) -> MixedPlan:
    """Return a plan over sources whose rows are numbers far apart."""
    rows = [np.arange(size) + 1000 * source for source, size in enumerate(sizes)]
    options = {"seed": 0, "rows_per_epoch": sum(sizes)} | options
    return MixedPlan([f"source {i}" for i in range(len(sizes))], rows, batch_size, **options)


def rows_of(keys: list[MixedBatch]) -> list[list[Row]]:
    return [[(part.source, row) for part in key for row in part.rows.tolist()] for key in keys]


def flat(keys: list[MixedBatch]) -> list[Row]:
    return [row for rows in rows_of(keys) for row in rows]


@st.composite
def plans(draw: st.DrawFn) -> MixedPlan:
    sizes = draw(st.lists(st.integers(1, 40), min_size=1, max_size=5))
    total = draw(st.integers(len(sizes), 120))
    options = {"alpha": draw(st.floats(0, 1)), "repeat": draw(st.booleans())}
    quotas = row_quotas(sizes, total, **options)
    rows = [np.arange(size) + 1000 * source for source, size in enumerate(sizes) if quotas[source]]
    sizes = [len(own) for own in rows]
    if not all(row_quotas(sizes, total, **options)):
        total, options = sum(sizes), {"alpha": 1.0, "repeat": False}
    return plan_of(sizes, draw(st.integers(1, 16)), rows_per_epoch=total, seed=draw(st.integers(0, 5)), **options)


@settings(max_examples=80)
@given(plan=plans(), epoch=st.integers(0, 5), world_size=st.integers(1, 4), start=st.integers(0, 9))
def test_ranks_share_no_row_and_resume_at_any_batch(plan: MixedPlan, epoch: int, world_size: int, start: int) -> None:
    if plan.quotas.sum() < -(-len(plan) // world_size) * world_size:
        with pytest.raises(DataError, match="batches of one row each"):
            list(PlanSampler(plan, 0, world_size))
        return
    shares = []
    for rank in range(world_size):
        sampler = PlanSampler(plan, rank, world_size)
        sampler.set_epoch(epoch)
        shares.append(list(sampler))
        resumed = PlanSampler(plan, rank, world_size)
        resumed.start_at(epoch, start)
        assert rows_of(list(resumed)) == rows_of(shares[-1][start:])
    assert {len(share) for share in shares} == {len(PlanSampler(plan, 0, world_size))}
    assert Counter(row for share in shares for row in flat(share)) == Counter(flat(plan.batches(epoch)))


@settings(max_examples=80)
@given(plan=plans(), epoch=st.integers(0, 3))
def test_an_epoch_has_the_quotas_and_every_batch_its_rows(plan: MixedPlan, epoch: int) -> None:
    keys = plan.batches(epoch)
    assert len(keys) == len(plan)
    counted = Counter(source for source, _ in flat(keys))
    assert [counted[source] for source in range(len(plan.quotas))] == plan.quotas.tolist()
    sizes = sorted((plan.size(key) for key in keys), reverse=True)
    assert len(set(sizes[:-1])) <= 1
    assert all(part.source == part.rows[0] // 1000 for key in keys for part in key)


@settings(max_examples=60)
@given(plan=plans(), epochs=st.integers(1, 6))
def test_all_rows_of_a_source_are_used_before_one_repeats(plan: MixedPlan, epochs: int) -> None:
    used = [row for epoch in range(epochs) for row in flat(plan.batches(epoch))]
    counts = Counter(used)
    for source, quota in enumerate(plan.quotas.tolist()):
        own = [counts[source, row] for row in plan._rows[source].tolist()]
        rounds = epochs * quota / len(own)
        assert {int(rounds), -(-epochs * quota // len(own))} >= set(own)


@settings(max_examples=100)
@given(
    quotas=st.lists(st.integers(1, 300), min_size=1, max_size=6),
    batch_size=st.integers(1, 60),
)
def test_shares_hold_in_every_batch(quotas: list[int], batch_size: int) -> None:
    counts = interleave(np.array(quotas), batch_size)
    assert counts.sum(axis=0).tolist() == quotas
    assert set(counts[:-1].sum(axis=1).tolist()) <= {batch_size}
    shares = np.array(quotas) / sum(quotas)
    rows = counts.sum(axis=1, keepdims=True)
    assert (np.abs(counts - rows * shares) < 1 + len(quotas) * shares + 1e-9).all()


def test_balanced_sources_are_alike_in_every_batch() -> None:
    plan = plan_of([500, 40, 60], 30, alpha=0.0, rows_per_epoch=300, repeat=True)
    assert {tuple(len(part.rows) for part in key) for key in plan.batches(4)} == {(10, 10, 10)}


def test_epochs_and_seeds_differ_and_a_new_source_leaves_the_draws_of_the_others() -> None:
    plan, other = plan_of([60, 30]), plan_of([60, 30], seed=1)
    assert rows_of(plan.batches(0)) == rows_of(plan_of([60, 30]).batches(0))
    assert flat(plan.batches(0)) != flat(plan.batches(1))
    assert flat(plan.batches(0)) != flat(other.batches(0))
    more = plan_of([60, 30, 50], seed=0)
    assert [set(plan._drawn(s, 3).tolist()) for s in (0, 1)] == [set(more._drawn(s, 3).tolist()) for s in (0, 1)]
    assert plan._drawn(0, 3).tolist() == more._drawn(0, 3).tolist()


def test_a_short_last_batch_is_left_out_and_its_rows_come_first_in_the_next_epoch() -> None:
    plan = plan_of([10], 4, drop_last=True)
    assert (len(plan), plan.quotas.tolist()) == (2, [8])
    first, second = (flat(plan.batches(epoch)) for epoch in (0, 1))
    assert len(set(first)) == 8
    assert {*first, *second} == {(0, row) for row in range(10)}
    assert len(plan_of([12], 4, drop_last=True)) == 3


def test_rows_that_repeat_are_said(caplog: pytest.LogCaptureFixture) -> None:
    plan_of([100, 10], alpha=0.0, rows_per_epoch=100)
    assert not caplog.records
    plan_of([100, 10, 20], alpha=0.0, rows_per_epoch=150, repeat=True)
    said = "Sources with fewer rows than their share of an epoch are used again: "
    assert caplog.messages == [said + "'source 1' 5 times, 'source 2' 2.5 times."]
    plan_of([1] * 8, 8, rows_per_epoch=16, repeat=True)
    assert caplog.messages[1].endswith("'source 4' 2 times and 3 more.")


@pytest.mark.parametrize(
    ("sizes", "options", "words"),
    [
        ([10_000, 3], {"rows_per_epoch": 100}, r"source 'source 1' \(3 rows\) gets none of the 100 rows"),
        ([10, 0], {}, r"source 'source 1' \(0 rows\) gets none"),
        ([3, 3], {"drop_last": True}, "an epoch of 6 rows has no batch of 8"),
    ],
)
def test_an_epoch_that_lacks_a_source_or_any_batch_is_refused(
    sizes: list[int], options: dict[str, Any], words: str
) -> None:
    with pytest.raises(DataError, match=words):
        plan_of(sizes, **options)


def test_halves_of_a_batch_have_half_of_each_source() -> None:
    plan = plan_of([9, 9])
    key = (RowBatch(0, np.arange(5)), RowBatch(1, np.arange(1000, 1004)), RowBatch(3, np.arange(3000, 3001)))
    first, second = plan.split(key)
    assert rows_of([first]) == [[(0, 0), (0, 2), (0, 4), (1, 1001), (1, 1003)]]
    assert rows_of([second]) == [[(0, 1), (0, 3), (1, 1000), (1, 1002), (3, 3000)]]
