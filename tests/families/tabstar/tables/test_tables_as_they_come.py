"""Tables as people have them: separators, marks, dates, indices, classes with odd names, columns nobody wants."""

from __future__ import annotations

import gzip
import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from tabstar_lit.errors import DataError
from tabstar_lit.families.tabstar.tables.converter import FileSource, Report, convert
from tabstar_lit.families.tabstar.tables.corpus import Corpus, Table
from tabstar_lit.families.tabstar.tables.files import named_columns
from tabstar_lit.families.tabstar.tables.manifest import read_manifest

N = 80
CLASSES = ["a" if i % 3 else "b" for i in range(N)]
Build = Callable[..., tuple[Table, tuple[str, ...]]]


def report_of(folder: Path, *entries: dict[str, object]) -> Report:
    (folder / "m.yaml").write_text(yaml.safe_dump(list(entries)))
    sources = [FileSource(entry, folder / entry.file) for entry in read_manifest(folder / "m.yaml")]
    return convert(sources, folder / "c.h5")


@pytest.fixture
def build(tmp_path: Path) -> Build:
    """Write a file, convert it under some keys, and return the table and what was said of it."""

    def run(content: str | bytes | pa.Table, name: str = "t.csv", **keys: object) -> tuple[Table, tuple[str, ...]]:
        path = tmp_path / name
        if isinstance(content, pa.Table):
            pq.write_table(content, path)
        else:
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
        entry = {"name": "toy", "file": name, "target": "kind", "task": "classification", **keys}
        report = report_of(tmp_path, entry)
        return Corpus.open(report.path).load("toy"), report.tables[0].warnings

    return run


def lines(*columns: list[object], header: str, separator: str = ",") -> str:
    rows = [separator.join(map(str, row)) for row in zip(*columns, strict=True)]
    return "\n".join([header, *rows, ""])


def numbers_of(table: Table, column: str) -> np.ndarray:
    """The column in its own unit, out of its z-scores."""
    own = next(entry for entry in table.schema["columns"] if entry["name"] == column)
    assert own["kind"] == "number"
    return table.numbers[:, table.feature_names.index(column)] * own["std"] + own["mean"]


# -- numbers ----------------------------------------------------------------------------------------------------------


def test_semicolons_and_decimal_commas_are_found_and_said(build: Build) -> None:
    sizes = [i + 0.25 for i in range(N)]
    text = lines([str(size).replace(".", ",") for size in sizes], CLASSES, header="size;kind", separator=";")
    table, said = build(text)
    np.testing.assert_allclose(numbers_of(table, "size"), sizes, rtol=1e-5)
    assert said[0] == "fields are separated by ';'"
    assert "column 'size' is read as numbers (decimal mark ',')" in said[1]


@pytest.mark.parametrize(("mark", "decimal"), [(",", "."), (".", ","), (" ", "."), ("'", ".")])
def test_thousands_are_numbers_whatever_their_mark(build: Build, mark: str, decimal: str) -> None:
    amounts = [17.5 + 1000.0 * i for i in range(N)]
    cells = [f'"{amount:,.2f}"'.translate(str.maketrans(",.", f"{mark}{decimal}")) for amount in amounts]
    table, said = build(lines(cells, CLASSES, header="revenue,kind"))
    np.testing.assert_allclose(numbers_of(table, "revenue"), amounts, rtol=1e-5)
    assert any("thousands apart by" in line for line in said)


def test_three_digits_behind_a_comma_may_be_either_and_stay_text_until_told(build: Build) -> None:
    text = lines([f'"{1 + i},{100 + i}"' for i in range(N)], CLASSES, header="x,kind")
    assert build(text)[0].schema["columns"][0]["kind"] == "text"
    for keys, first in (({"decimal": ","}, 1.1), ({"thousands": ","}, 1100.0)):
        table, _ = build(text, **keys)
        np.testing.assert_allclose(numbers_of(table, "x")[0], first, rtol=1e-5)


