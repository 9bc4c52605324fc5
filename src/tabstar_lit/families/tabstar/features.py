"""The feature columns of a table, in training and in prediction: which there are, and what their cells are read as."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd

from tabstar_lit.arrays import Float64
from tabstar_lit.data.scalers import LARGEST
from tabstar_lit.errors import DataError
from tabstar_lit.families.tabstar.cells import Style, as_numbers, find_style, rows_text
from tabstar_lit.families.tabstar.date_cells import on_one_clock, read_dates
from tabstar_lit.families.tabstar.reading import Reading


def find_styles(
    frame: pd.DataFrame, names: Iterable[str], reading: Reading, warnings: list[str] | None = None
) -> dict[str, Style]:
    """Find the columns of text that are numbers, and how these are written.

    Parameters
    ----------
    frame : DataFrame
        The rows.
    names : iterable of str
        Columns to look at.
    reading : Reading
        The marks given, and the kinds, which decide.
    warnings : list of str, optional
        Gets a line for every column whose style was guessed.
    """
    styles = {}
    for name in names:
        kind = reading.kinds.get(name)
        if not is_text(frame[name]) or kind in ("text", "date"):
            continue
        found = find_style(_without_gaps(frame[name], reading))
        if kind == "number":
            own = found or Style()
            styles[name] = Style(reading.decimal or own.decimal, reading.thousands or own.thousands, own.gaps)
        elif found is not None:
            styles[name] = found
            if warnings is not None:
                warnings.append(f"column '{name}' is read as numbers ({found.words}); 'kinds' can say otherwise")
    return styles


def read_features(
    frame: pd.DataFrame,
    *,
    left_out: Sequence[str],
    dates: Sequence[str],
    reading: Reading,
    styles: Mapping[str, Style],
    warnings: list[str],
) -> pd.DataFrame:
    """Return the features of a table's rows, in training and in prediction.

    Parameters
    ----------
    frame : DataFrame
        The rows.
    left_out : sequence of str
        Columns that are no features, where the frame has them.
    dates : sequence of str
        Columns of text or numbers that hold dates.
    reading : Reading
        How cells are read.
    styles : mapping
        Columns of text that hold numbers, from :func:`find_styles`.
    warnings : list of str
        Gets a line for every column with cells of another kind.

    Returns
    -------
    DataFrame
        Numbers, dates on one clock and text, under the names of the texts.

    Raises
    ------
    DataError
        A column holds numbers that cannot be scaled, or no date at all.
    """
    features = frame.drop(columns=[name for name in left_out if name in frame.columns])
    columns = {name: _read(name, features[name], dates, reading, styles, warnings) for name in features.columns}
    return pd.DataFrame(columns, index=features.index).rename(columns=reading.rename)


def refuse_infinite(what: str, values: Float64) -> None:
    """Refuse numbers that cannot be scaled; ``what`` holds them.

    Raises
    ------
    DataError
        With the rows they are in.
    """
    infinite = np.abs(values) > LARGEST
    if infinite.any():
        raise DataError(
            f"{what} is infinite, or too large to scale, in {rows_text(infinite)}. "
            "Empty these cells, drop the rows, or ignore the column."
        )


def is_text(column: pd.Series) -> bool:
    """Tell whether a column holds text: neither numbers nor dates."""
    kind = column.dtype
    return not (pd.api.types.is_numeric_dtype(kind) or pd.api.types.is_datetime64_any_dtype(kind))


def _read(
    name: str,
    column: pd.Series,
    dates: Sequence[str],
    reading: Reading,
    styles: Mapping[str, Style],
    warnings: list[str],
) -> pd.Series:
    if is_text(column):
        column = _without_gaps(column, reading)
    if name in dates:
        return read_dates(name, column, reading, warnings)
    if name in styles:
        column, other = as_numbers(column, Style(*styles[name]))
        if other.any():
            warnings.append(f"column '{name}' holds no number in {rows_text(other)}: taken as missing")
    elif reading.kinds.get(name) == "text" and not is_text(column):
        return column.astype(object).where(column.notna(), None).map(str, na_action="ignore")
    if pd.api.types.is_datetime64_any_dtype(column.dtype):
        return on_one_clock(column, reading)
    if pd.api.types.is_numeric_dtype(column.dtype):
        refuse_infinite(f"column '{name}'", column.to_numpy(dtype=np.float64, na_value=np.nan))
    return column


def _without_gaps(column: pd.Series, reading: Reading) -> pd.Series:
    """Return a column of text with the marks of gaps that the keys name as gaps."""
    return column.mask(column.isin(reading.missing)) if reading.missing else column
