"""Every format gives the same events: what another library wrote comes out, whatever the size of the chunks."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path

import awkward as ak
import h5py
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import uproot
from by_hand import convert, lists, texts
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tabstar_lit.data.source_files import file_sha256
from tabstar_lit.errors import DataError
from tabstar_lit.families.hep.events.expressions import Jagged
from tabstar_lit.families.hep.events.readers import FORMATS, open_reader

PT = [[1.5, 0.25], [], [3.0], [], [], [7.0, -8.0, 9.5]]
X = [0.5, -1.0, 2.0, 1e-30, 4.0, 5.25]
KIND = ["mu", "e", "é", "e", "tau", "mu"]
RUN = [1, 2, 2, 1, 1, 2]


def write_parquet(path: Path) -> None:
    pq.write_table(pa.table({"x": X, "jets.pt": PT, "kind": KIND, "run": RUN}), path, row_group_size=4)


def write_hdf5(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file["x"], file["run"], file["kind"] = X, np.array(RUN, np.int16), KIND
        file["jets/pt"] = np.concatenate(PT)
        file["jets/offsets"] = np.cumsum([0, *map(len, PT)])
        file["image"] = np.zeros((6, 2, 2))  # no column: it has three dimensions


def write_root(path: Path) -> None:
    with uproot.recreate(path) as file:
        file.mktree("events", {"x": "f8", "run": "i4", "kind": "string", "jets": "var * float64"})
        file["events"].extend({"x": X, "run": RUN, "kind": KIND, "jets": ak.Array(PT)})


WRITERS: dict[str, tuple[Callable[[Path], None], str]] = {
    "e.parquet": (write_parquet, "jets.pt"),
    "e.pq": (write_parquet, "jets.pt"),
    "e.h5": (write_hdf5, "jets.pt"),
    "E.HDF5": (write_hdf5, "jets.pt"),
    "e.root": (write_root, "jets"),
}


@pytest.mark.parametrize("rows", [1, 4, 100])
@pytest.mark.parametrize("name", WRITERS)
def test_every_format_gives_the_same_events_in_chunks_of_any_size(tmp_path: Path, name: str, rows: int) -> None:
    write, pt = WRITERS[name]
    write(tmp_path / name)
    reader = open_reader(tmp_path / name)
    assert reader.n_events == len(X)
    assert {"x", "run", "kind", pt} <= set(reader.names)
    assert "image" not in reader.names
    parts = list(reader.chunks(["x", "run", "kind", pt], ["kind", "run"], rows))
    assert [part.start for part in parts] == [0, *np.cumsum([part.n for part in parts])[:-1]]
    assert max(part.n for part in parts) <= rows

    def whole(column: str) -> np.ndarray:
        values = [part.columns[column] for part in parts]
        return np.concatenate([value.values if isinstance(value, Jagged) else value for value in values])

    np.testing.assert_array_equal(whole("x"), X)
    assert whole("run").tolist() == [str(run) for run in RUN], "asked for as text"
    assert whole("kind").tolist() == KIND
    np.testing.assert_array_equal(whole(pt), np.concatenate(PT))
    jagged = [part.columns[pt] for part in parts]
    counts = np.concatenate([value.counts for value in jagged if isinstance(value, Jagged)])
    assert counts.tolist() == [len(part) for part in PT]


@pytest.mark.parametrize("name", ["e.csv", "e.csv.gz"])
def test_csv_of_a_spreadsheet_in_utf_16_is_read(tmp_path: Path, name: str) -> None:
    frame = pd.DataFrame({"größe": [1.5, None], "whole": [1, 2], "kind": ["Z→ee", "tt"]})
    frame.to_csv(tmp_path / name, index=False, encoding="utf-16")
    reader = open_reader(tmp_path / name)
    assert reader.names == ("größe", "whole", "kind")
    (chunk,) = reader.read(reader.names, ["kind"], 10)
    assert (chunk.columns["kind"].tolist(), chunk.columns["whole"].tolist()) == (["Z→ee", "tt"], [1, 2])


@pytest.mark.parametrize(
    ("name", "separator"), [("e.tsv", "\t"), ("e.TSV.gz", "\t"), ("e.csv.gz", ","), ("e.csv", ",")]
)
def test_tables_of_text_are_read_with_their_separator(tmp_path: Path, name: str, separator: str) -> None:
    compression = "gzip" if name.endswith("gz") else None
    pd.DataFrame({"x": X, "kind": KIND}).to_csv(tmp_path / name, sep=separator, index=False, compression=compression)
    reader = open_reader(tmp_path / name)
    assert (reader.names, reader.n_events) == (("x", "kind"), None)
    parts = list(reader.chunks(["x"], [], 4))
    assert [(part.start, part.n, list(part.columns)) for part in parts] == [(0, 4, ["x"]), (4, 2, ["x"])]
    np.testing.assert_allclose(np.concatenate([part.columns["x"] for part in parts]), X, rtol=1e-15)


@pytest.mark.parametrize("large", [False, True])
def test_missing_lists_of_parquet_are_empty_and_missing_members_are_missing(tmp_path: Path, *, large: bool) -> None:
    kind = (pa.large_list if large else pa.list_)(pa.int64())
    pq.write_table(pa.table({"n": pa.array([[1, None], None, [], [3]], kind)}), tmp_path / "e.parquet")
    config = "sources: [{file: e.parquet}]\nobjects: {hits: {columns: {n: {%s}}}}"
    file = convert(tmp_path, config % "nullable: true")
    np.testing.assert_array_equal(np.concatenate(lists(file, "hits", "n")), [1, np.nan, 3])
    assert np.diff(file.offsets("hits")).tolist() == [2, 0, 0, 1]
    with pytest.raises(DataError, match=r"e\.parquet: column 'hits\.n': 1 values are missing .* rows 0, counted"):
        convert(tmp_path, config % "unit: mm", "other.h5")


def test_lists_of_texts_become_categories_of_objects(tmp_path: Path) -> None:
    pq.write_table(pa.table({"flavour": [["b", "q"], [], ["g", "b"]]}), tmp_path / "e.parquet")
    file = convert(tmp_path, "sources: [{file: e.parquet}]\nobjects: {jets: {columns: {flavour: {kind: categorical}}}}")
    assert file.objects["jets"].columns["flavour"].categories == ("b", "g", "q")
    assert lists(file, "jets", "flavour") == [[0, 2], [], [1, 0]]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (pa.array([1, None, 3]), [1, np.nan, 3]),
        (pa.array([True, None, False]), [1, np.nan, 0]),
        (pa.array([1.5, None, 2.5], pa.float32()), [1.5, np.nan, 2.5]),
        (pa.array([7, 8, 7]).dictionary_encode(), [7, 8, 7]),
    ],
)
def test_numbers_of_parquet_keep_their_gaps(tmp_path: Path, values: pa.Array, expected: list[float]) -> None:
    pq.write_table(pa.table({"x": values}), tmp_path / "e.parquet")
    file = convert(tmp_path, "sources: [{file: e.parquet}]\ncolumns: {x: {nullable: true}}")
    np.testing.assert_array_equal(file.column("x"), expected)


def test_lists_of_fixed_length_are_jagged_columns(tmp_path: Path) -> None:
    pq.write_table(pa.table({"pt": pa.array([[1, 2], [3, 4]], pa.list_(pa.int64(), 2))}), tmp_path / "e.parquet")
    file = convert(tmp_path, "sources: [{file: e.parquet}]\nobjects: {jets: {columns: {pt: pt}}}")
    assert lists(file, "jets", "pt") == [[1, 2], [3, 4]]


def test_structured_arrays_of_hdf5_are_columns_and_their_padding_can_be_cut(tmp_path: Path) -> None:
    """As in SeeSawML's piles: a table of events, and one of objects that is padded to the same length."""
    events = np.array([(1.5, 7, b"mu"), (2.5, 8, b"e"), (3.5, 9, b"mu")], [("x", "f4"), ("run", "i8"), ("kind", "S2")])
    jets = np.full((3, 2), 999.0, [("pt", "f4"), ("n", "i8")])
    jets["pt"][0], jets["pt"][2, 0] = [30, 20], 10
    with h5py.File(tmp_path / "p0.hdf5", "w") as file:
        file["events"], file["jets"], file["metadata"] = events, jets, "{}"
    config = """
sources: [{file: p0.hdf5}]
chunk_rows: 2
columns: {x: events.x, run: {from: events.run, type: int}, kind: {from: events.kind, kind: categorical}}
objects: {jets: {select: jets.pt != 999, columns: {pt: jets.pt}}}
"""
    file = convert(tmp_path, config)
    assert file.column("x").tolist() == [1.5, 2.5, 3.5]
    assert file.column("run").tolist() == [7, 8, 9]
    assert texts(file, "kind") == ["mu", "e", "mu"]
    assert lists(file, "jets", "pt") == [[30, 20], [], [10]]