def test_decimals_with_a_mark_for_gaps_are_numbers_with_gaps(build: Build) -> None:
    doses = [round(0.37 * i + 0.01, 2) for i in range(N)]
    cells = ["?" if i % 20 == 7 else dose for i, dose in enumerate(doses)]
    table, said = build(lines(cells, CLASSES, header="dose,kind"))
    assert "column 'dose' is read as numbers ('?' missing)" in said[0]
    known = [i for i in range(N) if i % 20 != 7]
    np.testing.assert_allclose(numbers_of(table, "dose")[known], np.array(doses)[known], rtol=1e-4)
    assert table.vocabulary[table.codes[7, 0]].endswith("Feature Value: Unknown Value")


@pytest.mark.parametrize("written", ["${:,.2f}", "{:,.2f} €", "£ {:,.2f}", "{:.2f}%", "{:.2f} ‰"])
@pytest.mark.parametrize("sign", [1, -1])
def test_amounts_with_their_unit_are_numbers(build: Build, written: str, sign: int) -> None:
    amounts = [sign * (1017.5 + 7.0 * i) for i in range(N)]
    cells = ["?" if i == 3 else f'"{written.format(amount)}"' for i, amount in enumerate(amounts)]
    table, said = build(lines(cells, CLASSES, header="price,kind"))
    known = [i for i in range(N) if i != 3]
    np.testing.assert_allclose(numbers_of(table, "price")[known], np.array(amounts)[known], rtol=1e-4)
    unit = written.translate(str.maketrans("", "", "{:,.2f} "))
    assert f"in {unit}, '?' missing" in said[0]


