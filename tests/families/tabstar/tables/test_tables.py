"""Reading: what pandas lets through in silence is an error with a place."""

from __future__ import annotations

import datetime as dt
import decimal
import gzip
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tabstar_lit.data.source_files import file_sha256
from tabstar_lit.errors import DataError
from tabstar_lit.families.tabstar.tables.files import read_table

GOOD = "a,b,c\n1,x,\n2,y,3.5\n3,NA,4\n"


def save(path: Path, content: str | bytes) -> Path:
    data = content.encode() if isinstance(content, str) else content
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


@pytest.mark.parametrize("name", ["t.csv", "t.csv.gz", "T.CSV", "t.tsv", "t.tsv.gz"])
def test_text_tables_read_as_pandas_does(tmp_path: Path, name: str) -> None:
    tabs = ".tsv" in name
    table = read_table(save(tmp_path / name, GOOD.replace(",", "\t") if tabs else GOOD))
    expected = pd.DataFrame({"a": [1, 2, 3], "b": ["x", "y", np.nan], "c": [np.nan, 3.5, 4.0]})
    pd.testing.assert_frame_equal(table.frame, expected)
    assert len(set(table.ids.tolist())) == 3


def test_quotes_breaks_blank_lines_and_a_byte_order_mark(tmp_path: Path) -> None:
    text = '\ufeff"a ""1""",b\r\n"x,\ny",1\r\n\r\n"",2\r\n'
    table = read_table(save(tmp_path / "t.csv", text))
    assert table.frame.columns.tolist() == ['a "1"', "b"]
    assert table.frame.iloc[:, 0].tolist()[0] == "x,\ny"
    assert len(table.ids) == len(table.frame) == 2


def test_appending_rows_that_change_a_type_keeps_the_ids(tmp_path: Path) -> None:
    before = read_table(save(tmp_path / "t.csv", GOOD)).ids
    after = read_table(save(tmp_path / "u.csv", GOOD + "some,more,text\n"))
    assert not pd.api.types.is_numeric_dtype(after.frame["a"].dtype)
    assert after.ids[:3].tolist() == before.tolist()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "is empty"),
        ("\n \n", "is empty"),
        ("a,b\n", "has a header but no rows"),
        ("a,b\n1,2\n1,2,3\n", r"t\.csv:3: 3 fields, but the header has 2"),
        ("a,b\n1\n", r"t\.csv:2: 1 fields, but the header has 2"),
        ("a,b\n1,2,3\n4,5,6\n", r"t\.csv:2: 3 fields"),
        ("a,b,a\n1,2,3\n", "column name 'a' stands over columns 1, 3"),
        ('a,b\n1,"2\n', r"t\.csv:2: 2 fields|cannot be read as a table"),
        (b"a,b\n1,\xe9\n", r"t\.csv:2: not UTF-8 \(byte 0xe9\)"),
    ],
)
def test_bad_text_tables_are_located(tmp_path: Path, content: str | bytes, words: str) -> None:
    with pytest.raises(DataError, match=words):
        read_table(save(tmp_path / "t.csv", content))


def test_files_that_are_no_tables(tmp_path: Path) -> None:
    (tmp_path / "folder.csv").mkdir()
    (tmp_path / "broken.csv.gz").write_bytes(gzip.compress(GOOD.encode())[:-9])
    (tmp_path / "not.csv.gz").write_text(GOOD)
    (tmp_path / "not.parquet").write_text(GOOD)
    (tmp_path / "t.xlsx").write_text(GOOD)
    for name, words in {
        "missing.csv": "no such file",
        "folder.csv": "cannot be read",
        "broken.csv.gz": "damaged or not a gzip file",
        "not.csv.gz": "damaged or not a gzip file",
        "not.parquet": "damaged or not a Parquet file",
        "t.xlsx": r"unknown kind of table '\.xlsx'. Known: \.csv, \.tsv, \.txt, \.csv\.gz",
    }.items():
        with pytest.raises(DataError, match=words):
            read_table(tmp_path / name)


def test_parquet_types_become_numbers_dates_and_text(tmp_path: Path) -> None:
    day = dt.date(2020, 2, 29)
    table = pa.table(
        {
            "whole": pa.array([1, None], pa.int32()),
            "flag": [True, False],
            "day": [day, None],
            "moment": [dt.datetime(2020, 1, 1, 5), None],
            "span": [dt.timedelta(hours=1), None],
            "money": [decimal.Decimal("1.25"), None],
            "clock": [dt.time(5, 30), None],
            "word": pa.array(["u", None]).dictionary_encode(),
        }
    )
    pq.write_table(table, tmp_path / "t.parquet")
    frame = read_table(tmp_path / "t.parquet").frame
    assert frame["whole"].tolist()[0] == 1.0
    assert frame["day"].tolist()[0] == pd.Timestamp(day)
    assert pd.api.types.is_datetime64_any_dtype(frame["moment"].dtype)
    assert frame["span"].tolist()[0] == 3600.0
    assert frame["money"].tolist()[0] == 1.25
    assert frame["clock"].tolist()[0].startswith("05:30")
    assert frame["word"].tolist()[0] == "u"
    assert frame.iloc[1].isna().tolist() == [True, False, True, True, True, True, True, True]


def test_parquet_and_csv_of_the_same_table_give_the_same_frame(tmp_path: Path) -> None:
    csv = read_table(save(tmp_path / "t.csv", GOOD)).frame
    csv.set_axis([7, 5, 6]).to_parquet(tmp_path / "t.pq")  # pandas stores this index as one more column
    read = read_table(tmp_path / "t.pq").frame
    pd.testing.assert_frame_equal(read.where(read.notna(), np.nan), csv)


def test_parquet_with_lists_bytes_duplicates_or_nothing_is_refused(tmp_path: Path) -> None:
    twice = pa.table([pa.array([1]), pa.array([2])], names=["a", "a"])
    for table, words in [
        (pa.table({"list": [[1, 2]]}), "column 'list' holds list<"),
        (pa.table({"raw": [b"\x00"]}), "column 'raw' holds binary"),
        (twice, "column name 'a' stands over columns 1, 2"),
        (pa.table({"a": pa.array([], pa.int64())}), "has columns but no rows"),
    ]:
        pq.write_table(table, tmp_path / "t.parquet")
        with pytest.raises(DataError, match=words):
            read_table(tmp_path / "t.parquet")


def test_the_fingerprint_of_a_file_follows_its_bytes(tmp_path: Path) -> None:
    first = file_sha256(save(tmp_path / "t.csv", GOOD))
    assert first == file_sha256(save(tmp_path / "u.csv", GOOD))
    assert first != file_sha256(save(tmp_path / "t.csv", GOOD + "4,z,5\n"))