@pytest.mark.parametrize("kind", [pa.timestamp("s"), pa.decimal128(20)])
def test_what_parquet_holds_beside_numbers_and_texts_is_refused(tmp_path: Path, kind: pa.DataType) -> None:
    pq.write_table(pa.table({"odd": pa.array([1, 2]).cast(kind)}), tmp_path / "e.parquet")
    with pytest.raises(DataError, match=r"e\.parquet: column 'odd' holds .*; only numbers, texts, truth values"):
        convert(tmp_path, "sources: [{file: e.parquet}]\ncolumns: {odd: }")


@pytest.mark.parametrize("stored", [np.array([b"x", b"yy", b"x"], "S2"), np.array(["x", "yy", "x"], object)])
def test_strings_of_hdf5_of_fixed_and_of_any_length_are_texts(tmp_path: Path, stored: np.ndarray) -> None:
    with h5py.File(tmp_path / "r.h5", "w") as file:
        file["e/kind"], file["e/ok"] = stored, np.array([True, False, True])
    config = """
sources: [{file: r.h5, label: {one: e.kind == 'x', two: e.kind != 'x'}}]
columns: {kind: {from: e.kind, kind: categorical}, ok: {from: e.ok, type: bool}}
"""
    file = convert(tmp_path, config)
    assert texts(file, "kind") == ["x", "yy", "x"]
    assert file.labels().tolist() == file.column("kind").tolist() == [0, 1, 0]
    assert file.column("ok").tolist() == [1, 0, 1]


