"""Additive offsets of regression targets: what is additive they know, and they are plain data of training rows."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import RidgeCV
from sklearn.metrics import r2_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from tabstar_lit.arrays import Float64
from tabstar_lit.data.splits import row_ids
from tabstar_lit.families.tabstar import offsets
from tabstar_lit.families.tabstar.offsets import AdditiveOffset, less_offsets
from tabstar_lit.families.tabstar.tables.corpus import Table
from tabstar_lit.families.tabstar.tables.encoding import Settings, encode_table
from tabstar_lit.families.tabstar.tables.files import RawTable
from tabstar_lit.families.tabstar.tables.manifest import TableEntry
from tabstar_lit.families.tabstar.tables.preprocessing import Encoded

ROWS = 1200
EFFECTS = {"red": -2.0, "green": 0.0, "blue": 3.0, "rare": 9.0}


def rows(seed: int = 0, count: int = ROWS) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    x, gap, z = rng.uniform(-2, 2, count), rng.uniform(-1, 1, count), rng.normal(size=count)
    color = rng.choice(["red", "green", "blue"], count)
    color[:3] = "rare"
    gap[rng.random(count) < 0.2] = np.nan
    effects = pd.Series(color).map(EFFECTS).to_numpy()
    y = np.abs(x) * 4 + np.where(np.isnan(gap), 5, gap) + effects + 0.1 * rng.normal(size=count)
    return pd.DataFrame({"color": color, "gap": gap, "x": x, "z": z, "y": y})


def table(frame: pd.DataFrame | None = None) -> Table:
    frame = rows() if frame is None else frame
    entry = TableEntry.model_validate({"name": "toy", "file": "toy.csv", "target": "y", "task": "regression"})
    return encode_table(entry, RawTable(frame, row_ids(frame)), Settings())


def everything(own: Table) -> np.ndarray:
    return np.arange(len(own.feature_names))


def sums(fitted: AdditiveOffset, own: Table) -> Float64:
    return fitted.of(Encoded(own.vocabulary, own.codes, own.numbers), own.feature_names)


def test_what_is_additive_is_known_of_rows_that_were_held_out() -> None:
    own = table()
    held_out = own.is_validation
    assert r2_score(own.targets[held_out], sums(AdditiveOffset.fit(own, everything(own)), own)[held_out]) > 0.97


def test_without_bends_it_is_the_ridge_regression_of_scikit_learn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(offsets, "PIECES", 1)
    own = table(rows().drop(columns=["color", "gap"]))
    fitted, train = AdditiveOffset.fit(own, everything(own)), ~own.is_validation
    # One piece from end to end is the z-score once more, and nothing is missing.
    scores = np.clip(own.numbers, -3, 3).astype(np.float64)
    twice = np.repeat(scores, 2, axis=1)
    ridge = make_pipeline(StandardScaler(), RidgeCV(offsets.PENALTIES)).fit(
        twice[train], own.targets[train].clip(-3, 3)
    )
    np.testing.assert_allclose(sums(fitted, own)[train], ridge.predict(twice[train]), atol=1e-4)


def test_held_out_rows_change_nothing_and_neither_does_the_way_through_json() -> None:
    own = table()
    fitted = AdditiveOffset.fit(own, everything(own))
    own.targets[own.is_validation] += 7
    again = AdditiveOffset.fit(own, everything(own))
    restored = AdditiveOffset.from_plain(json.loads(json.dumps(again.to_plain())))
    np.testing.assert_array_equal(sums(restored, own), sums(fitted, own))


def test_new_texts_add_nothing_and_curves_end_level() -> None:
    own = table()
    fitted = AdditiveOffset.fit(own, everything(own))
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
    assert not any(word in json.dumps(AdditiveOffset.fit(own, everything(own)).to_plain()) for word in EFFECTS)


def test_only_features_in_use_have_a_say() -> None:
    own = table()
    features = np.array([own.feature_names.index("z")])
    less, _ = less_offsets(own, features)
    assert list(less.schema["target"]["offset"]["curves"]) == ["z"]
    assert not less.schema["target"]["offset"]["texts"]


def test_what_is_left_and_the_offset_are_the_target() -> None:
    own = table()
    less, added = less_offsets(own, everything(own))
    np.testing.assert_allclose(less.targets + added, own.targets, atol=1e-6)
    assert less.targets.std() < 0.3 * own.targets.std()
    assert added.min() >= own.targets[~own.is_validation].min()
    assert added.max() <= own.targets[~own.is_validation].max()


def test_rows_that_count_nothing_decide_nothing() -> None:
    own = table()
    weights = np.ones(len(own), dtype=np.float32)
    weights[np.flatnonzero(~own.is_validation)[::3]] = 0
    own = replace(own, weights=weights, targets=np.where(weights > 0, own.targets, -own.targets))
    counting = weights > 0
    assert r2_score(own.targets[counting], sums(AdditiveOffset.fit(own, everything(own)), own)[counting]) > 0.97
