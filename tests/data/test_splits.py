"""Splits follow rows, not places."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tabstar_lit.data.splits import hash_split, row_ids


def frame(n: int = 3000, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "x": rng.normal(size=n),
            "count": rng.integers(0, 5, n),
            "word": rng.choice(["a", "b", "c"], n),
            "class": rng.integers(0, 4, n),
        }
    )


def split(table: pd.DataFrame, **options: object) -> np.ndarray:
    return hash_split(row_ids(table), fraction=0.1, seed=0, classes=table["class"].to_numpy(dtype=np.int64), **options)


def test_the_share_is_kept_and_seeds_differ() -> None:
    ids = row_ids(frame(20_000))
    first, second = (hash_split(ids, fraction=0.1, seed=seed) for seed in (0, 1))
    assert abs(first.mean() - 0.1) < 0.01
    assert abs((first & second).mean() - 0.01) < 0.005
    assert np.array_equal(first, hash_split(ids, fraction=0.1, seed=0))


def test_the_split_is_the_same_on_every_machine() -> None:
    """Frozen: a change here moves rows between training and validation of every corpus."""
    table = pd.DataFrame({"a": [1.0, 2.0, np.nan, 2.0], "b": ["x", "y", None, "y"]})
    assert [hex(value) for value in row_ids(table)] == [
        "0x5a944f312b73a034",
        "0xe280dccab61d7e12",
        "0xd2c479085b8878ed",
        "0x59ec5700c8599d67",
    ]


@given(extra=st.integers(1, 200), seed=st.integers(0, 20))
@settings(max_examples=25, deadline=None)
def test_appending_rows_moves_none(extra: int, seed: int) -> None:
    table = frame(200, seed)
    longer = pd.concat([table, frame(extra, seed + 1), table.head(extra)], ignore_index=True)
    assert np.array_equal(split(longer)[:200], split(table))


def test_appending_a_gap_to_whole_numbers_moves_none() -> None:
    table = frame(500)
    longer = pd.concat([table, pd.DataFrame({"class": [1]})], ignore_index=True)
    assert longer["count"].dtype == np.float64
    assert np.array_equal(split(longer)[:500], split(table))


def test_shuffling_moves_the_first_two_rows_of_a_class_at_most() -> None:
    table = frame()
    order = np.random.default_rng(1).permutation(len(table))
    shuffled = table.iloc[order].reset_index(drop=True)
    assert np.array_equal(np.sort(row_ids(shuffled)), np.sort(row_ids(table)))
    assert (split(shuffled) != split(table)[order]).sum() <= 4 * table["class"].nunique()


def test_equal_rows_have_different_ids() -> None:
    table = pd.concat([frame(50)] * 40, ignore_index=True)
    assert len(set(row_ids(table).tolist())) == len(table)


def test_cells_do_not_run_together() -> None:
    ids = row_ids(pd.DataFrame({"a": ["x", "xy", ""], "b": ["yz", "z", "xyz"]}))
    assert len(set(ids.tolist())) == 3
    swapped = row_ids(pd.DataFrame({"a": ["1", "2"], "b": ["2", "1"]}))
    assert swapped[0] != swapped[1]


def test_every_class_trains_and_classes_with_two_rows_validate() -> None:
    classes = np.repeat(np.arange(300), 2)
    classes = np.append(classes, [300, 301])  # two classes with a single row
    held_out = hash_split(
        np.random.default_rng(0).integers(0, 2**63, len(classes)).astype(np.uint64),
        fraction=0.1,
        seed=0,
        classes=classes,
    )
    assert set(classes[~held_out].tolist()) == set(range(302))
    assert set(classes[held_out].tolist()) == set(range(300))


@pytest.mark.parametrize("n", [1, 2, 3])
def test_tiny_tables_train_on_their_first_row(n: int) -> None:
    held_out = hash_split(row_ids(frame(n)), fraction=0.1, seed=0)
    assert held_out.tolist()[:2] == [False, True][:n]
