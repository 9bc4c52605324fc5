"""Splits follow rows, not places, and the rules that have split something stay as they are."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest
from benchmarks.golden.tabstar_inputs import columns
from hypothesis import given, settings
from hypothesis import strategies as st

from tabstar_lit.data.splits import SPLIT_VERSION, Fold, Split, document_ids, frame_hashes, row_ids
from tabstar_lit.errors import DataError

IDS = st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=120).map(lambda ids: np.array(ids, dtype=np.uint64))
STORED_IDS = np.arange(60, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)


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


def held_out(table: pd.DataFrame, fraction: float = 0.1, seed: int = 0) -> np.ndarray:
    return Split(seed, {"val": fraction}).sides(row_ids(table), table["class"].to_numpy(dtype=np.int64))


def letters(split: Split, classes: np.ndarray | None = None) -> str:
    """Write sides by first letter, test as e."""
    names = ["e" if name == "test" else name[0] for name in split.names]
    return "".join(names[side] for side in split.sides(STORED_IDS, classes).tolist())


# -- frozen: a change here moves rows between training and validation of everything that was ever split ---------------


def test_events_stay_where_the_first_rule_put_them() -> None:
    shares = {"val": 0.2, "calib": 0.1}
    assert letters(Split(3, shares, 0.25, version=1)) == "vttttttetevttttetceetcettvtvttvevtvteetettcevettctcvttttvtve"
    folds = Split(3, shares, Fold(2, 4), version=1)
    assert letters(folds) == "vetttttttevttetteetetctttvevttetvtetettetecteettctcvtttevevt"


def test_rows_of_tables_stay_where_the_second_rule_puts_them() -> None:
    one, several = np.zeros(60, dtype=np.int64), np.arange(60) // 3 % 7
    split = Split(3, {"val": 0.2})
    assert letters(split, one) == "tvvtttvttttttttttvvtttvttttttttttttvtttvtttttttttttttttvttvv"
    assert letters(split, several) == "tvvtvttvttvttvttvvtvttvttttttttttttvtttvtttttttttttttttvttvv"
    assert letters(split, one)[2:] == letters(split)[2:]


def test_every_side_stays_where_the_second_rule_puts_it() -> None:
    shares = {"val": 0.2, "calib": 0.1}
    assert letters(Split(3, shares, 0.25)) == "evvtttvtetcttettevveetvececteeccettvtetvtetetteetttcctevetvv"
    assert letters(Split(3, shares, Fold(2, 4))) == "eevtetvttecttttttveettvtcectttccteevtttvtteetttttteccttvteev"


def test_ids_are_the_same_on_every_machine() -> None:
    table = pd.DataFrame({"a": [1.0, 2.0, np.nan, 2.0], "b": ["x", "y", None, "y"]})
    assert [hex(value) for value in row_ids(table)] == [
        "0x5a944f312b73a034",
        "0xe280dccab61d7e12",
        "0xd2c479085b8878ed",
        "0x59ec5700c8599d67",
    ]
    # As b2sum -l 64 gives them, which writes the last byte of such a number first.
    sums = ["e4a6a0577479b2b4", "40f89e395b66422f", "bef26892eeeb4cdc"]
    assert [int(value).to_bytes(8, "little").hex() for value in document_ids(["", "a", "naïve"])] == sums


@pytest.mark.parametrize("cells", [1, 7, 1 << 16])
def test_columns_have_the_same_hashes_in_whatever_blocks(monkeypatch: pytest.MonkeyPatch, cells: int) -> None:
    table = columns()
    one_by_one = [next(frame_hashes(table[[name]])) for name in table]
    monkeypatch.setattr("tabstar_lit.data.splits.CELLS", cells * len(table))
    np.testing.assert_array_equal(list(frame_hashes(table)), one_by_one)


# -- what the docstring promises --------------------------------------------------------------------------------------


def splits() -> st.SearchStrategy[Split]:
    shares = st.lists(st.floats(0, 0.3), max_size=3).map(lambda own: {f"s{i}": share for i, share in enumerate(own)})
    folds = st.builds(lambda n, of: Fold(n % of, of), st.integers(0, 9), st.integers(2, 9))
    return st.builds(
        Split,
        seed=st.integers(0, 99),
        shares=shares,
        test=st.floats(0, 0.1) | folds,
        version=st.sampled_from([1, 2]),
    )


@settings(max_examples=80)
@given(split=splits(), ids=IDS, more=IDS, seed=st.integers(0, 9))
def test_other_rows_and_their_order_move_none_and_groups_stay_together(
    split: Split, ids: np.ndarray, more: np.ndarray, seed: int
) -> None:
    sides = split.sides(ids)
    np.testing.assert_array_equal(split.sides(np.concatenate([more, ids]))[len(more) :], sides)
    order = np.random.default_rng(seed).permutation(len(ids))
    np.testing.assert_array_equal(split.sides(ids[order]), sides[order])
    np.testing.assert_array_equal(split.sides(np.repeat(ids, 2)), np.repeat(sides, 2))


@pytest.mark.parametrize("version", [1, 2])
def test_shares_are_kept_and_seeds_are_independent(version: int) -> None:
    ids = np.random.default_rng(0).integers(0, 2**63, 100_000).astype(np.uint64)
    first, second = (Split(seed, {"val": 0.1, "calib": 0.15}, 0.2, version).sides(ids) for seed in (0, 1))
    np.testing.assert_allclose(np.bincount(first) / len(ids), [0.55, 0.1, 0.15, 0.2], atol=0.006)
    joint = np.bincount(first * 4 + second, minlength=16).reshape(4, 4) / len(ids)
    np.testing.assert_allclose(joint, np.outer([0.55, 0.1, 0.15, 0.2], [0.55, 0.1, 0.15, 0.2]), atol=0.006)


@pytest.mark.parametrize("version", [1, 2])
def test_whatever_is_given_to_the_others_the_tested_rows_stay(version: int) -> None:
    ids = np.random.default_rng(1).integers(0, 2**63, 5000).astype(np.uint64)
    for test in (0.2, Fold(1, 5)):
        tested = [
            (split := Split(4, shares, test, version)).sides(ids) == split.names.index("test")
            for shares in ({}, {"val": 0.1}, {"val": 0.3, "calib": 0.4})
        ]
        assert (tested[0] == tested[1]).all()
        assert (tested[0] == tested[2]).all()


@pytest.mark.parametrize("version", [1, 2])
def test_a_larger_share_takes_from_those_behind_it_and_from_training(version: int) -> None:
    ids = np.random.default_rng(2).integers(0, 2**63, 5000).astype(np.uint64)

    def moves(shares: dict[str, float], test: float) -> set[tuple[str, str]]:
        before, after = Split(0, {"val": 0.1, "calib": 0.1}, 0.1, version), Split(0, shares, test, version)
        pairs = zip(before.sides(ids).tolist(), after.sides(ids).tolist(), strict=True)
        return {(before.names[a], after.names[b]) for a, b in pairs if a != b}

    assert moves({"val": 0.1, "calib": 0.1}, 0.3) == {("train", "test")}
    assert moves({"val": 0.1, "calib": 0.3}, 0.1) == {("train", "calib")}
    assert moves({"val": 0.15, "calib": 0.1}, 0.1) == {("calib", "val"), ("train", "calib")}


@pytest.mark.parametrize("version", [1, 2])
def test_folds_test_every_row_once_and_divide_the_rest_alike(version: int) -> None:
    ids = np.random.default_rng(3).integers(0, 2**63, 20_000).astype(np.uint64)
    sides = np.stack([Split(0, {"val": 0.1}, Fold(fold, 5), version).sides(ids) for fold in range(5)])
    np.testing.assert_array_equal((sides == 2).sum(axis=0), 1)
    np.testing.assert_allclose((sides == 2).mean(axis=1), 0.2, atol=0.01)
    assert set((sides == 1).sum(axis=0)) == {0, 4}


@given(extra=st.integers(1, 200), seed=st.integers(0, 20))
@settings(max_examples=25)
def test_appending_rows_of_a_table_moves_none(extra: int, seed: int) -> None:
    table = frame(200, seed)
    longer = pd.concat([table, frame(extra, seed + 1), table.head(extra)], ignore_index=True)
    assert np.array_equal(held_out(longer)[:200], held_out(table))


def test_appending_a_gap_to_whole_numbers_moves_none() -> None:
    table = frame(500)
    longer = pd.concat([table, pd.DataFrame({"class": [1]})], ignore_index=True)
    assert longer["count"].dtype == np.float64
    assert np.array_equal(held_out(longer)[:500], held_out(table))


def test_shuffling_moves_the_first_two_rows_of_a_class_at_most() -> None:
    table = frame()
    order = np.random.default_rng(1).permutation(len(table))
    shuffled = table.iloc[order].reset_index(drop=True)
    assert np.array_equal(np.sort(row_ids(shuffled)), np.sort(row_ids(table)))
    assert (held_out(shuffled) != held_out(table)[order]).sum() <= 4 * table["class"].nunique()


# -- classes ----------------------------------------------------------------------------------------------------------


def test_every_class_trains_and_classes_with_two_rows_validate() -> None:
    classes = np.append(np.repeat(np.arange(300), 2), [300, 301])  # two classes with a single row
    ids = np.random.default_rng(0).integers(0, 2**63, len(classes)).astype(np.uint64)
    sides = Split(0, {"val": 0.1}).sides(ids, classes)
    assert set(classes[sides == 0].tolist()) == set(range(302))
    assert set(classes[sides == 1].tolist()) == set(range(300))


@pytest.mark.parametrize("n", [1, 2, 3])
def test_tiny_tables_train_on_their_first_row(n: int) -> None:
    sides = Split(0, {"val": 0.1}).sides(row_ids(frame(n)), np.zeros(n, dtype=np.int64))
    assert sides.tolist()[:2] == [0, 1][:n]


def test_shares_that_are_used_get_every_class_in_order_and_what_is_tested_stays() -> None:
    ids, classes = np.random.default_rng(0).integers(0, 2**63, 400).astype(np.uint64), np.arange(400) % 20
    split = Split(0, {"val": 0.05, "none": 0.0, "calib": 0.05}, 0.3)
    plain, spread = split.sides(ids), split.sides(ids, classes)
    np.testing.assert_array_equal(spread == 4, plain == 4)
    for name in range(20):
        assert spread[(classes == name) & (plain != 4)].tolist()[:3] == [0, 1, 3]
    assert (spread != 2).all()


@settings(max_examples=60)
@given(split=splits(), ids=IDS, n_classes=st.integers(1, 5), n=st.integers(1, 100))
def test_groups_stay_together_and_appended_rows_move_none_when_classes_are_spread(
    split: Split, ids: np.ndarray, n_classes: int, n: int
) -> None:
    rng = np.random.default_rng(n)
    groups = rng.choice(ids, 2 * n)
    classes = rng.integers(0, n_classes, 2 * n)
    sides = split.sides(groups, classes)
    assert all(len(set(sides[groups == group])) == 1 for group in set(groups.tolist()))
    # A group whose first row stands among the first n has been placed by it.
    np.testing.assert_array_equal(split.sides(groups[:n], classes[:n]), sides[:n])


# -- ids, and what is kept --------------------------------------------------------------------------------------------


def test_equal_rows_have_different_ids() -> None:
    table = pd.concat([frame(50)] * 40, ignore_index=True)
    assert len(set(row_ids(table).tolist())) == len(table)


def test_cells_do_not_run_together() -> None:
    ids = row_ids(pd.DataFrame({"a": ["x", "xy", ""], "b": ["yz", "z", "xyz"]}))
    assert len(set(ids.tolist())) == 3
    swapped = row_ids(pd.DataFrame({"a": ["1", "2"], "b": ["2", "1"]}))
    assert swapped[0] != swapped[1]


def test_equal_documents_are_on_one_side_and_others_are_spread() -> None:
    texts = [f"document {i}" for i in range(20_000)]
    ids = document_ids([*texts, *texts])
    np.testing.assert_array_equal(ids[:20_000], ids[20_000:])
    assert len(set(ids.tolist())) == 20_000
    assert (Split(0, {"val": 0.1}).sides(ids) == 1).mean() == pytest.approx(0.1, abs=0.006)
    assert document_ids(iter([])).shape == (0,)
    assert len(set(document_ids(["\ud800", "\udfff", "?"]).tolist())) == 3, "no text is too odd to have an id"


@given(split=splits())
def test_what_a_checkpoint_keeps_gives_the_same_split(split: Split) -> None:
    assert Split.from_plain(json.loads(json.dumps(split.to_plain()))) == split


def test_a_split_without_a_version_has_the_first_rule() -> None:
    plain = Split(1, {"val": 0.1}, 0.1).to_plain()
    assert plain.pop("version") == SPLIT_VERSION == 2
    assert Split.from_plain(plain).version == 1


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ({"shares": {"val": -0.1}}, r"shares \[-0.1, 0.0\] are not at least 0"),
        ({"shares": {"val": 0.7}, "test": 0.4}, "at most 1 together"),
        ({"shares": {"val": float("nan")}}, "not at least 0"),
        ({"test": Fold(3, 3)}, "fold 3 of 3 folds: they are numbered 0 to 2"),
        ({"shares": {"test": 0.1}}, "no share can be called 'test'"),
        ({"version": 3}, "split version 3; this release knows 1 to 2"),
    ],
)
def test_what_splits_nothing_is_refused(parts: dict[str, Any], words: str) -> None:
    with pytest.raises(DataError, match=words):
        Split(**({"seed": 0, "shares": {"val": 0.1}} | parts))
