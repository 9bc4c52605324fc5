"""Dates become numbers as pandas and Python's own calendar have them."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tabstar_lit.families.tabstar.tables.dates import PARTS, date_columns, expand_dates, fit_dates

MOMENTS = st.datetimes(dt.datetime(1800, 1, 1), dt.datetime(2200, 1, 1)).map(
    lambda moment: moment.replace(microsecond=0)
)


def frame_of(times: object, **others: object) -> pd.DataFrame:
    return pd.DataFrame({"t": times, **others})


@given(st.lists(MOMENTS, min_size=1, max_size=5), st.sampled_from(["s", "ms", "us", "ns"]))
def test_parts_are_those_of_the_calendar_before_1970_too(moments: list[dt.datetime], unit: str) -> None:
    column = pd.Series(moments).astype(f"datetime64[{unit}]")
    numbers = expand_dates(frame_of(column), {"t": PARTS})
    for part, expected in {
        "year": [m.year for m in moments],
        "month": [m.month for m in moments],
        "day": [m.day for m in moments],
        "hour": [m.hour for m in moments],
        "weekday": [m.isoweekday() for m in moments],
        "total_seconds": [(m - dt.datetime(1970, 1, 1)).total_seconds() for m in moments],
    }.items():
        np.testing.assert_array_equal(numbers[f"t_{part}"], np.array(expected, dtype=np.float32))
    assert set(numbers.dtypes) == {np.dtype(np.float32)}


def test_missing_dates_are_missing_numbers_in_every_part() -> None:
    numbers = expand_dates(frame_of(pd.to_datetime(["2020-02-29 13:00", None])), {"t": PARTS})
    assert numbers.iloc[0].tolist() == [2020, 2, 29, 13, np.float32(1582981200), 6]
    assert numbers.iloc[1].isna().all()


def test_the_clock_on_the_wall_counts_not_the_time_in_greenwich() -> None:
    column = pd.Series(pd.to_datetime(["2021-01-01 00:30"])).dt.tz_localize("Asia/Tokyo")
    numbers = expand_dates(frame_of(column), {"t": PARTS}).iloc[0]
    assert (numbers["t_year"], numbers["t_hour"], numbers["t_weekday"]) == (2021, 0, 5)


@pytest.mark.parametrize(
    ("times", "has_hour"),
    [
        (["2020-01-01", "2020-01-02"], False),
        (["2020-01-01", None], False),
        (["2020-01-01", "2020-01-02 00:00:01"], True),
        ([None, "2020-01-02 05:00"], True),
        ([None, None], False),
    ],
)
def test_only_a_column_that_is_always_midnight_has_no_hour(times: list[str | None], has_hour: bool) -> None:
    parts = fit_dates(frame_of(pd.to_datetime(times, format="ISO8601")))
    assert parts == {"t": [part for part in PARTS if has_hour or part != "hour"]}


def test_midnight_is_that_of_the_columns_own_zone() -> None:
    local = pd.Series(pd.to_datetime(["2020-01-01", "2020-07-01"])).dt.tz_localize("Asia/Tokyo")
    assert "hour" not in fit_dates(frame_of(local))["t"]
    assert "hour" in fit_dates(frame_of(local.dt.tz_convert("UTC")))["t"]


def test_new_columns_stand_at_the_end_and_the_rest_is_untouched() -> None:
    times = pd.to_datetime(["2020-01-01", "2020-01-02"])
    frame = pd.DataFrame({"a": [1, 2], "u": times, "b": ["x", None], "t": times}, index=[7, 3])
    assert date_columns(frame) == ["u", "t"]
    expanded = expand_dates(frame, {"u": ["year"], "t": ["day", "month"]})
    assert list(expanded.columns) == ["a", "b", "u_year", "t_day", "t_month"]
    pd.testing.assert_frame_equal(expanded[["a", "b"]], frame[["a", "b"]])
    assert expanded.loc[3, "t_day"] == 2.0
    assert list(frame.columns) == ["a", "u", "b", "t"], "the frame that was given is not changed"


def test_text_and_numbers_are_no_dates() -> None:
    frame = frame_of(["2020-01-01", "2020-01-02"], n=[20200101, 20200102], o=[dt.date(2020, 1, 1)] * 2)
    assert date_columns(frame) == []
    pd.testing.assert_frame_equal(expand_dates(frame, fit_dates(frame)), frame)
