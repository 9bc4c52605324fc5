"""One table from raw columns to codes and numbers, with every check on the way."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from tabstar_lit.arrays import Bool, Float64, UInt64
from tabstar_lit.config.tree import suggestion
from tabstar_lit.data import verbalize
from tabstar_lit.data.scalers import LARGEST, ZScore
from tabstar_lit.data.splits import Split
from tabstar_lit.errors import DataError
from tabstar_lit.families.tabstar.corpus import Table
from tabstar_lit.families.tabstar.manifest import TableEntry
from tabstar_lit.families.tabstar.preprocessing import Z_CLIP, Preprocessor
from tabstar_lit.families.tabstar.tables import RawTable

CONVERTER_VERSION = 1
"""Raise it when equal input gives another table: every corpus is then converted again."""


@dataclass(frozen=True)
class Settings:
    """Choices that hold for all tables of a corpus.

    Attributes
    ----------
    validation_fraction : float
        Share of the rows held out.
    seed : int
        Of the split.
    bin_labels : str
        ``official`` (as the pretrained weights know them) or ``numeric``.
    """

    validation_fraction: float = 0.1
    seed: int = 0
    bin_labels: verbalize.BinLabels = "official"


class _Target(NamedTuple):
    """Targets of N rows: class indices, or numbers in the target's unit."""

    values: Float64
    classes: tuple[str, ...]


def encode_table(entry: TableEntry, raw: RawTable, settings: Settings) -> Table:
    """Check, split, fit on the training rows and encode one table.

    Parameters
    ----------
    entry : TableEntry
        How to use the columns.
    raw : RawTable
        The data.
    settings : Settings
        Split and bin labels.

    Returns
    -------
    Table
        Complete but for ``schema["source"]`` and ``schema["fingerprint"]``.

    Raises
    ------
    DataError
        If the table cannot be learnt from; names column and rows.
    """
    warnings: list[str] = []
    frame, ids = _usable_rows(entry, raw)
    target = _read_target(entry, frame[entry.target])
    warnings += _rare_classes(target)
    features = read_features(frame, left_out=(entry.target, *entry.ignore), parsed=entry.dates, warnings=warnings)
    held_out = _held_out(ids, target, settings)
    train = ~held_out
    if train.sum() < 2:
        raise DataError(f"{len(frame)} rows are too few: two or more must be left for training after the split.")
    scale = _target_scale(entry, target, train)
    preprocessor = Preprocessor.fit(features[train], bin_labels=settings.bin_labels)
    warnings += [f"column '{name}' is left out: it {why}" for name, why in preprocessor.dropped.items()]

    name = verbalize.column_text(entry.target)
    heads = verbalize.target_texts(name, target.classes)
    encoded = preprocessor.transform(features, first=heads)
    scaled = target.values if target.classes else scale.apply(target.values, clip=Z_CLIP)
    schema = {
        "task": entry.task,
        "target": {"name": entry.target, "text": name, "classes": list(target.classes), **scale._asdict()},
        **preprocessor.to_schema(),
        "ignored": list(entry.ignore),
        "parsed_dates": list(entry.dates),
        "split": {"fraction": settings.validation_fraction, "seed": settings.seed},
        "bin_labels": settings.bin_labels,
        "converter_version": CONVERTER_VERSION,
        "about": entry.model_dump(include={"description", "source", "commit", "licence", "subsample", "note"}),
        "warnings": warnings,
    }
    return Table(
        name=entry.name,
        task=entry.task,
        vocabulary=encoded.vocabulary,
        codes=encoded.codes,
        numbers=encoded.numbers,
        targets=scaled.astype(np.float32),
        target_codes=np.arange(len(heads), dtype=np.int32),
        classes=target.classes,
        feature_names=tuple(column.name for column in preprocessor.columns),
        is_validation=held_out,
        row_ids=ids,
        target_mean=scale.mean,
        target_std=scale.std,
        schema=schema,
    )


def rows_text(mask: Bool) -> str:
    """Say which rows are meant, counted from 1 below the header, and how many.

    Parameters
    ----------
    mask : ndarray of bool [N]
        True for the rows meant.

    Returns
    -------
    str
        Such as ``3 rows (2, 5, 9)``.
    """
    rows = (np.flatnonzero(mask) + 1).tolist()
    shown = ", ".join(map(str, rows[:5])) + (", …" if len(rows) > 5 else "")
    return f"{len(rows)} row{'s' if len(rows) > 1 else ''} ({shown})"


def _usable_rows(entry: TableEntry, raw: RawTable) -> tuple[pd.DataFrame, UInt64]:
    """Return the rows that have a target, having seen that all named columns exist."""
    for role, names in (("target", (entry.target,)), ("ignore", entry.ignore), ("dates", entry.dates)):
        _check_columns(role, names, list(raw.frame.columns))
    if entry.target in entry.ignore:
        raise DataError(f"column '{entry.target}' is named as target and under 'ignore'. Choose one.")
    missing = raw.frame[entry.target].isna().to_numpy()
    if not missing.any():
        return raw.frame, raw.ids
    if entry.missing_target == "error":
        raise DataError(
            f"target '{entry.target}' is missing in {rows_text(missing)}. "
            "Fill it in, or set 'missing_target: drop' in the manifest to leave these rows out."
        )
    if missing.all():
        raise DataError(f"target '{entry.target}' is missing in all rows.")
    return raw.frame[~missing].reset_index(drop=True), raw.ids[~missing]