@pytest.mark.parametrize("offsets", [[0, 2, 9], [0, 3, 2], [-2, 0, 2]])
def test_offsets_of_hdf5_that_point_nowhere_are_named(tmp_path: Path, offsets: list[int]) -> None:
    with h5py.File(tmp_path / "r.h5", "w") as file:
        file["jets/offsets"], file["jets/pt"] = offsets, np.arange(4.0)
    with pytest.raises(DataError, match=r"r\.h5: '/jets/offsets' does not rise within the 4 values of 'jets/pt'"):
        convert(tmp_path, "sources: [{file: r.h5}]\nobjects: {jets: {columns: {pt: jets.pt}}}")
    assert not (tmp_path / "e.h5").exists()


def test_arrays_of_hdf5_may_differ_in_length_unless_they_are_used_together(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "r.h5", "w") as file:
        file["a"], file["b"] = np.arange(3.0), np.arange(4.0)
    assert open_reader(tmp_path / "r.h5").n_events is None
    assert convert(tmp_path, "sources: [{file: r.h5}]\ncolumns: {b: }").column("b").tolist() == [0, 1, 2, 3]
    with pytest.raises(DataError, match=r"r\.h5: columns have different numbers of events: a 3, b 4"):
        convert(tmp_path, "sources: [{file: r.h5}]\ncolumns: {a: , b: }", "other.h5")


def test_an_hdf5_file_without_columns_is_refused(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "r.h5", "w") as file:
        file["image"] = np.zeros((3, 3, 3))
    with pytest.raises(DataError, match=r"r\.h5: holds no arrays of one or two dimensions"):
        open_reader(tmp_path / "r.h5")


@pytest.mark.parametrize("missing", ["uproot", "awkward"])
def test_without_the_packages_for_root_the_user_is_told_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    write_root(tmp_path / "e.root")
    monkeypatch.setitem(sys.modules, missing, None)
    wanted = "e.root: reading ROOT files needs uproot and awkward: pip install 'tabstar_lit[root]'"
    with pytest.raises(DataError, match=re.escape(wanted) + "$"):
        open_reader(tmp_path / "e.root")


