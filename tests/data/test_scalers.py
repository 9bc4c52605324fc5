"""Scalers equal scikit-learn's own, also after a journey through a checkpoint."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import torch
from scipy.special import logit
from sklearn import preprocessing

from tabstar_lit.data.scalers import CHAINS, STEPS, ColumnScaler
from tabstar_lit.errors import ConfigError
from tabstar_lit.families.hep.preparation.agreement import json_text

VALUES = np.random.default_rng(5).exponential(30.0, 700)
FRESH = np.random.default_rng(6).exponential(45.0, 300)
OTHERS: dict[str, tuple[Any, dict[str, Any]]] = {
    "minmax": (preprocessing.MinMaxScaler((-1, 1), clip=True), {"feature_range": [-1, 1], "clip": True}),
    "maxabs": (preprocessing.MaxAbsScaler(), {}),
    "standard": (preprocessing.StandardScaler(with_mean=False), {"with_mean": False}),
    "robust": (preprocessing.RobustScaler(quantile_range=(5, 95)), {"quantile_range": [5, 95]}),
    "quantile": (
        preprocessing.QuantileTransformer(n_quantiles=50, output_distribution="normal"),
        {"n_quantiles": 50, "output_distribution": "normal"},
    ),
    "quantile_normal": (
        preprocessing.QuantileTransformer(n_quantiles=50, output_distribution="normal"),
        {"n_quantiles": 50},
    ),
    "power": (preprocessing.PowerTransformer(), {}),
}


@pytest.mark.parametrize("kind", OTHERS)
def test_equals_scikit_learn(kind: str) -> None:
    other, params = OTHERS[kind]
    expected = other.fit(VALUES.reshape(-1, 1)).transform(FRESH.reshape(-1, 1)).ravel()
    np.testing.assert_allclose(ColumnScaler(kind, params).fit(VALUES).transform(FRESH), expected, atol=1e-6)


@pytest.mark.parametrize("kind", sorted({*STEPS, *CHAINS}))
def test_state_of_plain_values_restores_the_scaler(kind: str) -> None:
    fitted = ColumnScaler(kind).fit(np.append(VALUES, np.nan))
    restored = ColumnScaler.from_plain(json.loads(json_text(fitted.to_plain())))
    expected = fitted.transform(np.append(FRESH, np.nan))
    assert np.isnan(expected[-1])
    assert np.isfinite(expected[:-1]).all()
    np.testing.assert_array_equal(restored.transform(np.append(FRESH, np.nan)), expected)


@pytest.mark.parametrize("kind", sorted({*STEPS, *CHAINS}))
def test_what_is_scaled_can_be_had_back(kind: str) -> None:
    fitted = ColumnScaler(kind).fit(VALUES)
    inside = np.clip(FRESH, VALUES.min() + 0.1, VALUES.max() - 0.1)
    np.testing.assert_allclose(fitted.inverse(fitted.transform(inside)), inside, rtol=1e-6)
    np.testing.assert_allclose(ColumnScaler("log").fit(VALUES).transform(inside), zscores(np.log1p(inside)), rtol=1e-6)


def zscores(logs: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return (logs - np.log1p(VALUES).mean()) / np.log1p(VALUES).std()


def test_logit_is_of_the_clipped_share_of_the_range() -> None:
    share = np.clip((FRESH - VALUES.min()) / (VALUES.max() - VALUES.min()), 1e-3, 1 - 1e-3)
    scaler = ColumnScaler("logit", {"eps": 1e-3}).fit(VALUES)
    np.testing.assert_allclose(scaler.transform(FRESH), logit(share), atol=1e-6)
    standard = ColumnScaler("standard_logit", {"eps": 1e-3}).fit(VALUES).transform(VALUES)
    assert standard.mean() == pytest.approx(0, abs=1e-9)
    assert standard.std() == pytest.approx(1)


def test_weights_count_like_repetitions() -> None:
    weights = np.random.default_rng(1).integers(0, 4, len(VALUES))
    weighted = ColumnScaler("standard").fit(VALUES, weights.astype(float))
    repeated = ColumnScaler("standard").fit(np.repeat(VALUES, weights))
    np.testing.assert_allclose(weighted.transform(FRESH), repeated.transform(FRESH), rtol=1e-9)


@pytest.mark.parametrize("kind", sorted({*STEPS, *CHAINS}))
def test_a_constant_column_stays_finite(kind: str) -> None:
    scaler = ColumnScaler(kind).fit(np.full(9, 3.0))
    far = 1e6 if kind == "log" else -1e6
    assert np.isfinite(scaler.transform(np.array([3.0, 4.0, far]))).all()


def test_wrong_arguments_are_named() -> None:
    with pytest.raises(ConfigError, match=r"no argument 'n_quantile'\. Did you mean 'n_quantiles'"):
        ColumnScaler("quantile", {"n_quantile": 10})
    with pytest.raises(ConfigError, match="scaler 'robust' refuses"):
        ColumnScaler("robust", {"quantile_range": [90, 10]}).fit(VALUES)


def test_many_learned_numbers_are_one_tensor_and_lists_are_still_read() -> None:
    """A checkpoint of thirty quantile scalers holds sixty tensors instead of thirty thousand numbers."""
    values = np.random.default_rng(0).normal(size=2000)
    scaler = ColumnScaler("quantile", {"n_quantiles": 500}).fit(values)
    plain = scaler.to_plain()
    (learned,) = plain["learned"]
    assert all(isinstance(numbers, torch.Tensor) and numbers.numel() == 500 for numbers in learned.values())
    as_lists = json.loads(json_text(plain))
    assert isinstance(as_lists["learned"][0]["quantiles_"], list)
    for kept in (plain, as_lists):
        np.testing.assert_array_equal(ColumnScaler.from_plain(kept).transform(values), scaler.transform(values))
    few = ColumnScaler("standard", {}).fit(values).to_plain()["learned"][0]
    assert all(isinstance(numbers, list) for numbers in few.values())


@pytest.mark.parametrize("output", ["normal", "uniform"])
@pytest.mark.parametrize("kind", ["normal", "exponential", "lognormal", "few", "ties"])
def test_quantiles_are_those_of_scikit_learn_wherever_values_crowd(kind: str, output: str) -> None:
    rng = np.random.default_rng(0)
    values = {
        "normal": rng.normal(size=5000).astype(np.float32).astype(np.float64),
        "exponential": 1e5 * rng.exponential(size=5000),
        "lognormal": rng.lognormal(0, 3, 5000),
        "few": np.array([3.0, 1.0, 2.0]),
        "ties": rng.integers(0, 9, 5000).astype(np.float64),
    }[kind]
    scaler = ColumnScaler("quantile", {"output_distribution": output}).fit(values)
    low, high = values.min(), values.max()
    asked = np.concatenate([values, [low, high, low - 1, high + 1, -1e300, 1e300, np.nan], np.linspace(low, high, 999)])
    theirs = preprocessing.QuantileTransformer(
        n_quantiles=min(1000, len(values)), output_distribution=output, random_state=0
    ).fit(values.reshape(-1, 1))
    np.testing.assert_allclose(
        scaler.transform(asked), theirs.transform(asked.reshape(-1, 1))[:, 0], rtol=1e-12, atol=1e-13
    )


@pytest.mark.parametrize("params", [{}, {"with_mean": False}, {"with_std": False}])
def test_standardisation_is_that_of_scikit_learn_to_the_bit(params: dict[str, bool]) -> None:
    values = np.random.default_rng(0).normal(3, 7, 1000)
    theirs = preprocessing.StandardScaler(**params).fit_transform(values.reshape(-1, 1))[:, 0]
    assert np.array_equal(ColumnScaler("standard", params).fit(values).transform(values), theirs)
