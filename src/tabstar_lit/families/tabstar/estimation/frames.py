"""Tables as scikit-learn's users have them: DataFrames of every kind of column, arrays, lists."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from sklearn.utils.validation import check_array

from tabstar_lit.config.tree import did_you_mean
from tabstar_lit.errors import DataError


def feature_frame(data: Any) -> pd.DataFrame:
    """Return the rows of a DataFrame, array or list as a DataFrame whose columns this family reads.

    Columns are called by the text of their names, those of an array ``0``, ``1`` and so on, as pandas has it.
    Categories, periods, durations, nullable and sparse types become what they hold.

    Parameters
    ----------
    data : DataFrame or array-like
        ``[N, M]``.

    Raises
    ------
    DataError
        Two columns have one name, or a column holds complex numbers.
    ValueError
        It is no table with rows and columns.
    """
    if not isinstance(data, pd.DataFrame):
        array = check_array(data, dtype=None, ensure_all_finite="allow-nan", input_name="X")
        data = pd.DataFrame(array, columns=range(array.shape[1])).infer_objects()
    names = [str(name) for name in data.columns]
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise DataError(f"X has several columns called '{twice[0]}'. Rename all but one.")
    if not len(data) or not names:
        raise DataError(f"X has {len(data)} rows and {len(names)} columns; a minimum of 1 of each is required.")
    columns = {name: plain_column(name, data.iloc[:, place]) for place, name in enumerate(names)}
    return pd.DataFrame(columns, index=pd.RangeIndex(len(data)))


def plain_column(name: str, column: pd.Series) -> pd.Series:
    """Return a column in a type the preprocessing knows: number, truth value, date or text."""
    column = column.reset_index(drop=True)
    kind: Any = column.dtype
    if isinstance(kind, pd.SparseDtype):
        return plain_column(name, pd.Series(np.asarray(column)))
    if isinstance(kind, pd.CategoricalDtype):
        return column.astype(object).where(column.notna(), None).map(str, na_action="ignore")
    if isinstance(kind, pd.PeriodDtype):
        return pd.Series(column.dt.to_timestamp())
    if pd.api.types.is_timedelta64_dtype(kind):
        return pd.Series(column.dt.total_seconds())
    if pd.api.types.is_complex_dtype(kind):
        raise DataError(f"Complex data not supported: column '{name}'. Give its parts, or its size, as columns.")
    if pd.api.types.is_bool_dtype(kind) or pd.api.types.is_numeric_dtype(kind):
        return pd.Series(column.to_numpy(dtype=np.float64, na_value=np.nan))
    if pd.api.types.is_datetime64_any_dtype(kind):
        return pd.Series(column.dt.as_unit("us"))
    return _words(column)


def matched(frame: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    """Return the columns that the training had; others are ignored with a warning.

    Raises
    ------
    DataError
        One of them is missing.
    """
    lacking = [name for name in columns if name not in frame.columns]
    if lacking:
        hint = did_you_mean(lacking[0], map(str, frame.columns))
        raise DataError(f"X has no column '{lacking[0]}', which fit had.{hint} Missing: {', '.join(lacking)}.")
    extra = [name for name in frame.columns if name not in columns]
    if extra:
        warnings.warn(f"columns that fit did not have are ignored: {', '.join(extra)}", UserWarning, stacklevel=3)
    return frame[list(columns)]


def _words(column: pd.Series) -> pd.Series:
    """Return text, or the numbers that a column of Python objects holds."""
    cells = column.astype(object).where(column.notna(), None)
    kind = pd.api.types.infer_dtype(cells, skipna=True)
    if kind in ("integer", "floating", "mixed-integer-float", "decimal"):
        return pd.to_numeric(cells).astype(np.float64)
    if kind in ("datetime64", "datetime", "date"):
        return pd.to_datetime(cells).astype("datetime64[us]")
    return cells if kind == "string" else cells.map(str, na_action="ignore")
