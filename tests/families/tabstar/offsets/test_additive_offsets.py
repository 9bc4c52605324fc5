"""Additive offsets of regression targets: what is additive they know, and they are plain data of training rows."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from offset_tables import EFFECTS, everything, rows, sums, table, training
from sklearn.linear_model import RidgeCV
from sklearn.metrics import r2_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from tabstar_lit.families.tabstar.offsets import additive, offset_from
from tabstar_lit.families.tabstar.offsets.additive import AdditiveOffset
from tabstar_lit.families.tabstar.tables.corpus import Table
from tabstar_lit.families.tabstar.tables.preprocessing import Encoded


def fit(own: Table) -> AdditiveOffset:
    return AdditiveOffset.fit(own, everything(own), training(own))


def test_what_is_additive_is_known_of_rows_that_were_held_out() -> None:
    own = table()
    held_out = own.is_validation
    assert r2_score(own.targets[held_out], sums(fit(own), own)[held_out]) > 0.97


def test_without_bends_it_is_the_ridge_regression_of_scikit_learn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(additive, "PIECES", 1)
    own = table(rows().drop(columns=["color", "gap"]))
    fitted, train = fit(own), ~own.is_validation
    # One piece from end to end is the z-score once more, and nothing is missing.
    scores = np.clip(own.numbers, -3, 3).astype(np.float64)
    twice = np.repeat(scores, 2, axis=1)
    ridge = make_pipeline(StandardScaler(), RidgeCV(additive.PENALTIES)).fit(
        twice[train], own.targets[train].clip(-3, 3)
    )
    np.testing.assert_allclose(sums(fitted, own)[train], ridge.predict(twice[train]), atol=1e-4)


def test_held_out_rows_change_nothing_and_neither_does_the_way_through_json() -> None:
    own = table()
    fitted = fit(own)
    own.targets[own.is_validation] += 7
    again = fit(own)
    restored = AdditiveOffset.from_plain(json.loads(json.dumps(again.to_plain())))
    np.testing.assert_array_equal(sums(restored, own), sums(fitted, own))


def test_new_texts_add_nothing_and_curves_end_level() -> None:
    own = table()
    fitted = fit(own)
    known = fitted.texts
    assert len(known) == 3  # three rows are too few for a constant
    numbers = np.zeros((4, len(own.feature_names)), dtype=np.float32)
    place = own.feature_names.index("x")
    numbers[:, place] = (-1.9, -50, 1.9, 50)
    total = fitted.of(Encoded(("a new text",), np.zeros_like(numbers, dtype=np.int32), numbers), own.feature_names)
    assert total[0] == total[1]
    assert total[2] == total[3]


def test_cells_cannot_be_read_from_what_is_kept() -> None:
    own = table()
    assert not any(word in json.dumps(fit(own).to_plain()) for word in EFFECTS)


def test_offsets_of_older_checkpoints_are_read() -> None:
    own = table()
    fitted = fit(own)
    np.testing.assert_array_equal(sums(offset_from(json.loads(json.dumps(fitted.to_plain()))), own), sums(fitted, own))


def test_shrunk_sums_are_nearer_to_the_middle() -> None:
    own = table()
    fitted = fit(own)
    np.testing.assert_allclose(sums(fitted.shrunk(0, 0.25, 2.0), own), 2 + 0.25 * (sums(fitted, own) - 2), atol=1e-9)


def test_rows_that_count_nothing_decide_nothing() -> None:
    own = table()
    weights = np.ones(len(own), dtype=np.float32)
    weights[np.flatnonzero(~own.is_validation)[::3]] = 0
    own = replace(own, weights=weights, targets=np.where(weights > 0, own.targets, -own.targets))
    counting = weights > 0
    assert r2_score(own.targets[counting], sums(fit(own), own)[counting]) > 0.97
