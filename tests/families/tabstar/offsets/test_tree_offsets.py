"""Offsets of boosted trees: their nodes say what scikit-learn says, and are plain data of training rows."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from offset_tables import EFFECTS, everything, rows, sums, table, training
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.metrics import r2_score

from tabstar_lit.errors import CheckpointError
from tabstar_lit.families.tabstar.offsets import trees
from tabstar_lit.families.tabstar.offsets.trees import Nodes, TreesOffset
from tabstar_lit.families.tabstar.tables.corpus import Table
from tabstar_lit.families.tabstar.tables.preprocessing import Encoded


def fit(own: Table) -> TreesOffset:
    return TreesOffset.fit(own, everything(own), training(own))


def some_cells(count: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    cells = rng.normal(size=(count, 4)).astype(np.float32)
    cells[:, 1] = np.round(cells[:, 1])
    cells[rng.random(cells.shape) < 0.2] = np.nan
    cells[:, 3] = np.where(np.isnan(cells[:, 3]), 0, cells[:, 3])  # nothing is missing while trees grow
    return cells


@pytest.mark.parametrize("leaves", [2, 15, 31])
def test_nodes_say_what_scikit_learn_says(leaves: int) -> None:
    cells = some_cells(900)
    y = np.nan_to_num(cells[:, 0]) * (np.nan_to_num(cells[:, 1]) > 0) + np.isnan(cells[:, 2]) + np.abs(cells[:, 3])
    model = HistGradientBoostingRegressor(max_leaf_nodes=leaves, max_iter=80, early_stopping=False).fit(cells, y)
    nodes = Nodes.of([tree.nodes for (tree,) in model._predictors])
    new = some_cells(500, seed=1)
    new[:50, 3] = np.nan
    # A cell at a threshold itself, and its neighbours of single precision.
    new[50:200, 0] = nodes.threshold[nodes.feature == 0][:1]
    new[100:150, 0] = np.nextafter(new[100:150, 0], np.float32(np.inf))
    new[150:200, 0] = np.nextafter(new[150:200, 0], np.float32(-np.inf))
    start = float(np.squeeze(model._baseline_prediction))
    for own in (nodes, Nodes.from_plain(json.loads(json.dumps(nodes.to_plain())))):
        np.testing.assert_allclose(start + own.values(new).sum(axis=1), model.predict(new), rtol=0, atol=1e-6)
    for count, expected in enumerate(model.staged_predict(new), start=1):
        found = start + nodes.first(count).values(new).sum(axis=1)
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)


def test_no_threshold_is_rounded_over_a_cell() -> None:
    low = np.float32(0.1)
    high = np.nextafter(low, np.float32(1))
    between = np.linspace(float(low), float(high), 7)[:-1]
    rounded = trees._rounded_down(between)
    assert (rounded == low).all()
    assert trees._rounded_down(np.array([np.inf]))[0] == np.inf


def test_a_table_is_read_as_scikit_learn_would(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trees, "AT_ONCE", 5000)  # rows come in several chunks
    own = table()
    fitted = fit(own)
    frame, train = rows(), training(own)
    unknown = frame["color"].where(frame["color"] != "rare")
    places = {name: own.feature_names.index(name) for name in ("gap", "x", "z")}
    own_numbers = [own.numbers[:, place] for place in places.values()]
    cells = np.column_stack([unknown.map({"blue": 0, "green": 1, "red": 2}), *own_numbers]).astype(np.float32)
    model = HistGradientBoostingRegressor(
        max_iter=trees.MOST_TREES, early_stopping=False, random_state=0, **trees.SETTINGS
    )
    model.fit(cells[train], own.targets[train].astype(np.float64))
    np.testing.assert_allclose(sums(fitted, own), model.predict(cells), rtol=0, atol=2e-6)


def test_what_trees_say_is_known_of_rows_that_were_held_out() -> None:
    own = table()
    assert r2_score(own.targets[own.is_validation], sums(fit(own), own)[own.is_validation]) > 0.97


def test_held_out_rows_change_nothing_and_neither_does_the_way_through_json() -> None:
    own = table()
    fitted = fit(own)
    own.targets[own.is_validation] += 7
    restored = TreesOffset.from_plain(json.loads(json.dumps(fit(own).to_plain())))
    np.testing.assert_array_equal(sums(restored, own), sums(fitted, own))


def test_texts_that_are_rare_or_new_are_missing() -> None:
    own = table()
    fitted = fit(own)
    assert {name: len(texts) for name, texts in fitted.texts.items()} == {"color": 3}
    vocabulary = ("a new text", *(text for text in own.vocabulary if "rare" in text))
    numbers = np.zeros((len(vocabulary), len(own.feature_names)), dtype=np.float32)
    codes = np.arange(len(vocabulary), dtype=np.int32)[:, None].repeat(len(own.feature_names), axis=1)
    cells = fitted.cells(Encoded(vocabulary, codes, numbers), own.feature_names)
    assert np.isnan(cells[:, fitted.columns.index("color")]).all()


def test_cells_cannot_be_read_from_what_is_kept_and_it_is_small() -> None:
    plain = fit(table()).to_plain()
    told = json.dumps({name: own for name, own in plain.items() if name != "nodes"})  # which are arrays of numbers
    assert not any(word in told for word in EFFECTS)
    assert len(json.dumps(plain)) < 400_000


def test_stages_are_sums_over_the_first_trees() -> None:
    own = table()
    fitted = fit(own)
    encoded = Encoded(own.vocabulary, own.codes, own.numbers)
    stages = fitted.stages(encoded, own.feature_names)
    assert len(stages) == trees.MOST_TREES // trees.STAGE + 1
    np.testing.assert_allclose(stages[-1], sums(fitted, own), atol=1e-9)
    np.testing.assert_allclose(stages[0], fitted.start)
    shrunk = fitted.shrunk(3, 0.5, 1.0)
    np.testing.assert_allclose(sums(shrunk, own), 1 + 0.5 * (stages[3] - 1), atol=1e-6)
    assert len(shrunk.nodes.roots) == 3 * trees.STAGE


def test_columns_without_cells_and_tables_without_columns_are_no_trouble() -> None:
    frame = rows().drop(columns=["color", "x", "z"]).assign(empty=np.nan)
    own = table(frame)
    assert "empty" not in fit(own).columns
    nothing = TreesOffset.fit(own, np.arange(0), training(own))
    np.testing.assert_allclose(sums(nothing, own), own.targets[training(own)].mean(dtype=np.float64), atol=1e-9)
    assert nothing.stages(Encoded(own.vocabulary, own.codes, own.numbers), own.feature_names).shape == (1, len(own))


def test_rows_that_count_nothing_decide_nothing() -> None:
    own = table()
    weights = np.ones(len(own), dtype=np.float32)
    weights[training(own)[::3]] = 0
    own = replace(own, weights=weights, targets=np.where(weights > 0, own.targets, -own.targets))
    counting = weights > 0
    assert r2_score(own.targets[counting], sums(fit(own), own)[counting]) > 0.97


def test_columns_are_found_by_their_names() -> None:
    own = table()
    fitted, order = fit(own), np.arange(len(own.feature_names))[::-1]
    turned = Encoded(own.vocabulary, own.codes[:, order], own.numbers[:, order])
    names = [own.feature_names[place] for place in order]
    np.testing.assert_array_equal(fitted.of(turned, names), sums(fitted, own))


def test_texts_of_many_values_keep_the_common_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trees, "MOST_TEXTS", 2)
    frame = rows()
    frame["color"] = pd.Series(["red"] * 600 + ["green"] * 400 + ["blue"] * 200)
    assert len(fit(table(frame)).texts["color"]) == 2


def packed(values: object, kind: str) -> str:
    return trees._packed(np.asarray(values).astype(kind))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"left": packed([0, -1, 0], "<i4")}, "lead out"),
        ({"right": packed([9, 0, 0], "<i4")}, "lead out"),
        ({"roots": packed([5], "<i4")}, "lead out"),
        ({"value": packed([1.0], "<f4")}, "lead out"),
        ({"feature": packed([-1, 0, 0], "<i4")}, "lead out"),
        ({"feature": packed([2, 0, 0], "<i4")}, "columns that are not there"),
        ({"value": "no base64"}, "cannot be read"),
        ({"value": "AAAA"}, "cannot be read"),
        ({"value": trees._packed(np.zeros(trees.MOST_BYTES, dtype=np.float32))}, "more than"),
    ],
    ids=["back", "out", "root", "lengths", "before the first", "column", "text", "bytes", "size"],
)
def test_what_is_no_tree_is_refused(changes: dict[str, str], words: str) -> None:
    one = Nodes(*(np.array(own, kind) for own, kind in zip(
        ([0], [0, 0, 0], [0.5, 0, 0], [True, False, False], [1, 0, 0], [2, 0, 0], [0, 1, -1]),
        trees.TYPES.values(), strict=True)))  # fmt: skip
    plain = TreesOffset(0.0, ["x", "y"], {}, one).to_plain()
    assert TreesOffset.from_plain(plain).nodes.values(np.array([[0.2, 0.0], [0.7, 0.0]], np.float32)).tolist() == [
        [1],
        [-1],
    ]
    with pytest.raises(CheckpointError, match=words):
        TreesOffset.from_plain({**plain, "nodes": {**plain["nodes"], **changes}})


def test_nodes_that_are_missing_are_refused() -> None:
    with pytest.raises(CheckpointError, match="cannot be read: 'roots'"):
        Nodes.from_plain({})
