"""Rows, z-scores and plans at their edges: equal cells of other types, no spread, odd batches."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import zscore

from tabstar_lit.data import verbalize
from tabstar_lit.data.plans import PlanSampler, RowBatch, SequentialPlan
from tabstar_lit.data.scalers import ZScore
from tabstar_lit.data.splits import Split, row_ids
from tabstar_lit.errors import DataError


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (pd.Series([0.0, 1.0]), pd.Series([-0.0, 1.0])),
        (pd.Series([1, 0]), pd.Series([True, False])),
        (pd.Series([1.0, np.nan]), pd.array([1, None], dtype="Int64")),
        (pd.Series([1, 2], dtype=np.int8), pd.Series([1.0, 2.0], dtype=np.float32)),
        (pd.Series(["a", None]), pd.Series(["a", np.nan], dtype=object)),
        (pd.Series(["a", "b", None]), pd.Series(["a", "b", None], dtype="category")),
        (pd.Series(["1", pd.NaT], dtype=object), pd.Series(["1", pd.NA], dtype=object)),
    ],
)
def test_equal_cells_of_another_type_keep_their_ids(first: pd.Series, second: Sequence[object]) -> None:
    mine, theirs = (row_ids(pd.DataFrame({"x": column, "y": 1})) for column in (first, second))
    np.testing.assert_array_equal(mine, theirs)


@pytest.mark.parametrize(("first", "second"), [(["1"], [1]), (["nan"], [None]), ([0.0], [np.nan])])
def test_other_cells_have_other_ids(first: list[object], second: list[object]) -> None:
    mine, theirs = (row_ids(pd.DataFrame({"x": column})) for column in (first, second))
    assert mine[0] != theirs[0]


def test_ids_see_the_order_of_columns_but_not_their_names() -> None:
    table = pd.DataFrame({"a": [1.0, 2.0], "b": [3.0, 4.0]})
    np.testing.assert_array_equal(row_ids(table), row_ids(table.set_axis(["x", "x"], axis=1)))
    assert (row_ids(table) != row_ids(table[["b", "a"]])).all()


def test_a_larger_share_holds_out_the_same_rows_and_more() -> None:
    ids = row_ids(pd.DataFrame({"x": np.arange(5000)}))
    held_out = [
        Split(3, {"val": fraction}).sides(ids, np.zeros(5000, np.int64)) > 0 for fraction in (0.05, 0.3, 0.9, 1 - 1e-9)
    ]
    assert all((small <= large).all() for small, large in pairwise(held_out))
    assert held_out[-1].tolist() == [False] + [True] * 4999


@settings(max_examples=50)
@given(
    values=st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=40).filter(lambda values: np.ptp(values) > 1e-3),
    gaps=st.integers(0, 3),
)
def test_z_scores_are_those_of_scipy_and_gaps_stay(values: list[float], gaps: int) -> None:
    column = np.array([*values, *[np.nan] * gaps])
    scaled = ZScore.fit(column).apply(column)
    np.testing.assert_allclose(scaled[: len(values)], zscore(values), rtol=1e-6, atol=1e-6)
    assert np.isnan(scaled[len(values) :]).all()


def test_a_column_without_spread_is_zeros() -> None:
    assert ZScore.fit(np.array([4.0, np.nan, 4.0])) == ZScore(mean=4.0, std=1.0)


@pytest.mark.parametrize("n", [2, 3, 8, 9])
def test_halves_of_a_batch_hold_its_rows_in_order_the_first_one_more(n: int) -> None:
    key = RowBatch(4, np.arange(n) * 10)
    plan = SequentialPlan([], 8)
    first, second = plan.split(key)
    assert (first.source, second.source) == (4, 4)
    assert np.concatenate([first.rows, second.rows]).tolist() == key.rows.tolist()
    assert plan.size(first) - plan.size(second) == n % 2


@settings(max_examples=60)
@given(
    sizes=st.lists(st.integers(0, 20), min_size=1, max_size=4),
    batch_size=st.integers(1, 8),
    world_size=st.integers(1, 5),
)
def test_dealing_a_plan_leaves_it_as_it_was(sizes: list[int], batch_size: int, world_size: int) -> None:
    plan = SequentialPlan([np.arange(size) for size in sizes], batch_size)
    before = [key.rows.tolist() for key in plan.batches(0)]
    if sum(sizes) < -(-len(before) // world_size) * world_size:
        with pytest.raises(DataError, match="batches of one row each among"):
            list(PlanSampler(plan, 0, world_size))
    else:
        shares = [list(PlanSampler(plan, rank, world_size)) for rank in range(world_size)]
        assert {len(share) for share in shares} == {len(PlanSampler(plan, 0, world_size))}
        dealt = sorted((key.source, row) for share in shares for key in share for row in key.rows.tolist())
        assert dealt == [(source, row) for source, size in enumerate(sizes) for row in range(size)]
    assert [key.rows.tolist() for key in plan.batches(0)] == before


def test_no_rows_are_no_batches_for_any_number_of_ranks() -> None:
    plan = SequentialPlan([np.arange(0)], 8)
    assert (len(plan), list(PlanSampler(plan, 2, 3)), len(PlanSampler(plan, 2, 3))) == (0, [], 0)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (100.0, "100"),
        (-0.00004, "0"),
        (0.00006, "0.0001"),
        (-12.50, "-12.5"),
        (1e15, "1000000000000000"),
        (0.99999, "1"),
    ],
)
def test_boundaries_keep_four_decimals_and_no_zeros_behind(value: float, text: str) -> None:
    assert verbalize.number_text(value) == text


def test_open_bins_are_named_by_number_or_as_the_official_weights_know_them() -> None:
    boundaries = np.linspace(5, 105, 11)
    numeric, official = (verbalize.bin_labels(boundaries, style) for style in ("numeric", "official"))
    assert numeric[1:-1] == official[1:-1]
    assert (numeric[0], numeric[-1]) == ("Lower than 5 (Quantile 0%)", "Higher than 105 (Quantile 100%)")
    assert (official[0], official[-1]) == ("Lower than 105 (Quantile 0%)", "Higher than 95 (Quantile 100%)")
    values = np.array([4.9, 5.0, 14.9, 95.0, 104.9, 106.0])
    chosen = [numeric[bin_] for bin_ in np.digitize(values, boundaries)]
    assert [label.split(" (")[0] for label in chosen] == [
        "Lower than 5",
        "5 to 15",
        "5 to 15",
        "95 to 105",
        "95 to 105",
        "Higher than 105",
    ]


@given(text=st.text(max_size=30))
def test_no_text_breaks_the_two_lines_of_a_cell(text: str) -> None:
    lines = verbalize.feature_text(text, text).split("\n")
    assert lines == [f"Predictive Feature: {verbalize.plain(text)}", f"Feature Value: {verbalize.plain(text)}"]
    assert len(verbalize.plain(text)) == len(text)
