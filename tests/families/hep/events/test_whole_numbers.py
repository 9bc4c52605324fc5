"""Whole numbers stay whole up to 64 bits: judged by Python's own, which have no end."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import uproot
from by_hand import convert, texts
from hypothesis import given
from hypothesis import strategies as st

from tabstar_lit.errors import DataError
from tabstar_lit.families.hep.events.expressions import Expression, Jagged

LONG = [2**53 + step for step in range(8)]
BIGGEST = [2**64 - 1, 2**63, 2**63 - 1, 0, 5, 2**53 + 1, 2, 3]
PYTHON = {"+": int.__add__, "-": int.__sub__, "*": int.__mul__, "%": int.__mod__}
whole = st.integers(-(2**63), 2**63 - 1)


def write(path: Path, **columns: np.ndarray) -> None:
    match path.suffix:
        case ".csv":
            pd.DataFrame(columns).to_csv(path, index=False)
        case ".parquet":
            pq.write_table(pa.table(columns), path)
        case _:
            with uproot.recreate(path) as file:
                file.mktree("t", {name: values.dtype for name, values in columns.items()})
                file["t"].extend(columns)


@pytest.mark.parametrize("kind", ["csv", "parquet", "root"])
def test_parities_of_long_event_numbers_choose_every_second_event(tmp_path: Path, kind: str) -> None:
    write(tmp_path / f"t.{kind}", n=np.array(LONG), x=np.arange(8.0))
    config = f"sources: [{{file: t.{kind}}}]\nevent_id: n\ncuts: [n % 2 == 0]\nchunk_rows: 3\ncolumns: {{x: }}"
    file = convert(tmp_path, config)
    assert file.event_ids().tolist() == LONG[::2]
    assert file.column("x").tolist() == [0, 2, 4, 6]


@pytest.mark.parametrize("kind", ["csv", "parquet", "root"])
def test_ids_have_all_64_bits(tmp_path: Path, kind: str) -> None:
    write(tmp_path / f"t.{kind}", n=np.array(BIGGEST, np.uint64))
    config = f"sources: [{{file: t.{kind}}}]\nevent_id: n\ncolumns: {{odd: n % 2, high: n > 9223372036854775807}}"
    file = convert(tmp_path, config)
    assert file.event_ids().tolist() == BIGGEST
    assert file.column("odd").tolist() == [number % 2 for number in BIGGEST]
    assert file.column("high").tolist() == [number > 2**63 - 1 for number in BIGGEST]


def test_long_numbers_are_categories_with_every_digit(tmp_path: Path) -> None:
    write(tmp_path / "t.parquet", n=np.array([*LONG[:3], -1]))
    config = "sources: [{file: t.parquet}]\ncolumns: {n: {kind: categorical, missing_code: -1}}"
    assert texts(convert(tmp_path, config), "n") == [*map(str, LONG[:3]), None]


@given(st.sampled_from(sorted(PYTHON)), whole, whole)
def test_arithmetic_is_pythons_or_refused(sign: str, left: int, right: int) -> None:
    expression, columns = Expression(f"a {sign} b"), {"a": np.array([left, 1]), "b": np.array([right, 1])}
    if sign == "%" and right == 0:
        right, columns["b"] = 7, np.array([7, 1])
    expected = PYTHON[sign](left, right)
    if -(2**63) <= expected < 2**64 and not (expected >= 2**63 and min(PYTHON[sign](1, 1), 0) < 0):
        value = expression(columns, 2)
        assert isinstance(value, np.ndarray)
        assert int(value[0]) == expected
    else:
        with pytest.raises(DataError, match="does not fit into 64 bits"):
            expression(columns, 2)


@given(st.lists(st.lists(whole, max_size=3), min_size=1, max_size=5))
def test_sums_of_objects_are_pythons_or_refused(events: list[list[int]]) -> None:
    column = Jagged(np.array([n for own in events for n in own], np.int64), np.array([len(own) for own in events]))
    expected = [sum(own) for own in events]
    if all(-(2**63) <= total < 2**63 for total in expected):
        assert np.asarray(Expression("sum(a)")({"a": column}, len(events))).tolist() == expected
    elif min(expected) < -(2**63) or max(expected) >= 2**64 or min(expected) < 0:
        with pytest.raises(DataError, match="does not fit into 64 bits"):
            Expression("sum(a)")({"a": column}, len(events))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("(a > 1) + (a > 2)", [0, 1, 2]),
        ("a % 0", [np.nan] * 3),
        ("a ** 2", [1, 4, 9]),
        ("a ** -1", [1, 1 / 2, 1 / 3]),
        ("a % 2**40", [1, 2, 3]),
        ("a / 2", [0.5, 1, 1.5]),
        ("-a", [-1, -2, -3]),
        ("where(a > 1, a, 0.5)", [0.5, 2, 3]),
        ("sqrt(a > 1)", [0, 1, 1]),
    ],
)
def test_small_numbers_count_as_before(text: str, expected: list[float]) -> None:
    np.testing.assert_array_equal(Expression(text)({"a": np.array([1, 2, 3])}, 3), expected)


def test_digits_that_a_fraction_beside_would_lose_are_refused(tmp_path: Path) -> None:
    columns = {"a": np.array(LONG[:2]), "b": np.array([0, 1])}
    with pytest.raises(DataError, match=r"whole numbers over 2\^53 beside fractions or missing values"):
        Expression("where(b > 0, a, missing)")(columns, 2)
    pq.write_table(pa.table({"n": pa.array([2**53 + 1, None])}), tmp_path / "t.parquet")
    with pytest.raises(DataError, match=r"t\.parquet: 'n' has whole numbers over 2\^53 beside gaps"):
        convert(tmp_path, "sources: [{file: t.parquet}]\nevent_id: n\ncolumns: {n: }")
