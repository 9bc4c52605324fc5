"""One column after the other: what is learned, what new values become, and which values are refused."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import torch

from tabstar_lit.errors import DataError
from tabstar_lit.families.hep.config import EventsDataset, FeatureScaling
from tabstar_lit.families.hep.events.file import ColumnInfo
from tabstar_lit.families.hep.preparation.preprocess import ObjectRecipe
from tabstar_lit.families.hep.preparation.recipes import (
    BlockRecipe,
    CategoryRecipe,
    NumberRecipe,
    Place,
    as_numbers,
    fit_category,
    fit_number,
)

PLACE = Place("events.h5: column 'x'", first=100)
NUMBER = ColumnInfo("x")
GAPPY = ColumnInfo("x", nullable=True)
LETTERS = ColumnInfo("x", "categorical", nullable=True, categories=("b", "c", "a"))
VALUES = np.random.default_rng(0).exponential(30.0, 500).astype(np.float32)


def config(missing: Any = "mean", **scaling: Any) -> EventsDataset:
    return EventsDataset(name="recipes", missing=missing, feature_scaling=FeatureScaling(**scaling))


def fitted(values: np.ndarray, *, weights: np.ndarray | None = None, bins: int | None = None, **kwargs: Any) -> Any:
    return fit_number("jets.x", values, GAPPY, weights, config=config(**kwargs), bins=bins, place=PLACE)


def with_gaps(values: np.ndarray) -> np.ndarray:
    return np.where(np.arange(len(values)) % 5 == 0, np.nan, values).astype(np.float32)


@pytest.mark.parametrize("kind", ["quantile", "minmax", "standard", None])
def test_missing_numbers_become_the_mean_of_the_scaled_training_values(kind: str | None) -> None:
    gappy = with_gaps(VALUES)
    recipe = fitted(gappy, numer_scaler_type=kind)
    (encoded,) = recipe.encode(gappy, GAPPY, PLACE)
    missing = np.isnan(gappy)
    assert encoded.dtype == np.float32
    np.testing.assert_allclose(encoded[missing], encoded[~missing].astype(float).mean(), rtol=1e-5, atol=1e-6)


def test_the_mean_that_fills_gaps_is_weighted_as_the_scaler_is() -> None:
    gappy, weights = with_gaps(VALUES), np.random.default_rng(1).exponential(1.0, len(VALUES))
    known = ~np.isnan(gappy)
    assert fitted(gappy, weights=weights).fill == pytest.approx(0, abs=1e-9)
    unscaled = fitted(gappy, weights=weights, numer_scaler_type=None).fill
    assert unscaled == pytest.approx(np.average(gappy[known].astype(float), weights=weights[known]))


def test_weights_that_are_zero_wherever_a_value_is_known_are_left_out() -> None:
    gappy = with_gaps(VALUES)
    weights = np.where(np.isnan(gappy), 3.0, 0.0)
    assert fitted(gappy, weights=weights).to_plain() == fitted(gappy).to_plain()


def test_a_feature_with_its_own_scaler_takes_no_arguments_of_the_common_one() -> None:
    own = fitted(
        VALUES, numer_scaler_type="quantile", scaler_params={"n_quantiles": 5}, per_feature={"jets.x": "robust"}
    )
    assert (own.scaler.kind, own.scaler.params) == ("robust", {})
    other = fitted(VALUES, numer_scaler_type="quantile", scaler_params={"n_quantiles": 5}, per_feature={"x": "robust"})
    assert (other.scaler.kind, other.scaler.params) == ("quantile", {"n_quantiles": 5})
    assert fitted(VALUES, per_feature={"jets.x": None}).scaler is None


@pytest.mark.parametrize(
    ("missing", "gaps", "indicator"),
    [("indicator", True, True), ("indicator", False, False), ("mean", True, False)],
)
def test_an_indicator_is_for_columns_with_gaps_in_training(missing: str, gaps: bool, indicator: bool) -> None:
    values = with_gaps(VALUES) if gaps else VALUES
    recipe = fitted(values, missing=missing)
    assert recipe.indicator is indicator
    columns = recipe.encode(with_gaps(VALUES), GAPPY, PLACE)
    assert len(columns) == 1 + indicator
    if indicator:
        np.testing.assert_array_equal(columns[1], np.isnan(with_gaps(VALUES)))


def test_bins_lie_between_quantiles_of_the_scaled_values() -> None:
    recipe = fitted(with_gaps(VALUES), bins=4)
    known = VALUES[np.arange(len(VALUES)) % 5 != 0].astype(float)
    expected = np.quantile((known - known.mean()) / known.std(), [0, 0.25, 0.5, 0.75, 1])
    np.testing.assert_allclose(recipe.edges, expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(recipe.edges, np.float32(recipe.edges))


def test_bins_of_few_values_have_no_width_of_zero() -> None:
    two = np.repeat(np.float32([1, 4]), [90, 10])
    assert fitted(two, bins=8, numer_scaler_type=None).edges == (1.0, 4.0)
    assert fitted(np.full(9, 2.5), bins=8, numer_scaler_type=None).edges == (2.5, 3.5)
    assert fitted(two).edges == ()


def test_a_column_without_a_known_training_value_is_refused() -> None:
    with pytest.raises(DataError, match=r"column 'x': none of the 3 training values is known; leave it out"):
        fitted(np.full(3, np.nan))


@pytest.mark.parametrize("missing", ["mean", "indicator", "error"])
def test_a_number_recipe_survives_json_without_nan(missing: str) -> None:
    recipe = fitted(VALUES, missing=missing, bins=3)
    assert np.isnan(recipe.fill) == (missing == "error")
    restored = NumberRecipe.from_plain(json.loads(json.dumps(recipe.to_plain(), allow_nan=False)))
    assert restored.to_plain() == recipe.to_plain()
    assert isinstance(restored.edges, tuple)
    np.testing.assert_array_equal(restored.encode(VALUES, NUMBER, PLACE), recipe.encode(VALUES, NUMBER, PLACE))


@pytest.mark.parametrize(("info", "missing"), [(NUMBER, "mean"), (GAPPY, "error")])
def test_missing_numbers_need_the_leave_of_file_and_configuration(info: ColumnInfo, missing: str) -> None:
    with pytest.raises(
        DataError, match=r"column 'x': 2 values are missing .*first in rows 101, 103 \(counted from 0\)"
    ):
        fitted(VALUES, missing=missing).encode(np.float32([1, np.nan, 2, np.nan]), info, PLACE)


def test_infinite_numbers_are_refused_with_their_first_five_rows() -> None:
    values = np.where(np.arange(20) % 2, np.inf, 1.0)
    with pytest.raises(DataError, match=r"10 values are infinite; first in rows 101, 103, 105, 107, 109 \("):
        as_numbers(-values, NUMBER, PLACE)


def test_numbers_that_float32_cannot_hold_after_scaling_are_refused_on_both_sides() -> None:
    recipe = fitted(np.linspace(0, 1e-30, 50))
    for far in (3e38, -3e38):
        with pytest.raises(
            DataError, match=r"1 values are too far from those of the training events to be scaled; first in rows 102"
        ):
            recipe.encode(np.float32([0, 0, far]), NUMBER, PLACE)


def test_categories_as_numbers_have_gaps_too() -> None:
    info = ColumnInfo("x", "categorical", categories=("10", "-2.5"))
    np.testing.assert_array_equal(as_numbers(np.array([1, -1, 0]), info, PLACE), [-2.5, np.nan, 10.0])


@pytest.mark.parametrize(
    ("file_codes", "expected"),
    [([0, 1, 2, -1], [2, 0, 1, 0]), ([2, 2], [1, 1]), ([-1], [0])],
)
def test_codes_follow_the_sorted_categories_of_training(file_codes: list[int], expected: list[int]) -> None:
    recipe = fit_category(np.array([0, 2, 0, -1]), LETTERS, config())
    assert recipe.categories == ("a", "b")
    encoded = recipe.encode(np.array(file_codes), LETTERS, PLACE)
    assert (encoded.tolist(), encoded.dtype) == (expected, np.int64)


def test_codes_are_of_names_so_that_another_file_may_number_them_otherwise() -> None:
    recipe = fit_category(np.array([0, 1, 2]), LETTERS, config())
    other = ColumnInfo("x", "categorical", nullable=True, categories=("z", "a", "b"))
    assert recipe.encode(np.array([0, 1, 2, -1]), other, PLACE).tolist() == [0, 1, 2, 0]


@pytest.mark.parametrize(
    ("info", "missing", "nullable"),
    [
        (LETTERS, "mean", True),
        (LETTERS, "error", False),
        (ColumnInfo("x", "categorical", categories=("a",)), "mean", False),
    ],
)
def test_missing_categories_need_the_leave_of_file_and_configuration(
    info: ColumnInfo, missing: str, nullable: bool
) -> None:
    recipe = fit_category(np.array([0]), info, config(missing))
    assert recipe.nullable is nullable
    restored = CategoryRecipe.from_plain(json.loads(json.dumps(recipe.to_plain())))
    assert restored == recipe
    if nullable:
        assert restored.encode(np.array([-1]), info, PLACE).tolist() == [0]
    else:
        with pytest.raises(DataError, match=r"1 values are missing, which neither .* allows; first in rows 101"):
            restored.encode(np.array([0, -1]), info, PLACE)


def test_codes_without_a_category_and_numbers_for_categories_are_refused() -> None:
    recipe = fit_category(np.array([0]), LETTERS, config())
    with pytest.raises(DataError, match=r"1 values are no code of its 3 categories; first in rows 100"):
        recipe.encode(np.array([3, 2]), LETTERS, PLACE)
    with pytest.raises(DataError, match=r"column 'x' holds numbers, but it was categorical when"):
        recipe.encode(np.array([1.0]), NUMBER, PLACE)


def make_block(*, edges: bool) -> BlockRecipe:
    bins = (0.0, 0.5, 2.0) if edges else ()
    return BlockRecipe(
        numbers=(
            NumberRecipe("gappy", None, 9.0, indicator=True, edges=bins),
            NumberRecipe("whole", None, 0.0, indicator=False, edges=bins[:2]),
            NumberRecipe("late", None, 7.0, indicator=True, edges=bins),
        ),
        categories=(
            CategoryRecipe("letter", ("a", "b"), nullable=True),
            CategoryRecipe("digit", ("0",), nullable=False),
        ),
    )


def test_names_edges_and_tensors_of_a_block_stand_in_one_order() -> None:
    block = make_block(edges=True)
    columns = block.columns(slots=6)
    assert columns.numerical == ("gappy", "whole", "late", "gappy_missing", "late_missing")
    assert columns.bin_edges == ((0.0, 0.5, 2.0), (0.0, 0.5), (0.0, 0.5, 2.0), (0.0, 1.0), (0.0, 1.0))
    assert (columns.categorical, columns.cardinalities) == (("letter", "digit"), (3, 2))
    assert (columns.categories, columns.max_objects) == ((("a", "b"), ("0",)), 6)
    infos = {name: ColumnInfo(name, nullable=True) for name in ("gappy", "whole", "late")}
    infos["letter"] = ColumnInfo("letter", "categorical", nullable=True, categories=("b", "a"))
    infos["digit"] = ColumnInfo("digit", "categorical", categories=("0",))
    arrays: dict[str, Any] = {
        "gappy": np.array([np.nan, 1.0]),
        "whole": np.array([2.0, 3.0]),
        "late": np.array([4.0, np.nan]),
        "letter": np.array([0, -1]),
        "digit": np.array([0, 0]),
    }
    numbers, codes = block.encode(arrays, infos, {name: Place(name) for name in arrays}, 2)
    assert (numbers.dtype, codes.dtype) == (torch.float32, torch.int64)
    assert numbers.tolist() == [[9, 2, 4, 1, 0], [1, 3, 7, 0, 1]]
    assert codes.tolist() == [[2, 1], [0, 1]]


def test_a_block_without_bins_or_features_has_empty_ones() -> None:
    assert make_block(edges=False).columns().bin_edges == ()
    numbers, codes = BlockRecipe((), ()).encode({}, {}, {}, 4)
    assert (numbers.shape, codes.shape) == ((4, 0), (4, 0))


def test_each_column_of_objects_is_read_once() -> None:
    momentum = {"pt": "whole", "eta": "eta", "phi": "phi", "energy": None, "mass": "m"}
    recipe = ObjectRecipe(make_block(edges=True), slots=3, order_by="late", momentum=momentum)
    assert recipe.names() == ["gappy", "whole", "late", "letter", "digit", "eta", "phi", "m"]
    assert ObjectRecipe.from_plain(json.loads(json.dumps(recipe.to_plain()))) == recipe
