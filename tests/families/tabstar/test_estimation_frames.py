"""Columns of every type that pandas has become what the preprocessing knows, and say the same."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tabstar_lit.errors import DataError
from tabstar_lit.families.tabstar.estimation.fitting import free_name, wall_time
from tabstar_lit.families.tabstar.estimation.frames import feature_frame, matched, plain_column

WHEN = [dt.datetime(2024, 2, 29, 12), None, dt.datetime(2024, 3, 1)]


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (pd.array([1, None, 3], dtype="Int64"), [1.0, np.nan, 3.0]),
        (pd.array([True, None, False], dtype="boolean"), [1.0, np.nan, 0.0]),
        (pd.array([1.5, None], dtype="Float32"), [1.5, np.nan]),
        (np.array([True, False]), [1.0, 0.0]),
        ([Decimal("1.5"), None, Decimal("2")], [1.5, np.nan, 2.0]),
        (pd.to_timedelta([1, 2], unit="min"), [60.0, 120.0]),
        (pd.arrays.SparseArray([0, 0, 7]), [0.0, 0.0, 7.0]),
        (pd.array(["a", None], dtype="string"), ["a", None]),
        (pd.Categorical(["b", None, "a"]), ["b", None, "a"]),
        (pd.Categorical([3, None, 1]), ["3", None, "1"]),
        ([1, "a", None], ["1", "a", None]),
        ([True, None, False], ["True", None, "False"]),
        (WHEN, [pd.Timestamp(own) for own in WHEN]),
        ([own and own.date() for own in WHEN], [pd.Timestamp("2024-02-29"), pd.NaT, pd.Timestamp("2024-03-01")]),
        (pd.period_range("2024-02", periods=2, freq="M"), [pd.Timestamp("2024-02-01"), pd.Timestamp("2024-03-01")]),
    ],
)
def test_a_column_becomes_number_date_or_text(column: Any, expected: list[object]) -> None:
    seen = plain_column("c", pd.Series(column, index=range(len(column), 0, -1)))
    assert [own if pd.notna(own) else None for own in seen] == [own if pd.notna(own) else None for own in expected]
    assert list(seen.index) == list(range(len(seen)))
    plain = pd.api.types.is_numeric_dtype(seen.dtype) or pd.api.types.is_datetime64_any_dtype(seen.dtype)
    assert plain or all(own is None or isinstance(own, str) for own in seen.astype(object).where(seen.notna(), None))


def test_times_keep_their_zone() -> None:
    zoned = pd.Series(pd.date_range("2024-03-31", periods=2, freq="h", tz="Europe/Ljubljana"))
    seen = plain_column("c", zoned)
    assert str(seen.dt.tz) == "Europe/Ljubljana"
    assert (seen == zoned).all()


def test_arrays_and_lists_have_columns_by_number() -> None:
    frame = feature_frame([[1, "a"], [2, "b"]])
    assert [*frame] == ["0", "1"]
    pd.testing.assert_frame_equal(feature_frame(np.eye(2)), feature_frame(pd.DataFrame(np.eye(2))))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (pd.DataFrame({1: [0], "1": [0]}), "several columns called '1'"),
        (pd.DataFrame({"a": []}), "0 rows and 1 columns"),
        (pd.DataFrame(index=[0, 1]), "2 rows and 0 columns"),
        (pd.DataFrame({"a": [1j]}), "Complex data not supported: column 'a'"),
    ],
)
def test_what_is_no_table_is_refused(data: pd.DataFrame, words: str) -> None:
    with pytest.raises(DataError, match=words):
        feature_frame(data)


def test_columns_are_matched_by_name() -> None:
    frame = pd.DataFrame({"b": [1], "a": [2], "c": [3]})
    with pytest.warns(UserWarning, match="ignored: c"):
        assert [*matched(frame, ["a", "b"])] == ["a", "b"]
    with pytest.raises(DataError, match=r"no column 'aa', which fit had\. .*'a'"):
        matched(frame, ["aa", "b"])


def test_names_and_times_are_written_as_the_engine_has_them() -> None:
    assert free_name("weight", ["weight", "weight of it"]) == "weight of it of it"
    assert [wall_time(seconds) for seconds in (0.2, 61, 90_061)] == ["00:00:00:01", "00:00:01:01", "01:01:01:01"]
