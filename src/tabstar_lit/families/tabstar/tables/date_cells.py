"""Dates as they come: day or month first, 20240102, seconds since 1970, years, and times far from ours."""

from __future__ import annotations

import datetime as dt
import re
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from tabstar_lit.arrays import Bool, Float64
from tabstar_lit.errors import DataError
from tabstar_lit.families.tabstar.tables.cells import rows_text
from tabstar_lit.families.tabstar.tables.reading import UNITS_OF_TIME, Reading

_PAIR = re.compile(r"\s*(\d{1,2})\s*[./-]\s*(\d{1,2})\s*[./-]\s*\d{2,4}\b")


class _Count(NamedTuple):
    """Numbers between two bounds count time in a format."""

    low: float
    high: float
    format: str
    words: str


_COUNTS = (
    _Count(1000, 2999, "%Y", "years"),
    _Count(10000101, 29991231, "%Y%m%d", "year, month and day in eight digits"),
    _Count(1e8, 5e9, "s", "seconds since 1970"),
    _Count(1e11, 5e12, "ms", "milliseconds since 1970"),
    _Count(1e14, 5e15, "us", "microseconds since 1970"),
    _Count(1e17, 9.2e18, "ns", "nanoseconds since 1970"),
)


class DateStyle(NamedTuple):
    """How a column writes dates: what the training found out, for rows that come later.

    Attributes
    ----------
    format : str or None
        As in :attr:`Reading.date_formats`; None where every cell is looked at by itself.
    day_first : bool
        04/01/2024 is 4 January.
    """

    format: str | None
    day_first: bool


def find_date_style(name: str, column: pd.Series, reading: Reading) -> DateStyle:
    """Return how a column of dates is written, by the keys or by its cells.

    Raises
    ------
    DataError
        As for :func:`read_dates`.
    """
    given = reading.date_formats.get(name)
    if given is not None or pd.api.types.is_datetime64_any_dtype(column.dtype):
        return DateStyle(given, bool(reading.day_first))
    if pd.api.types.is_numeric_dtype(column.dtype) and not pd.api.types.is_bool_dtype(column.dtype):
        return DateStyle(_count_of(name, column.to_numpy(dtype=np.float64, na_value=np.nan)).format, False)
    texts = _texts(column)
    if _are_digits(texts):
        return DateStyle(
            _count_of(name, pd.to_numeric(texts, errors="coerce").to_numpy(dtype=np.float64)).format, False
        )
    return DateStyle(None, _day_first(name, texts, reading, []))


def read_dates(name: str, column: pd.Series, reading: Reading, warnings: list[str]) -> pd.Series:
    """Return a column as dates.

    Parameters
    ----------
    name : str
        Of the column, for messages.
    column : Series
        ``[N]`` text, numbers, or dates already.
    reading : Reading
        Format, day first and time zone.
    warnings : list of str
        Gets a line on cells without a date, and on what was guessed.

    Returns
    -------
    Series of datetime64[us]
        ``[N]`` without a time zone; NaT where there is no date.

    Raises
    ------
    DataError
        No cell holds a date, numbers count nothing that is known, or some dates can only be day first and others only
        month first.
    """
    if pd.api.types.is_datetime64_any_dtype(column.dtype):
        return on_one_clock(column, reading)
    given = reading.date_formats.get(name)
    if pd.api.types.is_numeric_dtype(column.dtype) and not pd.api.types.is_bool_dtype(column.dtype):
        parsed = _of_numbers(name, column, given, warnings)
    else:
        parsed = _of_texts(name, column, given, reading, warnings)
    failed = np.asarray(parsed.isna() & column.notna())
    if parsed.isna().all() and column.notna().any():
        wanted = "" if given is None else f" in the format '{given}'"
        raise DataError(
            f"column '{name}' (named under 'dates') holds no date{wanted}: {str(column.dropna().iloc[0])!r}."
        )
    if failed.any():
        warnings.append(f"column '{name}' holds no date in {rows_text(failed)}: taken as missing")
    return parsed


def on_one_clock(column: pd.Series, reading: Reading) -> pd.Series:
    """Return dates without a time zone: what a clock of theirs showed, or one of the zone that the keys name."""
    zone = getattr(column.dtype, "tz", None)
    if zone is not None:
        column = (column if reading.time_zone is None else column.dt.tz_convert(reading.time_zone)).dt.tz_localize(None)
    return column.astype("datetime64[us]")


