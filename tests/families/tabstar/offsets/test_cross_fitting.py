"""Offsets of training rows are those of models that have not seen them, of new rows those of the model of all."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from offset_tables import everything, rows, sums, table, training
from sklearn.metrics import r2_score

from tabstar_lit.families.tabstar.offsets import less_offsets, offset_from
from tabstar_lit.families.tabstar.offsets.fitting import FOLDS, KIND, KINDS, folds, out_of_fold, shrinkage

BOTH = pytest.mark.parametrize("kind", list(KINDS))


@BOTH
def test_the_target_of_a_row_says_nothing_of_its_own_offset(kind: str) -> None:
    own = table()
    train = training(own)
    parts = folds(own.row_ids[train])
    before = out_of_fold(KINDS[kind], own, everything(own), train, parts)
    targets = own.targets.copy()
    targets[train[7]] += 2
    after = out_of_fold(KINDS[kind], replace(own, targets=targets), everything(own), train, parts)
    same = parts == parts[7]
    np.testing.assert_array_equal(after[:, same], before[:, same])
    assert (after[-1, ~same] != before[-1, ~same]).mean() > 0.5


@BOTH
def test_noise_has_no_offset(kind: str) -> None:
    frame = rows(count=400)
    frame["y"] = np.random.default_rng(1).normal(size=len(frame))
    own = table(frame)
    _, added = less_offsets(own, everything(own), kind)
    assert np.std(added) < 0.15 * own.targets.std()


@BOTH
def test_what_is_left_and_the_offset_are_the_target(kind: str) -> None:
    frame = rows()
    own = table(frame[frame["color"] != "rare"].reset_index(drop=True))
    less, added = less_offsets(own, everything(own), kind)
    np.testing.assert_allclose(less.targets + added, own.targets, atol=1e-6)
    assert less.targets.std() < 0.3 * own.targets.std()
    train = ~own.is_validation
    spread = [np.std(less.targets[rows]) for rows in (train, ~train)]
    assert spread[0] == pytest.approx(spread[1], rel=0.3), "training rows are left what new rows are"


@BOTH
def test_rows_held_out_have_the_offset_that_new_rows_have(kind: str) -> None:
    own = table()
    less, added = less_offsets(own, everything(own), kind)
    plain = less.schema["target"]["offset"]
    assert plain[KIND] == kind
    model = offset_from(plain)
    held_out = own.is_validation
    np.testing.assert_allclose(sums(model, own)[held_out], added[held_out], atol=1e-6)
    assert r2_score(own.targets[~held_out], sums(model, own)[~held_out]) > r2_score(
        own.targets[~held_out], added[~held_out]
    ), "seen rows would be told better"


@BOTH
def test_rows_that_count_nothing_are_as_new_ones(kind: str) -> None:
    own = table()
    weights = np.ones(len(own), dtype=np.float32)
    weights[training(own)[9:]] = 0
    weights[training(own)[30:500]] = 2
    odd = replace(own, weights=weights, targets=np.where(weights > 0, own.targets, -own.targets))
    less, added = less_offsets(odd, everything(own), kind)
    others = own.is_validation | (weights == 0)
    found = sums(offset_from(less.schema["target"]["offset"]), own)
    np.testing.assert_allclose(found[others], added[others], atol=1e-6)
    assert r2_score(odd.targets[weights > 0], added[weights > 0]) > 0.9


@BOTH
def test_only_features_in_use_have_a_say(kind: str) -> None:
    own = table()
    z = own.feature_names.index("z")
    less, _ = less_offsets(own, np.array([z]), kind)
    plain = less.schema["target"]["offset"]
    assert list(plain["columns"] if kind == "trees" else plain["curves"]) == ["z"]
    assert not plain["texts"]


@BOTH
def test_two_fits_are_one(kind: str) -> None:
    own = table()
    first, again = (less_offsets(own, everything(own), kind) for _ in range(2))
    np.testing.assert_array_equal(first[1], again[1])
    assert first[0].schema == again[0].schema


def test_equal_rows_are_in_one_fold_wherever_they_stand() -> None:
    ids = np.random.default_rng(0).integers(0, 2**63, 500).astype(np.uint64)
    ids[250:300] = ids[:50]
    parts = folds(ids)
    np.testing.assert_array_equal(parts[250:300], parts[:50])
    order = np.random.default_rng(1).permutation(500)
    np.testing.assert_array_equal(folds(ids[order]), parts[order])
    assert np.bincount(parts).min() > 500 / FOLDS - 30


@BOTH
def test_a_handful_of_rows_start_from_nothing(kind: str) -> None:
    whole = table(rows(count=60))
    train = training(whole)
    own = replace(whole, is_validation=~np.isin(np.arange(len(whole)), train[: FOLDS - 1]))
    less, added = less_offsets(own, everything(own), kind)
    assert less is own
    assert not added.any()
    own = replace(whole, is_validation=~np.isin(np.arange(len(whole)), train[:FOLDS]))
    less, added = less_offsets(own, everything(own), kind)
    assert np.isfinite(added).all()


def test_offsets_are_shrunk_but_never_stretched() -> None:
    rng = np.random.default_rng(0)
    unseen = rng.normal(size=2000)
    ones = np.ones(2000)
    slope, center = shrinkage(unseen, 3 + 0.4 * unseen + 0.01 * rng.normal(size=2000), ones)
    assert slope == pytest.approx(0.4, abs=0.01)
    assert center == pytest.approx(3, abs=0.05)
    assert shrinkage(unseen, 1.7 * unseen, ones)[0] == 1
    assert shrinkage(unseen, -unseen, ones)[0] == 0
    assert shrinkage(np.ones(2000), unseen, ones)[0] == 0
    weights = (np.arange(2000) < 1000).astype(np.float64)
    assert shrinkage(unseen, np.where(weights > 0, 0.5, -9) * unseen, weights)[0] == pytest.approx(0.5)
