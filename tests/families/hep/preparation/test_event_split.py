"""Splits of events: by hash, for ever, never through a group."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tabstar_lit.errors import DataError
from tabstar_lit.families.hep.config import FoldsConfig, SplitConfig
from tabstar_lit.families.hep.preparation.split import SPLITS, require_classes, split_events

SPLIT = SplitConfig(val=0.1, test=0.2, calib=0.15)
IDS = st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=200).map(lambda ids: np.array(ids, dtype=np.uint64))


@settings(max_examples=50)
@given(ids=IDS, more=IDS, seed=st.integers(0, 1000), n=st.sampled_from([None, 2, 5]))
def test_an_event_keeps_its_side(ids: np.ndarray, more: np.ndarray, seed: int, n: int | None) -> None:
    split, folds = SPLIT.model_copy(update={"seed": seed}), None if n is None else FoldsConfig(n=n, fold=1)
    sides = split_events(ids, split, folds)
    np.testing.assert_array_equal(split_events(np.concatenate([more, ids]), split, folds)[len(more) :], sides)
    order = np.random.default_rng(seed).permutation(len(ids))
    np.testing.assert_array_equal(split_events(ids[order], split, folds), sides[order])
    for group in np.unique(ids):
        assert len(set(sides[ids == group])) == 1


def test_shares_are_kept_and_seeds_differ() -> None:
    ids = np.arange(100_000, dtype=np.uint64)
    sides = split_events(ids, SPLIT)
    np.testing.assert_allclose(np.bincount(sides) / len(ids), [0.55, 0.1, 0.2, 0.15], atol=0.006)
    other = split_events(ids, SPLIT.model_copy(update={"seed": 1}))
    assert np.mean((sides == 1) & (other == 1)) == pytest.approx(0.01, abs=0.002)


def test_folds_test_every_event_once() -> None:
    ids = np.random.default_rng(0).integers(0, 2**63, 20_000).astype(np.uint64)
    sides = [split_events(ids, SPLIT, FoldsConfig(n=5, fold=fold)) for fold in range(5)]
    tested = np.stack([own == SPLITS.index("test") for own in sides])
    np.testing.assert_array_equal(tested.sum(axis=0), 1)
    np.testing.assert_allclose(tested.mean(axis=1), 0.2, atol=0.01)
    # What a fold leaves is divided by the same hash in all of them, independently of the folds.
    validated = np.stack([own == SPLITS.index("val") for own in sides])
    assert set(validated.sum(axis=0)) == {0, 4}
    assert validated[0].mean() == pytest.approx(0.1 * 0.8, abs=0.01)


def test_a_class_absent_from_a_split_is_named_with_counts() -> None:
    sides = np.array([0, 0, 0, 1, 2, 2], dtype=np.int8)
    targets = np.array([0, 1, 1, 0, 1, 0])
    require_classes(sides, targets, ("bkg", "sig"), {"train", "test"})
    with pytest.raises(
        DataError, match=r"val split has no events of class 'sig'.*train bkg 1, sig 2; val bkg 1, sig 0"
    ):
        require_classes(sides, targets, ("bkg", "sig"), {"train", "val"})


def test_shares_must_leave_something() -> None:
    assert [problem.path for problem in SplitConfig(val=0.5, test=0.5).problems()] == [("val",)]
    assert [problem.path for problem in SplitConfig(val=0.0).problems()] == [("val",)]
    assert [problem.path for problem in FoldsConfig(n=3, fold=3).problems()] == [("fold",)]