def _check_columns(role: str, names: Sequence[str], columns: list[str]) -> None:
    for name in names:
        if name not in columns:
            raise DataError(f"no column '{name}' (named under '{role}').{suggestion(name, columns, listed='It has')}")


def _read_target(entry: TableEntry, column: pd.Series) -> _Target:
    if entry.task == "classification":
        return _read_classes(entry.target, column)
    if not pd.api.types.is_numeric_dtype(column.dtype):
        text = pd.to_numeric(column.astype(object).map(str), errors="coerce").isna().to_numpy()
        seen = repr(str(column[text].iloc[0])) if text.any() else f"values of type {column.dtype}"
        raise DataError(
            f"regression target '{entry.target}' is not numeric: {seen} in {rows_text(text | ~text.any())}. "
            "Clean the column, or set 'task: classification'."
        )
    values = column.to_numpy(dtype=np.float64)
    _refuse_infinite(f"target '{entry.target}'", values)
    if np.ptp(values) == 0:
        raise DataError(f"target '{entry.target}' is constant ({values[0]:g} in every row): nothing to learn.")
    return _Target(values, ())


def _read_classes(name: str, column: pd.Series) -> _Target:
    printable = column if pd.api.types.is_numeric_dtype(column.dtype) else column.astype(object).map(str)
    unique, index = np.unique(printable.to_numpy(), return_inverse=True)
    classes = tuple(str(value) for value in unique)
    if len(classes) == 1:
        raise DataError(f"target '{name}' is constant ('{classes[0]}' in every row): nothing to learn.")
    if len(classes) == len(column):
        raise DataError(
            f"target '{name}' has another class in each of its {len(column)} rows. If it is a quantity, set "
            "'task: regression'."
        )
    printed = Counter(verbalize.plain(value) for value in classes)
    same = [text for text, count in printed.items() if count > 1]
    if same:
        raise DataError(f"target '{name}' has classes that differ in control characters only: '{same[0]}'. Clean it.")
    return _Target(index.astype(np.float64), classes)


def _rare_classes(target: _Target) -> list[str]:
    if not target.classes:
        return []
    counts = np.bincount(target.values.astype(np.int64), minlength=len(target.classes))
    single = [name for name, count in zip(target.classes, counts, strict=True) if count == 1]
    return [f"class '{name}' has one row: it trains and is never validated" for name in single]


def _held_out(ids: UInt64, target: _Target, settings: Settings) -> Bool:
    classes = target.values.astype(np.int64) if target.classes else np.zeros(len(ids), dtype=np.int64)
    split = Split(settings.seed, {"validation": settings.validation_fraction})
    return np.asarray(split.sides(ids, classes) == split.names.index("validation"))


def read_features(
    frame: pd.DataFrame, *, left_out: Sequence[str], parsed: Sequence[str], warnings: list[str]
) -> pd.DataFrame:
    """Return the features of a table's rows, in training and in prediction.

    Parameters
    ----------
    frame : DataFrame
        The rows.
    left_out : sequence of str
        Columns that are no features, where the frame has them.
    parsed : sequence of str
        Columns of text that hold dates.
    warnings : list of str
        Gets a line for every column with cells that hold no date.

    Raises
    ------
    DataError
        A column holds numbers that cannot be scaled, or no date at all.
    """
    features = frame.drop(columns=[name for name in left_out if name in frame.columns])
    for name in parsed:
        if name in features.columns:
            features[name] = _parse_dates(name, features[name], warnings)
    for name in features.columns:
        if pd.api.types.is_numeric_dtype(features[name].dtype):
            values = features[name].to_numpy(dtype=np.float64, na_value=np.nan)
            _refuse_infinite(f"column '{name}'", values)
    return features


def _refuse_infinite(what: str, values: Float64) -> None:
    infinite = np.abs(values) > LARGEST
    if infinite.any():
        raise DataError(
            f"{what} is infinite, or too large to scale, in {rows_text(infinite)}. "
            "Empty these cells, drop the rows, or ignore the column."
        )


def _parse_dates(name: str, column: pd.Series, warnings: list[str]) -> pd.Series:
    text = column.astype(object).where(column.notna(), None)
    text = text.map(lambda cell: cell.replace('"', "") if isinstance(cell, str) else cell)
    parsed = pd.to_datetime(text, errors="coerce", format="mixed", utc=True).dt.tz_localize(None)
    failed = (parsed.isna() & column.notna()).to_numpy()
    if parsed.isna().all() and column.notna().any():
        raise DataError(f"column '{name}' (named under 'dates') holds no date: {str(column.dropna().iloc[0])!r}.")
    if failed.any():
        warnings.append(f"column '{name}' holds no date in {rows_text(failed)}: taken as missing")
    return parsed


def _target_scale(entry: TableEntry, target: _Target, train: Bool) -> ZScore:
    if target.classes:
        return ZScore(0.0, 1.0)
    values: Any = target.values[train]
    if np.ptp(values) == 0:
        raise DataError(f"target '{entry.target}' is constant ({values[0]:g}) in the training rows: nothing to learn.")
    return ZScore.fit(values)
