"""How the columns of one block become tensors: learned from training rows, the same for every file afterwards."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tabstar_lit.arrays import Array, Float64
from tabstar_lit.data.scalers import ColumnScaler
from tabstar_lit.errors import DataError
from tabstar_lit.families.hep.batch import Columns
from tabstar_lit.families.hep.config import EventsDataset
from tabstar_lit.families.hep.events.file import ColumnInfo
from tabstar_lit.families.hep.preparation.weights import SHOWN_ROWS

FEATURE_REMEDY = "Set dataset_config.feature_scaling.categ_scaler_type: categorical."
NOT_ALLOWED = "which neither the file nor dataset_config.missing allows"
SPECTATOR_REMEDY = "A spectator, and a variable of disco, must be numerical: leave it out of them."


@dataclass(frozen=True)
class NumberRecipe:
    """A numerical feature.

    Attributes
    ----------
    name : str
        Column of the file.
    scaler : ColumnScaler or None
        None leaves the column in its unit.
    fill : float
        Scaled value of missing numbers: the mean of the training rows. NaN where missing numbers are refused.
    indicator : bool
        Add the feature ``<name>_missing``.
    edges : tuple of float
        Rising quantiles of the scaled training values; empty where not asked for.
    """

    name: str
    scaler: ColumnScaler | None
    fill: float
    indicator: bool
    edges: tuple[float, ...]

    def to_plain(self) -> dict[str, Any]:
        """Return what a checkpoint keeps."""
        fill = None if np.isnan(self.fill) else self.fill
        scaler = None if self.scaler is None else self.scaler.to_plain()
        return vars(self) | {"scaler": scaler, "fill": fill, "edges": list(self.edges)}

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> NumberRecipe:
        """Return the recipe a checkpoint kept."""
        scaler = None if plain["scaler"] is None else ColumnScaler.from_plain(plain["scaler"])
        fill = np.nan if plain["fill"] is None else plain["fill"]
        return cls(plain["name"], scaler, fill, plain["indicator"], tuple(plain["edges"]))

    def encode(self, values: Array, info: ColumnInfo, place: Place) -> list[Array]:
        """Return the float32 columns ``[n]`` of this feature: the scaled values, and the indicator if it has one.

        Raises
        ------
        DataError
            Infinite values, missing ones that are not allowed, or values that the scaler takes to infinity.
        """
        numbers = as_numbers(values, info, place)
        missing = np.isnan(numbers)
        if not info.nullable or np.isnan(self.fill):
            place.refuse(missing, f"missing (NaN), {NOT_ALLOWED}")
        scaled = numbers if self.scaler is None else self.scaler.transform(numbers)
        with np.errstate(over="ignore"):  # what float32 cannot hold is refused just below
            filled = scaled.astype(np.float32)
        place.refuse(np.isinf(filled), "too far from those of the training events to be scaled")
        np.copyto(filled, self.fill, where=missing)
        return [filled, missing.astype(np.float32)] if self.indicator else [filled]


@dataclass(frozen=True)
class CategoryRecipe:
    """A categorical feature: code 0 is for categories that no training row had, and for missing ones.

    Attributes
    ----------
    name : str
        Column of the file.
    categories : tuple of str
        Categories of the training rows in the order of their codes 1, 2, ….
    nullable : bool
        Missing values are allowed.
    """

    name: str
    categories: tuple[str, ...]
    nullable: bool

    def to_plain(self) -> dict[str, Any]:
        """Return what a checkpoint keeps."""
        return vars(self) | {"categories": list(self.categories)}

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> CategoryRecipe:
        """Return the recipe a checkpoint kept."""
        return cls(plain["name"], tuple(plain["categories"]), plain["nullable"])

    def encode(self, codes: Array, info: ColumnInfo, place: Place) -> Array:
        """Return the int64 codes ``[n]`` for codes of a file whose categories may be others.

        Raises
        ------
        DataError
            The column holds numbers, or missing values that are not allowed.
        """
        if info.kind != "categorical":
            raise DataError(f"{place} holds numbers, but it was categorical when the model was trained.")
        refuse_codes(codes, info, place)
        refuse_missing_codes(codes, place, allowed=self.nullable)
        known = {category: code for code, category in enumerate(self.categories, start=1)}
        # The last entry answers to code -1, a missing value.
        table = np.array([*(known.get(category, 0) for category in info.categories), 0], dtype=np.int64)
        return np.asarray(table[codes], dtype=np.int64)


@dataclass(frozen=True)
class Place:
    """Where values come from, for messages.

    Attributes
    ----------
    column : str
        File and column.
    first : int
        Row number of the first value.
    """

    column: str
    first: int = 0

    def __str__(self) -> str:
        """Return file and column."""
        return self.column

    def refuse(self, bad: Array, what: str) -> None:
        """Raise a :class:`DataError` with the first rows where ``bad`` is True, if there are any."""
        rows = np.flatnonzero(bad)
        if len(rows):
            shown = ", ".join(map(str, (rows[:SHOWN_ROWS] + self.first).tolist()))
            raise DataError(f"{self}: {len(rows)} values are {what}; first in rows {shown} (counted from 0).")


@dataclass(frozen=True)
class BlockRecipe:
    """All features of the events themselves, or of one type of objects."""

    numbers: tuple[NumberRecipe, ...]
    categories: tuple[CategoryRecipe, ...]

    def names(self) -> list[str]:
        """Return the columns of the file that are needed."""
        return [recipe.name for recipe in self.numbers] + [recipe.name for recipe in self.categories]

    def columns(self, slots: int = 0) -> Columns:
        """Return what a network is told about this block; indicators stand after all numbers."""
        indicators = [recipe.name for recipe in self.numbers if recipe.indicator]
        edges = [*(recipe.edges for recipe in self.numbers), *((0.0, 1.0) for _ in indicators)]
        return Columns(
            numerical=(*(recipe.name for recipe in self.numbers), *(f"{name}_missing" for name in indicators)),
            categorical=tuple(recipe.name for recipe in self.categories),
            cardinalities=tuple(len(recipe.categories) + 1 for recipe in self.categories),
            bin_edges=tuple(edges) if any(recipe.edges for recipe in self.numbers) else (),
            max_objects=slots,
            categories=tuple(recipe.categories for recipe in self.categories),
        )

    def encode(
        self, arrays: Mapping[str, Array], infos: Mapping[str, ColumnInfo], places: Mapping[str, Place], n: int
    ) -> tuple[Tensor, Tensor]:
        """Return the features of ``n`` rows: numbers ``[n, F]`` float32 and codes ``[n, C]`` int64."""
        encoded = [
            recipe.encode(arrays[recipe.name], infos[recipe.name], places[recipe.name]) for recipe in self.numbers
        ]
        numbers = [columns[0] for columns in encoded] + [column for columns in encoded for column in columns[1:]]
        codes = [
            recipe.encode(arrays[recipe.name], infos[recipe.name], places[recipe.name]) for recipe in self.categories
        ]
        return _table(numbers, n, torch.float32), _table(codes, n, torch.int64)

    def to_plain(self) -> dict[str, Any]:
        """Return what a checkpoint keeps."""
        return {
            "numbers": [recipe.to_plain() for recipe in self.numbers],
            "categories": [recipe.to_plain() for recipe in self.categories],
        }

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> BlockRecipe:
        """Return the recipe a checkpoint kept."""
        return cls(
            tuple(map(NumberRecipe.from_plain, plain["numbers"])),
            tuple(map(CategoryRecipe.from_plain, plain["categories"])),
        )


def fit_number(
    label: str,
    values: Array,
    info: ColumnInfo,
    weights: Float64 | None,
    *,
    config: EventsDataset,
    bins: int | None,
    place: Place,
) -> NumberRecipe:
    """Learn a numerical feature from the values of the training rows alone.

    Parameters
    ----------
    label : str
        Name of the feature as ``features`` writes it.
    values : ndarray [n]
        The column at the training rows.
    info : ColumnInfo
        About the column.
    weights : ndarray of float64 [n], optional
        Weights for scalers that take them.
    config : EventsDataset
        Scaling and treatment of missing values.
    bins : int, optional
        Bins between quantiles to measure.
    place : Place
        For messages.

    Raises
    ------
    DataError
        No training row has a value.
    """
    numbers = as_numbers(values, info, place)
    known = ~np.isnan(numbers)
    if not known.any():
        raise DataError(f"{place}: none of the {len(numbers)} training values is known; leave it out of the features.")
    if weights is not None and not weights[known].any():
        weights = None
    scaling = config.feature_scaling
    kind = scaling.per_feature.get(label, scaling.numer_scaler_type)
    params = {} if label in scaling.per_feature else scaling.scaler_params
    scaler = None if kind is None else ColumnScaler(kind, params).fit(numbers, weights)
    scaled = numbers[known] if scaler is None else scaler.transform(numbers[known])
    mean = float(np.average(scaled, weights=None if weights is None else weights[known]))
    return NumberRecipe(
        name=info.name,
        scaler=scaler,
        fill=np.nan if config.missing == "error" else mean,
        indicator=config.missing == "indicator" and not known.all(),
        edges=() if bins is None else _edges(scaled, bins),
    )


def fit_category(codes: Array, info: ColumnInfo, config: EventsDataset) -> CategoryRecipe:
    """Learn a categorical feature from the codes of the training rows, ``[n]``."""
    seen = np.unique(codes[codes >= 0]).tolist()
    return CategoryRecipe(
        info.name, tuple(sorted(info.categories[code] for code in seen)), info.nullable and config.missing != "error"
    )


def as_numbers(values: Array, info: ColumnInfo, place: Place, remedy: str = FEATURE_REMEDY) -> Float64:
    """Return a column as float64 with NaN for missing; categories must then be numbers.

    Parameters
    ----------
    values : ndarray [n]
        Numbers, or codes of categories.
    info : ColumnInfo
        About the column.
    place : Place
        For messages.
    remedy : str
        What to do about categories that are no numbers.

    Raises
    ------
    DataError
        A value is infinite, or a category is no number.
    """
    if info.kind == "categorical":
        try:
            table = np.array([*map(float, info.categories), np.nan])
        except ValueError as error:
            raise DataError(f"{place}: {error}, so its categories cannot be taken as numbers. {remedy}") from error
        return np.asarray(table[values])
    numbers = values.astype(np.float64)
    place.refuse(np.isinf(numbers), "infinite")
    return numbers


def refuse_missing(numbers: Float64, place: Place, *, allowed: bool) -> None:
    """Raise a :class:`DataError` that names the first rows of missing values where these are not allowed."""
    if not allowed:
        place.refuse(np.isnan(numbers), f"missing (NaN), {NOT_ALLOWED}")


def refuse_missing_codes(codes: Array, place: Place, *, allowed: bool) -> None:
    """Raise a :class:`DataError` that names the first rows of missing categories where these are not allowed."""
    if not allowed:
        place.refuse(codes < 0, f"missing, {NOT_ALLOWED}")


def refuse_codes(codes: Array, info: ColumnInfo, place: Place) -> None:
    """Raise a :class:`DataError` that names the first rows of a categorical column with codes of no category."""
    if info.kind == "categorical":
        place.refuse(codes >= len(info.categories), f"no code of its {len(info.categories)} categories")


def _edges(scaled: Float64, bins: int) -> tuple[float, ...]:
    edges = np.unique(np.quantile(scaled, np.linspace(0, 1, bins + 1)).astype(np.float32)).tolist()
    return tuple(edges) if len(edges) > 1 else (edges[0], edges[0] + 1.0)


def _table(columns: list[Array], n: int, dtype: torch.dtype) -> Tensor:
    table = torch.empty((n, len(columns)), dtype=dtype)
    for position, column in enumerate(columns):
        table[:, position] = torch.from_numpy(column)
    return table