def test_the_tree_must_be_named_only_where_there_are_several(tmp_path: Path) -> None:
    path = tmp_path / "e.root"
    with uproot.recreate(path) as file:
        file["first"], file["second"] = {"x": np.arange(2.0)}, {"x": np.arange(3.0)}
    with pytest.raises(DataError, match=r"e\.root: holds several trees; give 'tree', one of: first, second"):
        open_reader(path)
    assert [open_reader(path, tree=name).n_events for name in ("first", "second")] == [2, 3]
    with uproot.recreate(path) as file:
        file["title"] = "no tree"
    with pytest.raises(DataError, match=r"e\.root: holds no tree, but title"):
        open_reader(path)


def test_a_branch_of_lists_of_lists_is_refused(tmp_path: Path) -> None:
    events = ak.Array([[[1, 2], []], [[3]]])
    ak.to_parquet(events, tmp_path / "e.parquet")
    name = open_reader(tmp_path / "e.parquet").names[0]
    with pytest.raises(DataError, match=rf"column '{name}' holds .*list.*; only numbers"):
        list(open_reader(tmp_path / "e.parquet").chunks([name], [], 10))


def test_the_format_is_by_the_end_of_the_name_unless_it_is_given(tmp_path: Path) -> None:
    (tmp_path / "e.txt").write_text("x\n1\n")
    with pytest.raises(
        DataError, match=r"e\.txt: unknown kind of file; give 'format', one of csv, hdf5, parquet, root$"
    ):
        open_reader(tmp_path / "e.txt")
    assert open_reader(tmp_path / "e.txt", "csv").names == ("x",)
    with pytest.raises(DataError, match=r"none\.csv: no such file"):
        open_reader(tmp_path / "none.csv")


@pytest.mark.parametrize("format_", sorted(set(FORMATS.values()) - {"csv"}))
def test_a_file_of_another_format_is_named_with_the_reason(tmp_path: Path, format_: str) -> None:
    (tmp_path / "e.bin").write_bytes(b"x\n1\n" * 40)
    with pytest.raises(DataError, match=r"e\.bin: cannot be read: \w+") as raised:
        open_reader(tmp_path / "e.bin", format_)
    assert "\n" not in str(raised.value)


def test_damage_met_while_reading_names_the_file(tmp_path: Path) -> None:
    frame = pd.DataFrame({"x": np.random.default_rng(0).random(20_000)})
    frame.to_csv(tmp_path / "whole.csv.gz", index=False)
    (tmp_path / "e.csv.gz").write_bytes((tmp_path / "whole.csv.gz").read_bytes()[:-10_000])
    reader = open_reader(tmp_path / "e.csv.gz")
    with pytest.raises(DataError, match=r"e\.csv\.gz: cannot be read: EOFError: Compressed file ended"):
        list(reader.chunks(["x"], [], 1000))


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(events=st.lists(st.lists(st.integers(-50, 50), max_size=4), min_size=1, max_size=12), rows=st.integers(1, 13))
def test_lists_survive_parquet_and_hdf5_alike(tmp_path: Path, events: list[list[int]], rows: int) -> None:
    values = np.array([value for event in events for value in event], dtype=np.float64)
    pq.write_table(pa.table({"jets.pt": pa.array(events, pa.list_(pa.float64()))}), tmp_path / "e.parquet")
    with h5py.File(tmp_path / "e.h5", "w") as file:
        file["jets/pt"], file["jets/offsets"] = values, np.cumsum([0, *map(len, events)])
    for name in ("e.parquet", "e.h5"):
        chunks = list(open_reader(tmp_path / name).chunks(["jets.pt"], [], rows))
        jagged = [part.columns["jets.pt"] for part in chunks]
        counts = [count for part in jagged if isinstance(part, Jagged) for count in part.counts.tolist()]
        assert counts == [len(event) for event in events]
        found = np.concatenate([part.values for part in jagged if isinstance(part, Jagged)])
        np.testing.assert_array_equal(found, values)


def test_the_digest_of_a_file_is_of_its_bytes(tmp_path: Path) -> None:
    (tmp_path / "abc").write_bytes(b"abc")
    assert file_sha256(tmp_path / "abc").startswith("ba7816bf8f01cfea414140de5dae2223b00361a396177a9c")