def test_a_sign_before_the_unit_is_that_of_the_number(build: Build) -> None:
    cells = [f"{'-' if i % 2 else ''}${i}.5" for i in range(N)]
    table, _ = build(lines(cells, CLASSES, header="price,kind"))
    np.testing.assert_allclose(
        numbers_of(table, "price"), [(-1) ** i * (i + 0.5) for i in range(N)], rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize("other", ["5", "€5", "$5 a day", "free", "$"])
def test_units_that_differ_leave_a_doubt(build: Build, other: str) -> None:
    cells = [f"${i}" for i in range(N - 1)] + [other]
    assert build(lines(cells, CLASSES, header="price,kind"))[0].schema["columns"][0]["kind"] == "text"


def test_the_kind_of_a_column_can_be_said(build: Build) -> None:
    text = lines(
        [f"{i:03d}" for i in range(N)], [f"{i} kg" if i == 9 else i for i in range(N)], CLASSES, header="code,w,kind"
    )
    table, said = build(text, kinds={"code": "text", "w": "number"})
    kinds = {column["name"]: column["kind"] for column in table.schema["columns"]}
    assert kinds == {"code": "text", "w": "number"}
    assert "Predictive Feature: code\nFeature Value: 007" in table.vocabulary
    assert "column 'w' holds no number in 1 row (10): taken as missing" in said


def test_digits_of_other_scripts_are_digits(build: Build) -> None:
    cells = [str(100 + i).translate({ord(str(d)): chr(0x660 + d) for d in range(10)}) for i in range(N)]
    table, _ = build(lines(cells, CLASSES, header="count,kind"))
    np.testing.assert_allclose(numbers_of(table, "count"), np.arange(N) + 100.0, rtol=1e-5)


def test_integers_beyond_floats_are_left_out_with_the_true_reason_or_kept_as_text(build: Build) -> None:
    text = lines([10**24 + 7919 * i for i in range(N)], list(range(N)), CLASSES, header="serial,size,kind")
    table, said = build(text)
    assert "differ beyond the 15 digits of float64" in said[0]
    assert "serial" not in table.feature_names
    assert "serial" in build(text, kinds={"serial": "text"})[0].feature_names


# -- gaps, classes, names ---------------------------------------------------------------------------------------------


def test_none_is_a_class_where_the_manifest_says_what_a_gap_is(build: Build) -> None:
    grades = [("None", "Mild", "Severe")[i % 3] for i in range(N)]
    text = lines(list(range(N)), grades, header="size,kind")
    with pytest.raises(DataError, match=r"missing in 27 rows .* say under 'missing' which ones do not"):
        build(text)
    assert build(text, missing=[])[0].classes == ("Mild", "None", "Severe")


def test_whole_numbers_as_classes_stay_whole_beside_a_gap(build: Build) -> None:
    text = lines(list(range(N)), ["" if i == 5 else i % 2 for i in range(N)], header="size,kind")
    assert build(text, missing_target="drop")[0].classes == ("0", "1")


def test_classes_and_columns_get_other_names_in_the_texts(build: Build) -> None:
    moods = ["😀" if i % 3 else "😡" for i in range(N)]
    text = lines(list(range(N)), moods, header="size,kind")
    table, _ = build(text, class_names={"😀": "glad", "😡": "angry"}, rename={"size": "length", "kind": "mood"})
    assert table.classes == ("glad", "angry")
    assert table.vocabulary[0] == "Target Feature: mood\nFeature Value: glad"
    assert table.feature_names == ("length",)
    with pytest.raises(DataError, match="no class 'X' \\(named under 'class_names'\\)"):
        build(text, class_names={"X": "glad"})


def test_an_index_written_with_the_table_is_left_out_and_another_unnamed_column_can_be_ignored(build: Build) -> None:
    table, said = build(lines(list(range(N)), [i * 0.5 for i in range(N)], CLASSES, header=",size,kind"))
    assert table.feature_names == ("size",)
    assert said[0] == "column 'Unnamed: 0' has no name and counts the rows: it is left out"
    text = lines([i % 7 for i in range(N)], list(range(N)), CLASSES, header=",size,kind")
    assert build(text, ignore=["Unnamed: 0"])[0].feature_names == ("size",)
    assert build(text)[0].feature_names == ("Unnamed  0", "size")


def test_indices_of_a_table_written_twice_or_three_times_are_left_out(build: Build) -> None:
    index = list(range(N))
    table, said = build(lines(index, index, [i * 0.5 for i in index], CLASSES, header=",Unnamed: 0,size,kind"))
    assert table.feature_names == ("size",)
    assert [line.split("'")[1] for line in said[:2]] == ["Unnamed: 0.1", "Unnamed: 0"]
    table, _ = build(lines(index, index, index, CLASSES, CLASSES, header=",Unnamed: 0.1,Unnamed: 0,way,kind"))
    assert table.feature_names == ("way",)


def test_columns_without_a_name_are_called_as_pandas_calls_them() -> None:
    again = ["", "Unnamed: 0.1", "Unnamed: 0"]
    for header in (["", "a"], ["", "Unnamed: 0"], ["Unnamed: 0", ""], ["Unnamed: 2", "", "", "a"], again):
        text = ",".join(header) + "\n" + ",".join("1" for _ in header)
        assert named_columns(header) == list(pd.read_csv(io.StringIO(text)).columns)


def test_a_nul_in_a_cell_does_not_end_it(build: Build) -> None:
    table, _ = build(lines(["left\0right" if i % 2 else "up" for i in range(N)], CLASSES, header="way,kind"))
    assert "Predictive Feature: way\nFeature Value: left right" in table.vocabulary


def test_a_space_behind_each_separator_is_no_part_of_a_cell(build: Build) -> None:
    sizes, words = [f"{i * 0.5}" if i % 9 else "NA" for i in range(N)], [f'"tall, {i % 2}"' for i in range(N)]
    table, said = build(lines(sizes, words, CLASSES, header="size, shape, kind", separator=", "))
    assert said[0] == "spaces behind separators are left out"
    assert (table.classes, table.feature_names) == (("a", "b"), ("shape", "size"))
    assert "Predictive Feature: shape\nFeature Value: tall, 1" in table.vocabulary
    assert numbers_of(table, "size")[1:4] == pytest.approx([0.5, 1.0, 1.5], abs=1e-5)
    table, said = build(lines(sizes, words, CLASSES, header="size,shape, kind"), target=" kind")
    assert (said, table.feature_names) == ((), ("shape", "size"))


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("name", ["t.csv", "t.csv.gz"])
def test_unicode_is_known_by_its_mark(build: Build, encoding: str, name: str) -> None:
    text = lines([f"café {i % 2}" for i in range(N)], CLASSES, header="drink,kind")
    content = (text if encoding in ("utf-8-sig", "utf-16") else "\ufeff" + text).encode(encoding)
    table, _ = build(gzip.compress(content) if name.endswith(".gz") else content, name)
    assert "Predictive Feature: drink\nFeature Value: café 0" in table.vocabulary


def test_other_encodings_are_read_when_named(build: Build) -> None:
    content = lines(["café" if i % 2 else "thé" for i in range(N)], CLASSES, header="drink,kind").encode("cp1252")
    with pytest.raises(DataError, match=r"t\.csv:2: not UTF-8 .* give its 'encoding'"):
        build(content)
    assert "Predictive Feature: drink\nFeature Value: café" in build(content, encoding="cp1252")[0].vocabulary


def test_four_hundred_classes_of_three_rows_hold_out_about_a_tenth(build: Build) -> None:
    table, _ = build(lines(list(range(1200)), [f"city {i % 400}" for i in range(1200)], header="size,kind"))
    assert 0.04 < table.is_validation.mean() < 0.12
    assert len(set(table.targets[~table.is_validation].tolist())) == 400


# -- dates ------------------------------------------------------------------------------------------------------------


def months_of(table: Table) -> list[int]:
    return numbers_of(table, "day_month").round().astype(int).tolist()


def test_a_date_that_can_only_be_day_first_tells_for_its_whole_column(build: Build) -> None:
    days = [f"{1 + i % 28:02d}/{1 + i % 12:02d}/2024" for i in range(N)]
    table, _ = build(lines(list(range(N)), days, CLASSES, header="size,day,kind"), dates=["day"])
    assert months_of(table) == [1 + i % 12 for i in range(N)]
    doubtful = [f"{1 + i % 11:02d}/{1 + i % 12:02d}/2024" for i in range(N)]
    text = lines(list(range(N)), doubtful, CLASSES, header="size,day,kind")
    table, said = build(text, dates=["day"])
    assert any("are read month first, as no cell tells; set 'day_first'" in line for line in said)
    assert months_of(table) == [1 + i % 11 for i in range(N)]
    assert months_of(build(text, dates=["day"], day_first=True)[0]) == [1 + i % 12 for i in range(N)]


def test_a_column_with_days_and_months_first_is_refused(build: Build) -> None:
    days = ["13/01/2024" if i % 2 else "01/13/2024" for i in range(N)]
    with pytest.raises(DataError, match=r"'day' has the day first in 40 rows \(2, .*month first in 40 rows \(1, "):
        build(lines(list(range(N)), days, CLASSES, header="size,day,kind"), dates=["day"])


@pytest.mark.parametrize(
    ("cells", "keys"),
    [
        ([f"2024{1 + i % 12:02d}{1 + i % 28:02d}" for i in range(N)], {}),
        ([int(pd.Timestamp(2024, 1 + i % 12, 15).timestamp()) for i in range(N)], {}),
        ([int(pd.Timestamp(2024, 1 + i % 12, 15).timestamp() * 1000) for i in range(N)], {}),
        ([f"{1 + i % 12} of 24" for i in range(N)], {"date_formats": {"day": "%m of %y"}}),
        ([int(pd.Timestamp(2024, 1 + i % 12, 15).timestamp()) for i in range(N)], {"date_formats": {"day": "s"}}),
    ],
)
def test_numbers_and_formats_are_dates(build: Build, cells: list[object], keys: dict[str, object]) -> None:
    table, _ = build(lines(list(range(N)), cells, CLASSES, header="size,day,kind"), dates=["day"], **keys)
    assert months_of(table) == [1 + i % 12 for i in range(N)]


def test_years_are_years_and_other_counts_are_asked_about(build: Build) -> None:
    table, said = build(lines([1950 + i for i in range(N)], CLASSES, header="day,kind"), dates=["day"])
    np.testing.assert_allclose(numbers_of(table, "day_year"), 1950 + np.arange(N), rtol=1e-4)
    assert said[0] == "column 'day': its numbers are read as years"
    with pytest.raises(DataError, match=r"such as 5, which may count anything\. Say under 'date_formats'"):
        build(lines([5 + i for i in range(N)], CLASSES, header="day,kind"), dates=["day"])


def test_dates_far_from_ours_are_dates(build: Build) -> None:
    days = ["9999-12-31" if i % 2 else "0001-01-01" for i in range(N)]
    kinds = pa.array(CLASSES)
    frame = pa.table({"day": pa.array(days).cast(pa.date32()), "kind": kinds})
    for table in (
        build(lines(list(range(N)), days, CLASSES, header="size,day,kind"), dates=["day"])[0],
        build(frame, "t.parquet")[0],
    ):
        years = numbers_of(table, "day_year")
        np.testing.assert_allclose([years[0], years[1]], [1, 9999], rtol=1e-3, atol=1)


def test_a_clock_of_a_time_zone(build: Build) -> None:
    times = [f"2024-01-{1 + i % 28:02d}T{i % 24:02d}:30:00+00:00" for i in range(N)]
    text = lines(times, CLASSES, header="day,kind")
    tokyo = numbers_of(build(text, dates=["day"], time_zone="Asia/Tokyo")[0], "day_hour").round().astype(int)
    assert tokyo.tolist() == [(i + 9) % 24 for i in range(N)]


# -- Parquet ----------------------------------------------------------------------------------------------------------


def test_columns_under_ignore_are_not_looked_at(build: Build) -> None:
    content = {"emb": pa.array([[1.0, 2.0]] * N), "size": pa.array(range(N)), "kind": pa.array(CLASSES)}
    with pytest.raises(DataError, match=r"column 'emb' holds list<.*>, not single values"):
        build(pa.table(content), "t.parquet")
    assert build(pa.table(content), "t.parquet", ignore=["emb"])[0].feature_names == ("size",)
    with pytest.raises(DataError, match=r"no column 'enb' \(named under 'ignore'\). Did you mean 'emb'"):
        build(pa.table(content), "t.parquet", ignore=["enb", "emb"])


@pytest.mark.parametrize(
    "cells",
    [
        pa.FixedShapeTensorArray.from_numpy_ndarray(np.zeros((N, 2), dtype=np.float32)),
        pa.array([bytes(16)] * N, type=pa.binary(16)),
        pa.array([{"x": 1}] * N),
    ],
)
def test_what_is_no_cell_is_named_with_its_column(build: Build, cells: pa.Array) -> None:
    with pytest.raises(DataError, match=r"column 'img' holds .*, not single values. Ignore or flatten it"):
        build(pa.table({"img": cells, "size": pa.array(range(N)), "kind": pa.array(CLASSES)}), "t.parquet")


def test_uuids_are_text_and_a_packed_name_is_parquet(build: Build) -> None:
    ids = pa.array([bytes([i % 2] * 16) for i in range(N)], type=pa.binary(16)).cast(pa.uuid())
    table, _ = build(pa.table({"id": ids, "kind": pa.array(CLASSES)}), "t.parquet.gzip")
    assert "Predictive Feature: id\nFeature Value: 01010101-0101-0101-0101-010101010101" in table.vocabulary


def test_gzip_without_its_name_is_called_so(build: Build) -> None:
    with pytest.raises(DataError, match=r"is packed by gzip. Name it t\.csv\.gz"):
        build(gzip.compress(lines(list(range(N)), CLASSES, header="size,kind").encode()))


def test_a_date_that_gives_a_name_that_is_there_names_the_date(build: Build) -> None:
    days = pa.array(pd.date_range("2020-01-01", periods=N))
    content = pa.table({"sold": days, "sold_year": pa.array(range(N)), "kind": pa.array(CLASSES)})
    with pytest.raises(DataError, match="the date 'sold' gives a column 'sold_year', and the table has one"):
        build(content, "t.parquet")
    assert "year" in build(content, "t.parquet", rename={"sold_year": "year"})[0].feature_names


# -- many tables, wide tables -----------------------------------------------------------------------------------------


def test_one_broken_table_does_not_cost_the_others(tmp_path: Path) -> None:
    (tmp_path / "good.csv").write_text(lines(list(range(N)), CLASSES, header="size,kind"))
    (tmp_path / "bad.csv").write_text("size,kind\n1,2,3\n")
    entries = [
        {"name": name, "file": f"{name}.csv", "target": "kind", "task": "classification"} for name in ("good", "bad")
    ]
    report = report_of(tmp_path, *entries)
    assert Corpus.open(report.path).tables == ("good",)
    assert report.problems[0].startswith("table 'bad' (bad.csv): ")
    (tmp_path / "bad.csv").write_text((tmp_path / "good.csv").read_text())
    report = report_of(tmp_path, *entries)
    assert [(row.name, row.kept) for row in report.tables] == [("good", True), ("bad", False)]
    assert report.problems == ()
