"""Date columns: each becomes six numbers, as skrub's DatetimeEncoder makes them for the official package."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from tabstar_lit.errors import DataError

PARTS = ("year", "month", "day", "hour", "total_seconds", "weekday")
"""Suffixes of the new columns: weekday counts from Monday = 1, total_seconds from 1970-01-01."""


def date_columns(frame: pd.DataFrame) -> list[str]:
    """Name the columns of a datetime type; dates written as text stay text.

    Parameters
    ----------
    frame : DataFrame
        Features.

    Returns
    -------
    list of str
        In table order.
    """
    return [str(name) for name, dtype in frame.dtypes.items() if pd.api.types.is_datetime64_any_dtype(dtype)]


def fit_dates(frame: pd.DataFrame) -> dict[str, list[str]]:
    """Decide which parts each date column gives.

    Parameters
    ----------
    frame : DataFrame
        Training rows.

    Returns
    -------
    dict of str to list of str
        Date column to parts; a column that is always midnight gives no hour.
    """
    parts = {}
    for name in date_columns(frame):
        times = _wall_time(frame[name]).dropna()
        midnight = bool((times.dt.normalize() == times).all())
        parts[name] = [part for part in PARTS if not (midnight and part == "hour")]
    return parts


def expand_dates(frame: pd.DataFrame, parts: Mapping[str, Sequence[str]]) -> pd.DataFrame:
    """Replace date columns by their parts, appended at the end.

    Parameters
    ----------
    frame : DataFrame
        Features; the columns named in ``parts`` have a datetime type.
    parts : mapping
        From :func:`fit_dates`.

    Returns
    -------
    DataFrame
        The other columns as they were, then ``{column}_{part}`` in float32 precision, NaN where missing.

    Raises
    ------
    DataError
        A column has the name of a part already.
    """
    for name, wanted in parts.items():
        taken = [f"{name}_{part}" for part in wanted if f"{name}_{part}" in frame.columns]
        if taken:
            raise DataError(
                f"the date '{name}' gives a column '{taken[0]}', and the table has one of that name already. Ignore or "
                "rename one of the two."
            )
    new = [
        _part(_wall_time(frame[name]), part).rename(f"{name}_{part}")
        for name, wanted in parts.items()
        for part in wanted
    ]
    return pd.concat([frame.drop(columns=list(parts)), *new], axis=1)


def _wall_time(column: pd.Series) -> pd.Series:
    """Drop the time zone and keep what the clock showed, in a unit that reaches every year."""
    local = column.dt.tz_localize(None) if getattr(column.dtype, "tz", None) is not None else column
    return local.astype("datetime64[us]")


def _part(times: pd.Series, part: str) -> pd.Series:
    if part == "total_seconds":
        values = (times - pd.Timestamp(0).as_unit("us")) / pd.Timedelta(seconds=1)
    elif part == "weekday":
        values = times.dt.day_of_week + 1
    else:
        values = getattr(times.dt, part)
    return pd.Series(values, dtype=np.float32)
