"""Shares of tables of any sizes, and draws that are functions of seed, table and epoch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tabstar_lit.data.plans import source_rng
from tabstar_lit.families.tabstar.config import TabstarDataset
from tabstar_lit.families.tabstar.table_plan import TablePlan, WindowRows, table_quotas

SIZES = st.lists(st.integers(1, 100_000), min_size=1, max_size=12)


def settings(**values: object) -> TabstarDataset:
    return TabstarDataset(name="t", **values)


@given(SIZES, st.integers(1, 5000), st.floats(1, 50))
def test_shares_keep_total_limits_and_order(sizes: list[int], rows: int, temperature: float) -> None:
    config = settings(rows_per_dataset=rows, strategy="temperature", temperature=temperature)
    shares = table_quotas(sizes, config)
    total = sum(min(size, rows) for size in sizes)
    assert ((shares >= 1) & (shares <= sizes)).all()
    assert total <= shares.sum() <= total + np.sum(shares == 1), "only rows given to tables without a share are extra"
    assert (np.diff(shares[np.argsort(sizes, kind="stable")]) >= -1).all(), (
        "a larger table gives no fewer, but for a row"
    )


@given(SIZES, st.integers(1, 5000))
def test_proportional_shares_are_off_by_less_than_a_row(sizes: list[int], rows: int) -> None:
    shares = table_quotas(sizes, settings(rows_per_dataset=rows, strategy="proportional"))
    exact = np.minimum(sizes, rows).sum() * np.array(sizes) / np.sum(sizes)
    assert (np.abs(shares - np.maximum(exact, 1)) <= 1).all()


def plan(names: list[str], sizes: list[int], seed: int = 0, **values: object) -> TablePlan:
    rows = [1000 * i + np.arange(size) for i, size in enumerate(sizes)]
    return TablePlan(names, rows, settings(**{"batch_size": 4, "rows_per_dataset": 10, **values}), seed)


def drawn(table_plan: TablePlan, epoch: int) -> dict[int, list[int]]:
    found: dict[int, list[int]] = {}
    for batch in table_plan.batches(epoch):
        found.setdefault(batch.source, []).extend(batch.rows.tolist())
    return found


@given(st.lists(st.integers(1, 40), min_size=1, max_size=5), st.integers(0, 3), st.integers(1, 9))
def test_an_epoch_draws_the_quota_of_own_rows_and_has_as_many_batches_as_announced(
    sizes: list[int], epoch: int, batch_size: int
) -> None:
    made = plan([f"t{i}" for i in range(len(sizes))], sizes, batch_size=batch_size)
    batches = made.batches(epoch)
    assert len(batches) == len(made)
    assert max(len(batch.rows) for batch in batches) <= batch_size
    for source, rows in drawn(made, epoch).items():
        assert len(set(rows)) == len(rows) == made.quotas[source]
        assert {row // 1000 for row in rows} == {source}


def test_epochs_seeds_and_names_draw_other_rows_and_places_do_not() -> None:
    made = plan(["a", "b"], [40, 40])
    assert drawn(made, 0) != drawn(made, 1)
    assert drawn(made, 0) != drawn(plan(["a", "b"], [40, 40], seed=1), 0)
    moved, alone = drawn(plan(["b", "a"], [40, 40]), 0)[1], drawn(plan(["a"], [40]), 0)[0]
    assert sorted(row - 1000 for row in moved) == sorted(alone)


def test_a_table_is_seen_whole_within_some_epochs() -> None:
    made = plan(["a"], [40])
    assert set().union(*(drawn(made, epoch)[0] for epoch in range(40))) == set(range(40))


@pytest.mark.parametrize("other", [(1, "a", 0), (0, "b", 0), (0, "a", 1), (0, "a", 0, 1), (0, "é", 0)])
def test_generators_of_different_places_are_different(other: tuple[Any, ...]) -> None:
    seed, name, *more = other
    first, second = source_rng(0, "a", 0), source_rng(seed, name, *more)
    assert first.integers(0, 2**60, 4).tolist() != second.integers(0, 2**60, 4).tolist()


@given(st.lists(st.integers(1, 40), min_size=1, max_size=6), st.integers(2, 5), st.integers(1, 3))
def test_windows_hold_neighbours_of_one_table_and_lie_within_steps(sizes: list[int], window: int, ranks: int) -> None:
    made = plan([f"t{i}" for i in range(len(sizes))], sizes, batch_size=2, rows_per_dataset=30, window=window)
    keys = made.batches(0)
    assert len(keys) == len(made)
    for rank in range(ranks):
        served = keys[rank::ranks]
        joined = made.dealt(served)
        assert [key.rows.tolist() for key in joined] == [key.rows.tolist() for key in served]
        for number, key in enumerate(joined):
            if isinstance(key, WindowRows) and not key.is_first:
                assert number % window, "a window reaches over a step"
                assert key.window is joined[number - 1].window
                assert set(key.rows) <= set(key.window)


def test_a_table_is_served_in_whole_windows_and_what_is_left_at_their_end() -> None:
    made = plan(["a", "b", "c"], [22, 10, 3], batch_size=2, rows_per_dataset=30, window=4)
    blocks = [[key.source for key in made.batches(0)][first : first + 4] for first in range(0, 18, 4)]
    assert sum(len(set(block)) == 1 and len(block) == 4 for block in blocks) == 3
    assert len(blocks[-1]) == 2
    assert drawn(made, 0).keys() == {0, 1, 2}
