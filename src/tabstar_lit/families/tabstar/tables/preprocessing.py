"""Rows to codes and numbers, fitted on training rows and stored as plain data.

Reproduces the preprocessing of the ``tabstar`` package 1.2 (arXiv 2505.18125) on whole columns: a category is
written out once, not once a cell, and a number is looked up in the twelve texts of its column.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from tabstar_lit.arrays import Float32, Float64, Int32
from tabstar_lit.config.tree import did_you_mean
from tabstar_lit.data import verbalize
from tabstar_lit.data.scalers import LARGEST, ZScore
from tabstar_lit.errors import DataError
from tabstar_lit.families.tabstar.tables import dates
from tabstar_lit.families.tabstar.tables.cells import numbers_of_digits

MAX_CATEGORIES_OF_DIGITS = 50
"""A text column made of digits counts as numeric only above this many different values."""

LARGEST_Z = 1e6
"""Where z-scores end, so that they are finite in single precision."""

MAX_QUANTILES = 1000
"""Points at which the distribution of a column is known."""


@dataclass(frozen=True)
class Column:
    """One feature and how its cells become texts and numbers.

    Attributes
    ----------
    name : str
        Name in the texts.
    kind : str
        ``text`` or ``number``.
    digits : bool
        A number that the file holds as text: cells that are not all digits are missing.
    scale : ZScore, optional
        Of a number.
    boundaries : tuple of float
        Of a number: its 0, 10 … 100 % quantiles, in the column's unit.
    labels : tuple of str
        Of a number: names of its twelve bins.
    """

    name: str
    kind: Literal["text", "number"]
    digits: bool = False
    scale: ZScore | None = None
    boundaries: tuple[float, ...] = ()
    labels: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Encoded:
    """Encoded features of N rows and M columns.

    Attributes
    ----------
    vocabulary : tuple of str
        Unique strings.
    codes : ndarray of int32 [N, M]
        Row of ``vocabulary`` for each cell.
    numbers : ndarray of float32 [N, M]
        z-scores, up to :data:`LARGEST_Z`; 0 for text, NaN where missing.
    """

    vocabulary: tuple[str, ...]
    codes: Int32
    numbers: Float32


@dataclass(frozen=True)
class Preprocessor:
    """What turns rows of one table into :class:`Encoded`.

    Attributes
    ----------
    columns : tuple of Column
        In element order: text columns in table order, then numeric columns sorted by name.
    dates : dict of str to list of str
        Date columns (names in the file) and the parts taken from each.
    dropped : dict of str to str
        Columns left out and why.
    """

    columns: tuple[Column, ...]
    dates: dict[str, list[str]]
    dropped: dict[str, str]

    @classmethod
    def fit(
        cls, features: pd.DataFrame, *, bin_labels: verbalize.BinLabels = "official", texts: Collection[str] = ()
    ) -> Preprocessor:
        """Learn kinds, scales and bins.

        Parameters
        ----------
        features : DataFrame
            Training rows, without the target; column names are unique strings.
        bin_labels : str
            See :func:`~tabstar_lit.data.verbalize.bin_labels`.
        texts : collection of str
            Columns that are text although they may look like numbers.

        Returns
        -------
        Preprocessor
            The fitted preprocessor.

        Raises
        ------
        DataError
            If two columns have the same name in the texts, or none is of use.
        """
        parts = dates.fit_dates(features)
        frame = _prepared(features, parts)
        words: list[Column] = []
        numbers: dict[str, tuple[Float64, bool]] = {}
        dropped: dict[str, str] = {}
        told = {verbalize.column_text(name) for name in texts}
        for name, column in zip(map(str, frame.columns), (own for _, own in frame.items()), strict=True):
            numeric, digits = (False, False) if name in told else _is_number(column)
            values = _as_numbers(column, digits=digits) if numeric else None
            reason = _useless(column, values)
            if reason:
                dropped[name] = reason
            elif values is not None:
                numbers[name] = (values, digits)
            else:
                words.append(Column(name=name, kind="text"))
        if not words and not numbers:
            reasons = "; ".join(f"'{name}' {reason}" for name, reason in dropped.items()) or "there is no column"
            raise DataError(f"no feature column is left ({reasons}). Name fewer columns under 'ignore'.")
        fitted = _fit_numbers(numbers, bin_labels)
        return cls((*words, *sorted(fitted, key=lambda column: column.name)), parts, dropped)

    def transform(self, features: pd.DataFrame, *, first: Sequence[str] = ()) -> Encoded:
        """Encode rows.

        Parameters
        ----------
        features : DataFrame
            N rows with at least the columns fitted on; others are ignored.
        first : sequence of str
            Strings to put at the head of the vocabulary (the target elements).

        Returns
        -------
        Encoded
            Codes and numbers, in element order.

        Raises
        ------
        DataError
            If a column is missing, or a date column holds no dates.
        """
        frame = self._named(features)
        vocabulary = {text: position for position, text in enumerate(dict.fromkeys(first))}
        codes = np.empty((len(frame), len(self.columns)), dtype=np.int32)
        numbers = np.zeros(codes.shape, dtype=np.float32)
        for position, column in enumerate(self.columns):
            if column.scale is None:
                local, strings = _encode_text(frame[column.name])
            else:
                values = _as_numbers(frame[column.name], digits=column.digits)
                local, strings = _encode_bins(values, column)
                numbers[:, position] = np.clip(column.scale.apply(values), -LARGEST_Z, LARGEST_Z)
            texts = [verbalize.feature_text(column.name, value) for value in strings]
            codes[:, position] = np.array([vocabulary.setdefault(text, len(vocabulary)) for text in texts])[local]
        return Encoded(tuple(vocabulary), codes, numbers)

    def _named(self, features: pd.DataFrame) -> pd.DataFrame:
        """Prepare new rows, having seen that all columns are there."""
        dates_there = dates.date_columns(features)
        for name in self.dates:
            if name not in dates_there:
                raise DataError(f"column '{name}' must hold dates, as in training; it is missing or of another type.")
        frame = _prepared(features, self.dates)
        lacking = [column.name for column in self.columns if column.name not in frame.columns]
        if lacking:
            hint = did_you_mean(lacking[0], map(str, frame.columns))
            raise DataError(f"no column '{lacking[0]}', which the table was trained with.{hint}")
        return frame

    def to_schema(self) -> dict[str, Any]:
        """Return the preprocessor as plain data for JSON.

        Returns
        -------
        dict
            Keys ``columns``, ``dates``, ``dropped``.
        """
        columns: list[dict[str, Any]] = []
        for column in self.columns:
            entry: dict[str, Any] = {"name": column.name, "kind": column.kind}
            if column.scale is not None:
                entry |= {"digits": column.digits, **column.scale._asdict()}
                entry |= {"boundaries": list(column.boundaries), "labels": list(column.labels)}
            columns.append(entry)
        return {"columns": columns, "dates": self.dates, "dropped": self.dropped}

    @classmethod
    def from_schema(cls, schema: dict[str, Any]) -> Preprocessor:
        """Rebuild a preprocessor from :meth:`to_schema`'s data.

        Parameters
        ----------
        schema : dict
            A table's schema; other keys are ignored.

        Returns
        -------
        Preprocessor
            Equal to the one that was stored.
        """
        columns = tuple(_column(entry) for entry in schema["columns"])
        return cls(columns, dict(schema["dates"]), dict(schema["dropped"]))


def _column(entry: dict[str, Any]) -> Column:
    if entry["kind"] == "text":
        return Column(name=entry["name"], kind="text")
    return Column(
        name=entry["name"],
        kind="number",
        digits=entry["digits"],
        scale=ZScore(entry["mean"], entry["std"]),
        boundaries=tuple(entry["boundaries"]),
        labels=tuple(entry["labels"]),
    )


def _prepared(features: pd.DataFrame, parts: dict[str, list[str]]) -> pd.DataFrame:
    """Take the dates apart and give the columns their names in the texts."""
    frame = dates.expand_dates(features, parts)
    names = [verbalize.column_text(name) for name in frame.columns]
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        same = [f"'{old}'" for old, new in zip(frame.columns, names, strict=True) if new == twice[0]]
        raise DataError(f"columns {' and '.join(same)} both read '{twice[0]}' in the texts. Rename or ignore one.")
    return frame.set_axis(names, axis=1)


def _is_number(column: pd.Series) -> tuple[bool, bool]:
    """Tell whether a column is numeric, and whether it is so in spite of being text made of digits."""
    if pd.api.types.is_numeric_dtype(column.dtype):
        return True, False
    unique = column.dropna().astype(object).unique()
    if len(unique) <= MAX_CATEGORIES_OF_DIGITS or sum(not _is_digits(value) for value in unique) > 1:
        return False, False
    return True, True


def _is_digits(value: object) -> bool:
    return value.isdecimal() if isinstance(value, str) else isinstance(value, (int, float, np.number))


def _as_numbers(column: pd.Series, *, digits: bool) -> Float64:
    if pd.api.types.is_numeric_dtype(column.dtype):
        return column.to_numpy(dtype=np.float64, na_value=np.nan)
    cells = column.astype(object)
    if digits:
        return numbers_of_digits(cells, cells.map(_is_digits).to_numpy(dtype=bool))
    return pd.to_numeric(cells, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)


def _useless(column: pd.Series, values: Float64 | None) -> str:
    """Return why a column, which is these numbers or text, says nothing, or an empty text."""
    if column.isna().all() if values is None else np.isnan(values).all():
        return "is missing in all training rows"
    if values is not None:
        constant = np.nanmin(values) == np.nanmax(values)
        if constant and _texts(column.dropna()).nunique() > 1:
            return "holds numbers that differ beyond the 15 digits of float64 only; as kind 'text' it would be kept"
    else:
        constant = _texts(column).nunique() == 1
    return "has the same value in all training rows" if constant else ""


def _fit_numbers(numbers: Mapping[str, tuple[Float64, bool]], bin_labels: verbalize.BinLabels) -> Iterator[Column]:
    """Fit columns, those of equally many known cells in one call: tables are often wide, and without gaps."""
    groups: dict[int, dict[str, Float64]] = defaultdict(dict)
    for name, (values, _) in numbers.items():
        if np.nanmax(np.abs(values)) > LARGEST:
            raise DataError(f"column '{name}' holds numbers too large to scale (beyond {LARGEST:g}). Ignore it.")
        known = values[~np.isnan(values)]
        groups[len(known)][name] = known
    for group in groups.values():
        known = np.stack(list(group.values()), axis=1)
        for name, scale, boundaries in zip(group, ZScore.fit_columns(known), decile_boundaries(known).T, strict=True):
            yield Column(
                name=name,
                kind="number",
                digits=numbers[name][1],
                scale=scale,
                boundaries=tuple(boundaries.tolist()),
                labels=tuple(verbalize.bin_labels(boundaries, bin_labels)),
            )


def decile_boundaries(known: Float64) -> Float64:
    """Return the 0, 10 … 100 % quantiles of columns, ``[11, M]``.

    They are what scikit-learn's ``QuantileTransformer`` with up to 1000 quantiles and no subsampling takes back from
    0, 0.1 … 1, which the official package uses.

    Parameters
    ----------
    known : ndarray of float64 [N, M]
        Without gaps.
    """
    references = np.linspace(0, 1, min(MAX_QUANTILES, len(known)))
    quantiles = np.maximum.accumulate(np.percentile(known, references * 100, axis=0))
    shares = np.linspace(0, 1, verbalize.N_BINS + 1)
    boundaries = np.stack([np.interp(shares, references, own) for own in quantiles.T], axis=1)
    return np.maximum.accumulate(boundaries)  # interpolation may overshoot by one unit in the last place


def _texts(column: pd.Series) -> pd.Series:
    cells = column.astype(object)
    filled = cells.where(cells.notna(), verbalize.MISSING)
    return filled if pd.api.types.infer_dtype(filled, skipna=False) == "string" else filled.map(str)


def _encode_text(column: pd.Series) -> tuple[npt.NDArray[np.intp], Sequence[str]]:
    local, unique = pd.factorize(_texts(column))
    return local, list(unique)


def _encode_bins(values: Float64, column: Column) -> tuple[npt.NDArray[np.intp], Sequence[str]]:
    bins = np.digitize(values, column.boundaries)
    bins[np.isnan(values)] = len(column.labels)
    used, local = np.unique(bins, return_inverse=True)
    names = (*column.labels, verbalize.MISSING)
    return local, [names[index] for index in used]
