"""One table from raw columns to codes and numbers, with every check on the way."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from tabstar_lit.arrays import Bool, Float32, Float64, Int64, UInt64
from tabstar_lit.config.tree import suggestion
from tabstar_lit.data import verbalize
from tabstar_lit.data.scalers import ZScore
from tabstar_lit.data.splits import Split
from tabstar_lit.errors import DataError
from tabstar_lit.families.tabstar.tables.cells import as_numbers, rows_text
from tabstar_lit.families.tabstar.tables.corpus import Table
from tabstar_lit.families.tabstar.tables.features import FeatureReader, number_style, refuse_infinite
from tabstar_lit.families.tabstar.tables.files import RawTable
from tabstar_lit.families.tabstar.tables.fingerprints import KEY, fingerprints
from tabstar_lit.families.tabstar.tables.manifest import TableEntry
from tabstar_lit.families.tabstar.tables.preprocessing import LARGEST_Z, Preprocessor

CONVERTER_VERSION = 4
"""Raise it when equal input gives another table: every corpus is then converted again."""

FEW_CLASSES = 20
"""Up to so many classes each has a row held out, however few rows there are."""


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


class Target(NamedTuple):
    """Targets of N rows: class indices, or numbers in the target's unit."""

    values: Float64
    classes: tuple[str, ...]


def encode_table(entry: TableEntry, raw: RawTable, settings: Settings, *, held_out: Bool | None = None) -> Table:
    """Check, split, fit on the training rows and encode one table.

    Parameters
    ----------
    entry : TableEntry
        How to use the columns.
    raw : RawTable
        The data.
    settings : Settings
        Split and bin labels.
    held_out : ndarray of bool [N], optional
        The rows held out, where another than the settings has chosen them; every row then has a target.

    Returns
    -------
    Table
        Complete but for ``schema["source"]`` and ``schema["fingerprint"]``.

    Raises
    ------
    DataError
        If the table cannot be learnt from; names column and rows.
    """
    warnings = list(raw.notes)
    frame, ids = usable_rows(entry, raw)
    target = read_target(entry, frame[entry.target], gaps=len(frame) < len(raw.frame))
    warnings += _rare_classes(target)
    left_out = (*entry.ignore, *raw.counters, *([] if entry.weight is None else [entry.weight]))
    reader = FeatureReader.fit(frame, entry.reading(), left_out=left_out, dates=entry.dates, warnings=warnings)
    features = reader.read(frame.drop(columns=entry.target), warnings)
    reader = reader.with_date_styles(frame)
    held_out = _held_out(ids, target, settings) if held_out is None else held_out
    train = ~held_out
    weights = None if entry.weight is None else _weights(entry.weight, frame[entry.weight], train)
    if train.sum() < 2:
        raise DataError(f"{len(frame)} rows are too few: two or more must be left for training after the split.")
    scale = _target_scale(entry, target, train)
    texts = [entry.rename.get(name, name) for name, kind in entry.kinds.items() if kind == "text"]
    preprocessor = Preprocessor.fit(features[train], bin_labels=settings.bin_labels, texts=texts)
    warnings += [f"column '{name}' is left out: it {why}" for name, why in preprocessor.dropped.items()]

    name = verbalize.column_text(entry.rename.get(entry.target, entry.target))
    heads = verbalize.target_texts(name, target.classes)
    encoded = preprocessor.transform(features, first=heads)
    scaled = target.values if target.classes else np.clip(scale.apply(target.values), -LARGEST_Z, LARGEST_Z)
    about = {"name": entry.target, "text": name, "classes": list(target.classes), **scale._asdict()}
    schema = {"task": entry.task, "target": about, **preprocessor.to_schema(), **reader.to_schema()}
    known = frame.drop(columns=[name for name in left_out if name in frame.columns])
    schema |= _origin(entry, settings) | {"warnings": warnings, KEY: fingerprints(known)}
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
        weights=weights,
    )


def _origin(entry: TableEntry, settings: Settings) -> dict[str, Any]:
    """Return where a table came from, and how it was converted."""
    return {
        "split": {"fraction": settings.validation_fraction, "seed": settings.seed},
        "bin_labels": settings.bin_labels,
        "converter_version": CONVERTER_VERSION,
        "about": entry.model_dump(include={"description", "source", "commit", "licence", "subsample", "note"}),
    }


def usable_rows(entry: TableEntry, raw: RawTable) -> tuple[pd.DataFrame, UInt64]:
    """Return the rows that have a target, having seen that all named columns exist.

    Raises
    ------
    DataError
        One does not exist, or rows without a target are not to be dropped.
    """
    weight = () if entry.weight is None else (entry.weight,)
    named = {"target": (entry.target,), "weight": weight, "dates": entry.dates, **entry.columns_named()}
    for role, names in named.items():
        _check_columns(role, names, list(raw.frame.columns))
    _check_columns("ignore", entry.ignore, [*raw.frame.columns, *raw.left_out])
    if entry.target in entry.ignore:
        raise DataError(f"column '{entry.target}' is named as target and under 'ignore'. Choose one.")
    missing = raw.frame[entry.target].isna().to_numpy()
    if not missing.any():
        return raw.frame, raw.ids
    if entry.missing_target == "error":
        raise DataError(
            f"target '{entry.target}' is missing in {rows_text(missing)}. Fill it in, or set 'missing_target: drop' in "
            "the manifest to leave these rows out. If such cells hold a class, say under 'missing' which ones do not."
        )
    if missing.all():
        raise DataError(f"target '{entry.target}' is missing in all rows.")
    return raw.frame[~missing].reset_index(drop=True), raw.ids[~missing]