def _of_numbers(name: str, column: pd.Series, given: str | None, warnings: list[str]) -> pd.Series:
    """Read numbers by the format given, or by the one whose bounds hold them all."""
    values = column.to_numpy(dtype=np.float64, na_value=np.nan)
    if given is None:
        count = _count_of(name, values)
        given = count.format
        warnings.append(f"column '{name}': its numbers are read as {count.words}")
    if given in UNITS_OF_TIME:
        unit: Any = given
        return pd.to_datetime(column.astype("Int64"), unit=unit, errors="coerce").astype("datetime64[us]")
    digits = column.map(lambda value: None if pd.isna(value) else f"{value:.0f}")
    return _parsed(digits, given, day_first=False, zone=None)


def _count_of(name: str, values: Float64) -> _Count:
    """Return what numbers count, whose bounds hold them all; of gaps alone the first."""
    known = values[~np.isnan(values)]
    fitting = [count for count in _COUNTS if _within(values, count) or not len(known)]
    if not fitting:
        raise DataError(
            f"column '{name}' (named under 'dates') holds numbers such as {known[0]:.15g}, which may count "
            f"anything. Say under 'date_formats': {', '.join(UNITS_OF_TIME)} (since 1970), or a format like %Y%m%d."
        )
    return fitting[0]


def _within(values: Float64, count: _Count) -> bool:
    known = values[~np.isnan(values)]
    if not len(known) or not np.all((known >= count.low) & (known <= count.high) & (known == np.floor(known))):
        return False
    if count.format != "%Y%m%d":
        return True
    month, day = known // 100 % 100, known % 100
    return bool(np.all((month >= 1) & (month <= 12) & (day >= 1) & (day <= 31)))


def _of_texts(name: str, column: pd.Series, given: str | None, reading: Reading, warnings: list[str]) -> pd.Series:
    texts = _texts(column)
    if given in UNITS_OF_TIME:
        return _of_numbers(name, pd.to_numeric(texts, errors="coerce"), given, warnings)
    if given is None and _are_digits(texts):
        return _of_numbers(name, pd.to_numeric(texts, errors="coerce"), None, warnings)
    day_first = False if given else _day_first(name, texts, reading, warnings)
    return _parsed(texts, given or "mixed", day_first=day_first, zone=reading.time_zone)


def _texts(column: pd.Series) -> pd.Series:
    """Return cells as found, without the quotation marks that stray into them; None for gaps."""
    cells = column.astype(object).where(column.notna(), None)
    return cells.map(lambda cell: cell.replace('"', "") if isinstance(cell, str) else cell)


def _are_digits(texts: pd.Series) -> bool:
    known = texts.dropna()
    return len(known) > 0 and bool(known.map(lambda cell: str(cell).strip().isdecimal()).all())


def _day_first(name: str, texts: pd.Series, reading: Reading, warnings: list[str]) -> bool:
    """Tell whether a column has the day before the month, from the cells that leave no doubt."""
    if reading.day_first is not None:
        return reading.day_first
    pairs = [_PAIR.match(cell) if isinstance(cell, str) else None for cell in texts]
    first = np.array([int(pair[1]) if pair else 0 for pair in pairs])
    second = np.array([int(pair[2]) if pair else 0 for pair in pairs])
    day_first, month_first = first > 12, second > 12
    if day_first.any() and month_first.any():
        raise DataError(
            f"column '{name}' has the day first in {rows_text(day_first)} and the month first in "
            f"{rows_text(month_first)}. Clean it, or give its format under 'date_formats'."
        )
    doubtful = (first > 0) & (first != second) & (second <= 12)
    if doubtful.any() and not day_first.any() and not month_first.any():
        example = texts.iloc[int(np.flatnonzero(doubtful)[0])]
        warnings.append(
            f"column '{name}': dates such as {example!r} are read month first, as no cell tells; set 'day_first' if "
            "the day stands first"
        )
    return bool(day_first.any())


def _parsed(texts: pd.Series, form: str, *, day_first: bool, zone: str | None) -> pd.Series:
    """Parse text; years before 1677 and after 2262, which pandas' nanoseconds do not reach, by Python's calendar."""
    parsed = pd.to_datetime(texts, errors="coerce", format=form, dayfirst=day_first, utc=True)
    parsed = (parsed if zone is None else parsed.dt.tz_convert(zone)).dt.tz_localize(None).astype("datetime64[us]")
    rest: Bool = np.asarray(parsed.isna() & texts.notna())
    for place in np.flatnonzero(rest).tolist():
        moment = _far_away(str(texts.iloc[place]).strip(), form)
        if moment is not None:
            parsed.iloc[place] = pd.Timestamp(moment).as_unit("us")
    return parsed


def _far_away(text: str, form: str) -> dt.datetime | None:
    try:
        moment = dt.datetime.fromisoformat(text) if form == "mixed" else dt.datetime.strptime(text, form)
    except ValueError:
        return None
    return moment.astimezone(dt.UTC).replace(tzinfo=None) if moment.tzinfo else moment
