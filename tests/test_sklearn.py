"""The estimators for scikit-learn: they fit real and odd tables, save without pickle, and keep its rules."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from sklearn.datasets import load_diabetes, load_iris
from sklearn.exceptions import NotFittedError
from sklearn.metrics import accuracy_score, r2_score
from sklearn.utils.estimator_checks import check_estimator
from trained_tables import make_bench

import tabstar_lit
from tabstar_lit.errors import CheckpointError, DataError
from tabstar_lit.sklearn import TabSTARClassifier, TabSTARRegressor


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the checkpoint of a tiny network with an encoder of its own, so that nothing is looked up."""
    return make_bench(tmp_path_factory.mktemp("base")).checkpoint


def classifier(base: Path | None, **parameters: Any) -> TabSTARClassifier:
    return TabSTARClassifier(base, **{"max_epochs": 1, "device": "cpu", "random_state": 0, **parameters})


def learner(base: Path) -> TabSTARRegressor:
    """Return a regressor that learns although its base knows nothing: adapters of that would not do."""
    settings: dict[str, Any] = {"method": "full", "max_epochs": 4, "batch_size": 16, "learning_rate": 2e-3}
    return TabSTARRegressor(base, device="cpu", random_state=0, **settings)


def every_kind(n: int, seed: int = 0) -> pd.DataFrame:
    """A table of every kind of column that pandas has, under names of every kind."""
    rng = np.random.default_rng(seed)
    words = rng.choice(["red", "blue", "green"], n)
    return pd.DataFrame({
        "größe": pd.array(rng.normal(size=n), dtype="Float64"),
        7: pd.array(np.where(rng.random(n) < 0.2, None, rng.integers(0, 9, n)), dtype="Int64"),
        "tag": pd.Categorical(words),
        "when": pd.date_range("2024-02-27", periods=n, freq="31h"),
        "zone": pd.date_range("2024-02-27", periods=n, freq="5h", tz="Europe/Ljubljana"),
        "flag": pd.array(rng.random(n) < 0.5, dtype="boolean"),
        "text": pd.array([f"note {word}" for word in words], dtype="string"),
        "gaps": np.where(rng.random(n) < 0.3, None, words),
        "lasts": pd.to_timedelta(rng.integers(1, 99, n), unit="h"),
        "month": pd.period_range("2020-01", periods=n, freq="M"),
        "sparse": pd.arrays.SparseArray(rng.integers(0, 2, n)),
    })  # fmt: skip


def test_a_classifier_learns_flowers_better_than_chance_and_is_saved_whole(tmp_path: Path) -> None:
    X, y = load_iris(return_X_y=True, as_frame=True)
    names = y.map({0: "setosa", 1: "versicolor", 2: "virginica"}).rename("species")
    model = classifier(None, max_epochs=12, batch_size=16)
    assert model.fit(X, names) is model
    assert model.score(X, names) > 0.8
    assert list(model.classes_) == ["setosa", "versicolor", "virginica"]
    probabilities = model.predict_proba(X)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-6)
    assert accuracy_score(names, model.classes_[probabilities.argmax(1)]) == model.score(X, names)

    path = model.save(tmp_path / "iris.ckpt")
    again = TabSTARClassifier.load(path)
    np.testing.assert_array_equal(again.predict_proba(X), probabilities)
    assert again.get_params() == model.get_params()
    assert torch.load(path, weights_only=True)["tabstar_lit"]["estimator"]["task"] == "classification"
    known = tabstar_lit.load(path).predict(X, table="table")
    np.testing.assert_array_equal(known.drop(columns="prediction"), probabilities)
    with pytest.raises(CheckpointError, match="needs one for regression"):
        TabSTARRegressor.load(path)


def test_a_regressor_predicts_in_the_unit_of_the_target(base: Path) -> None:
    X, y = load_diabetes(return_X_y=True, as_frame=True)
    model = learner(base).fit(X, y)
    predicted = model.predict(X)
    assert predicted.shape == (442,)
    assert model.score(X, y) == r2_score(y, predicted) > 0.1
    assert not hasattr(model, "predict_proba")
    with pytest.raises(CheckpointError, match="no estimator"):
        TabSTARRegressor.load(base)


def test_a_regressor_may_start_from_trees(base: Path, tmp_path: Path) -> None:
    X, y = load_diabetes(return_X_y=True, as_frame=True)
    train = X.index % 3 > 0
    plain = TabSTARRegressor(base, method="probe", max_epochs=1, device="cpu", random_state=0)
    trees = clone(plain).set_params(target_offset="trees")
    scores = [own.fit(X[train], y[train]).score(X[~train], y[~train]) for own in (plain, trees)]
    assert scores[1] > 0.25
    assert scores[1] > scores[0] + 0.1
    again = TabSTARRegressor.load(trees.save(tmp_path / "trees.ckpt"))
    assert again.target_offset == "trees"
    np.testing.assert_array_equal(again.predict(X), trees.predict(X))


BODY = {"cls_head", "numerical_fusion", "tabular_encoder"}


