"""Scales of targets against scikit-learn's, and back again."""

from __future__ import annotations

import json
from typing import get_args

import numpy as np
import pytest
import torch
from sklearn.preprocessing import MinMaxScaler, StandardScaler

from tabstar_lit.errors import DataError
from tabstar_lit.families.microbes.targets import TargetTransform
from tabstar_lit.families.microbes.training_config import Transform

RNG = np.random.default_rng(7)
NAMES = ("age", "weight")
CODES = np.array([1, 1, 1, 2, 2, 2, 3, 0, 1, 2])
"""Category 3 has one member."""


def some_values() -> np.ndarray:
    values = RNG.gamma(2.0, 10.0, (10, 2))
    values[4, 1] = np.nan
    return values


def fitted(kind: Transform, values: np.ndarray) -> TargetTransform:
    return TargetTransform.fit(kind, values, CODES, names=NAMES, n_codes=4)


@pytest.mark.parametrize("kind", get_args(Transform))
def test_every_transform_is_undone(kind: Transform) -> None:
    values = some_values()
    transform, codes = fitted(kind, values), torch.from_numpy(CODES)
    true = torch.from_numpy(values).float()
    back = transform.invert(transform(true, codes), codes)
    torch.testing.assert_close(back, true, equal_nan=True, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("kind", "scaler"),
    [
        ("min_max", MinMaxScaler()),
        ("z_score", StandardScaler()),
        ("log_min_max", MinMaxScaler()),
        ("log_z_score", StandardScaler()),
    ],
)
def test_scales_are_those_of_scikit_learn(kind: Transform, scaler: MinMaxScaler | StandardScaler) -> None:
    values = some_values()
    expected = scaler.fit_transform(np.log1p(values) if kind.startswith("log") else values)
    found = fitted(kind, values)(torch.from_numpy(values).float())
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-4, atol=1e-5)


def test_categories_have_scales_of_their_own_and_small_ones_that_of_all() -> None:
    values = some_values()
    transform = fitted("category_z_score", values)
    own = values[CODES == 2]
    np.testing.assert_allclose(transform.shift[2], np.nanmean(own, axis=0), rtol=1e-6)
    np.testing.assert_allclose(transform.scale[2], np.nanstd(own, axis=0), rtol=1e-6)
    for alone in (0, 3, 4):  # not known, one member, none
        np.testing.assert_allclose(transform.shift[alone], np.nanmean(values, axis=0), rtol=1e-6)
        np.testing.assert_allclose(transform.scale[alone], np.nanstd(values, axis=0), rtol=1e-6)


def test_a_target_without_spread_stays_finite() -> None:
    for kind in get_args(Transform):
        transform = fitted(kind, np.full((10, 2), 3.0))
        found = transform(torch.tensor([[3.0, 4.0]]), torch.tensor([1]))
        assert torch.isfinite(found).all()


def test_quantiles_are_brought_back_one_by_one() -> None:
    transform = fitted("z_score", some_values())
    quantiles = torch.randn(4, 2, 3)
    back = transform.invert(quantiles)
    torch.testing.assert_close(back[..., 1], transform.invert(quantiles[..., 1]))


def test_a_checkpoint_keeps_the_scale() -> None:
    values = some_values()
    transform = fitted("category_z_score", values)
    kept = TargetTransform.from_plain(json.loads(json.dumps(transform.to_plain())))
    true, codes = torch.from_numpy(values).float(), torch.from_numpy(CODES)
    assert torch.equal(kept(true, codes).nan_to_num(), transform(true, codes).nan_to_num())
    assert not transform.state_dict()


def test_logarithms_of_what_has_none_are_refused() -> None:
    values = some_values()
    values[3, 1] = -1.5
    with pytest.raises(DataError, match=r"target 'weight' goes down to -1.5"):
        fitted("log_z_score", values)


def test_a_target_that_is_never_known_is_refused() -> None:
    values = some_values()
    values[:, 0] = np.nan
    with pytest.raises(DataError, match="target 'age' is missing in all training samples"):
        fitted("min_max", values)