def _weights(name: str, column: pd.Series, train: Bool) -> Float32:
    """Return weights whose mean over the training rows is 1."""
    values = pd.to_numeric(column, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
    wrong = ~np.isfinite(values) | (values < 0)
    if wrong.any():
        raise DataError(
            f"weight '{name}' is no number of 0 or more in {rows_text(wrong)}. Fill it in, or drop the rows."
        )
    if not values[train].any():
        raise DataError(f"weight '{name}' is 0 in every training row: nothing to learn.")
    weights: Float32 = (values / values[train].mean()).astype(np.float32)
    return weights


def _check_columns(role: str, names: Sequence[str], columns: list[str]) -> None:
    for name in names:
        if name not in columns:
            raise DataError(f"no column '{name}' (named under '{role}').{suggestion(name, columns, listed='It has')}")


def read_target(entry: TableEntry, column: pd.Series, *, gaps: bool) -> Target:
    """Return targets; ``gaps`` tells that rows without one were dropped, which had made whole numbers decimal.

    Raises
    ------
    DataError
        They are no classes, or no numbers; names the column and rows.
    """
    if entry.task == "classification":
        return _read_classes(entry, _whole(column) if gaps else column)
    style = number_style(entry.target, column, entry.reading())
    column, text = (column, np.zeros(len(column), dtype=bool)) if style is None else as_numbers(column, style)
    if not pd.api.types.is_numeric_dtype(column.dtype) or text.any():
        text = text | pd.to_numeric(column.astype(object).map(str), errors="coerce").isna().to_numpy()
        seen = repr(str(column[text].iloc[0])) if text.any() else f"values of type {column.dtype}"
        raise DataError(
            f"regression target '{entry.target}' is not numeric: {seen} in {rows_text(text | ~text.any())}. "
            "Clean the column, or set 'task: classification'."
        )
    values = column.to_numpy(dtype=np.float64)
    refuse_infinite(f"target '{entry.target}'", values)
    if np.ptp(values) == 0:
        raise DataError(f"target '{entry.target}' is constant ({values[0]:g} in every row): nothing to learn.")
    return Target(values, ())


def _whole(column: pd.Series) -> pd.Series:
    """Return whole numbers as integers again."""
    if not pd.api.types.is_float_dtype(column.dtype):
        return column
    return column.astype(np.int64) if (column == column.round()).all() and (column.abs() < 2**53).all() else column


def _read_classes(entry: TableEntry, column: pd.Series) -> Target:
    name = entry.target
    printable = column if pd.api.types.is_numeric_dtype(column.dtype) else column.astype(object).map(str)
    unique, index = np.unique(printable.to_numpy(), return_inverse=True)
    classes = _named_classes(entry, tuple(str(value) for value in unique))
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
        raise DataError(
            f"target '{name}' has classes that read the same in the texts: '{same[0]}'. Clean it, or name them under "
            "'class_names'."
        )
    return Target(index.astype(np.float64), classes)


def _named_classes(entry: TableEntry, classes: tuple[str, ...]) -> tuple[str, ...]:
    for name in entry.class_names:
        if name not in classes:
            hint = suggestion(name, classes, listed="It has")
            raise DataError(f"target '{entry.target}' has no class '{name}' (named under 'class_names').{hint}")
    return tuple(entry.class_names.get(name, name) for name in classes)


def _rare_classes(target: Target) -> list[str]:
    if not target.classes:
        return []
    counts = np.bincount(target.values.astype(np.int64), minlength=len(target.classes))
    single = [name for name, count in zip(target.classes, counts, strict=True) if count == 1]
    return [f"class '{name}' has one row: it trains and is never validated" for name in single]


def _held_out(ids: UInt64, target: Target, settings: Settings) -> Bool:
    """Choose the rows held out: of every class one at least, unless that alone were more than the share asked for."""
    split = Split(settings.seed, {"validation": settings.validation_fraction})
    classes: Int64 = target.values.astype(np.int64) if target.classes else np.zeros(len(ids), dtype=np.int64)
    everywhere = len(target.classes) <= max(FEW_CLASSES, settings.validation_fraction * len(ids))
    sides = split.sides(ids, classes, every_share=everywhere)
    return np.asarray(sides == split.names.index("validation"))


def _target_scale(entry: TableEntry, target: Target, train: Bool) -> ZScore:
    if target.classes:
        return ZScore(0.0, 1.0)
    values: Any = target.values[train]
    if np.ptp(values) == 0:
        raise DataError(f"target '{entry.target}' is constant ({values[0]:g}) in the training rows: nothing to learn.")
    return ZScore.fit(values)