@pytest.mark.parametrize(
    ("method", "expected"), [("lora", {*BODY, "text_encoder"}), ("full", BODY), ("probe", {"cls_head"})]
)
def test_what_is_trained_is_what_the_method_says(base: Path, method: Any, expected: set[str]) -> None:
    frame, y = every_kind(60), np.arange(60) % 2
    model = classifier(base, method=method, learning_rate=1e-2, batch_size=16).fit(frame, y)
    before, after = tabstar_lit.load(base).network.state_dict(), model.model_.network.state_dict()
    changed = {name.partition(".")[0] for name in after if not torch.equal(before[name], after[name])}
    assert changed == expected


def test_tables_of_every_kind_of_column(base: Path, caplog: pytest.LogCaptureFixture) -> None:
    frame = every_kind(80)
    y = pd.Series(np.where(frame["tag"] == "red", "ja", "nein"), index=frame.index[::-1], name="tag")
    with caplog.at_level(logging.WARNING):
        model = classifier(base).fit(frame, y)
    assert [*model.feature_names_] == [str(name) for name in frame.columns]
    whole = model.predict_proba(frame)
    assert np.isfinite(whole).all()
    shuffled = frame.sample(frac=1, random_state=1)[frame.columns[::-1]]
    np.testing.assert_allclose(model.predict_proba(shuffled), whole[shuffled.index], rtol=0, atol=1e-6)
    with pytest.warns(UserWarning, match="ignored: more"):
        np.testing.assert_allclose(model.predict_proba(frame.assign(more=1)), whole, rtol=0, atol=1e-6)
    with pytest.raises(DataError, match=r"no column 'größe', which fit had"):
        model.predict(frame.drop(columns="größe"))


def test_rows_of_ones_own_validate_and_another_seed_is_another_model(base: Path) -> None:
    X, y = load_iris(return_X_y=True, as_frame=True)
    train, other = X.index % 3 > 0, X.index % 3 == 0
    first = classifier(base).fit(X[train], y[train], eval_set=(X[other], y[other])).predict_proba(X)
    again = classifier(base).fit(X[train], y[train], eval_set=(X[other], y[other])).predict_proba(X)
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, classifier(base, random_state=1).fit(X[train], y[train]).predict_proba(X))
    with pytest.raises(DataError, match="eval_set has the class 5"):
        classifier(base).fit(X, y, eval_set=(X, y + 5))


def test_rows_may_weigh_differently(base: Path) -> None:
    X, y = load_diabetes(return_X_y=True, as_frame=True)
    weights = np.where(y > y.median(), 1.0, 0.0)
    own = learner(base)
    weighted, alike = own.fit(X, y, weights).predict(X), own.fit(X, y).predict(X)
    assert weighted.mean() > alike.mean() + 20
    with pytest.raises(ValueError, match=r"[Nn]egative"):
        own.fit(X, y, sample_weight=-weights)


def test_time_is_limited_and_nothing_is_left_behind(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    X, y = load_iris(return_X_y=True)
    model = classifier(base, max_epochs=10**6, patience=10**6, time_limit=3).fit(X, y)
    assert model.predict(X).dtype == y.dtype
    assert list(tmp_path.iterdir()) == []
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda X, y: (X, y.where(y > 0)), "Input y contains NaN"),
        (lambda X, y: (X.assign(a=np.inf), y), "'a' is infinite"),
        (lambda X, y: (X, y * 0), "one class only"),
        (lambda X, y: (pd.concat([X, X], axis=1), y), "several columns called"),
        (lambda X, y: (X.iloc[:0], y.iloc[:0]), "0 rows"),
        (lambda X, y: (X.iloc[:10], y), "inconsistent numbers of samples"),
    ],
)
def test_tables_that_cannot_be_learnt_are_refused(base: Path, change: Any, words: str) -> None:
    X, y = change(*load_iris(return_X_y=True, as_frame=True))
    with pytest.raises(ValueError, match=words):
        classifier(base).fit(X, y)


def test_an_estimator_is_cloned_and_asked_before_it_is_fitted(base: Path) -> None:
    model = classifier(base, method="probe")
    assert clone(model).get_params() == model.get_params()
    with pytest.raises(NotFittedError):
        model.predict(np.zeros((2, 3)))


LEARNS_LITTLE = "asks for a good score, and three epochs of a tiny network without a trained encoder learn little"
EXCEPTIONS = {
    "check_classifiers_train": LEARNS_LITTLE,
    "check_regressors_train": LEARNS_LITTLE,
    "check_class_weight_classifiers": LEARNS_LITTLE,
    "check_methods_subset_invariance": "asks for 1e-7, and single precision rounds by up to 2e-7 with the rows beside",
    "check_sample_weight_equivalence_on_dense_data": "a row of weight 2 and a row given twice come in other batches",
}
"""Checks of scikit-learn that do not apply here, and why; the page on one's own table repeats them."""


@pytest.mark.soak
@pytest.mark.parametrize("kind", [TabSTARClassifier, TabSTARRegressor])
def test_scikit_learn_agrees(base: Path, kind: type) -> None:
    estimator = kind(base, method="full", max_epochs=3, device="cpu", random_state=0, learning_rate=1e-2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        outcome = check_estimator(estimator, expected_failed_checks=EXCEPTIONS, on_fail=None)
    failed = {own["check_name"]: repr(own["exception"]) for own in outcome if own["status"] == "failed"}
    assert failed == {}
    assert sum(own["status"] == "passed" for own in outcome) > 30
