"""Records, branches in branches, lists of texts and damaged tables: the right values, or a message that says where."""

from __future__ import annotations

import time
from pathlib import Path

import awkward as ak
import h5py
import numpy as np
import pytest
import uproot
from by_hand import convert, lists, report, texts

from tabstar_lit.errors import ConfigError, DataError
from tabstar_lit.families.hep.events.conversion import convert_events
from tabstar_lit.families.hep.events.conversion_config import read_conversion
from tabstar_lit.families.hep.events.file import EventFile
from tabstar_lit.families.hep.events.readers import open_reader

SOURCE = "sources: [{file: t.%s}]\n"


@pytest.fixture
def cases(shared_data: Path) -> Path:
    folder = shared_data.parent / "cases" / "events"
    if not folder.is_dir():
        pytest.skip(f"no sample files at {folder}")
    return folder


def converted(cases: Path, name: str, tmp_path: Path) -> EventFile:
    return convert_events(read_conversion(cases / name), tmp_path / "e.h5").file


def test_branches_in_branches_are_found_by_full_and_by_short_name(cases: Path, tmp_path: Path) -> None:
    file, path = converted(cases, "subbranches/cyc2.yaml", tmp_path), cases / "subbranches" / "uproot-issue31.root"
    assert file.column("s").tolist() == uproot.open(path)["T"]["data/size"].array().tolist() == [4, 4, 6, 5, 5]
    config = f"sources: [{{file: {path}}}]\ncolumns: {{a: data.size, b: size, c: '`data/TObject/fBits`'}}"
    again = convert(tmp_path, config, "other.h5")
    assert again.column("a").tolist() == again.column("b").tolist() == file.column("s").tolist()
    assert again.column("c").tolist() == [0x02000000] * 5


def test_members_of_records_are_columns(cases: Path, tmp_path: Path) -> None:
    path = cases / "record_branches" / "uproot-leaflist.root"
    config = f"sources: [{{file: {path}}}]\nchunk_rows: 2\ncolumns: {{x: leaflist.x, y: leaflist.y, z: leaflist.z}}"
    file = convert(tmp_path, config)
    expected = uproot.open(path)["tree"]["leaflist"].array()
    for name in "xyz":
        np.testing.assert_array_equal(file.column(name), ak.to_numpy(expected[name]).astype(np.float32))
    with pytest.raises(DataError, match=r"'leaflist' is a record; .*members: leaflist\.x, leaflist\.y, leaflist\.z"):
        converted(cases, "record_branches/leaf2.yaml", tmp_path / "none")


def test_momenta_of_an_rntuple_are_columns(cases: Path, tmp_path: Path) -> None:
    file = converted(cases, "subbranches/tlv.yaml", tmp_path)
    with uproot.open(next((cases / "subbranches").glob("test_int_vfloat_*.root"))) as source:
        expected = source["ntuple"].arrays()
    assert file.column("i").tolist() == expected["one_integers"].tolist()
    assert file.column("pt").tolist() == expected["three_LV", "pt"].tolist()
    for name in ("pt", "eta"):
        assert lists(file, "lv", name) == expected["four_v_LVs", name].tolist()


def test_lists_of_texts_of_root_become_categories(cases: Path, tmp_path: Path) -> None:
    file = converted(cases, "vector_string/stl.yaml", tmp_path)
    words = ["one", "two", "three", "four", "five"]
    assert texts(file, "s") == texts(file, "ts") == words
    categories = file.objects["s"].columns["s"].categories
    assert [[categories[int(code)] for code in own] for own in lists(file, "s", "s")] == [
        words[:n] for n in range(1, 6)
    ]


@pytest.mark.parametrize("name", ["bigev_csv", "bigev_root"])
def test_every_second_event_is_kept_by_its_parity(cases: Path, tmp_path: Path, name: str) -> None:
    file = converted(cases, f"event_number_parity/{name}.yaml", tmp_path)
    assert file.n_events == 2000
    assert not np.any(file.event_ids() % 2)
    assert file.event_ids()[0] == 2**53


def test_the_element_of_a_vector_is_a_weight(cases: Path, tmp_path: Path) -> None:
    file = converted(cases, "vector_element/sysw3.yaml", tmp_path)
    expected = uproot.open(cases / "vector_element" / "sysw.root")["nominal"]["w"].array()[:, 0]
    np.testing.assert_array_equal(file.weights(), ak.to_numpy(expected))
    with pytest.raises(DataError, match=r"the weight 'w' has one value an object.*w\[0\]"):
        converted(cases, "vector_element/sysw2.yaml", tmp_path / "none")


def test_the_samples_with_equal_numbers_are_told_how_to_be_told_apart(cases: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"not unique.*tag: \{sample: 1\}"):
        converted(cases, "two_samples_same_ids/a.yaml", tmp_path)
    text = (
        (cases / "two_samples_same_ids" / "a.yaml")
        .read_text()
        .replace("file: ", f"file: {cases}/two_samples_same_ids/")
    )
    text = text.replace("label: signal", "label: signal, tag: {sample: 1}").replace(
        "label: background", "label: background, tag: {sample: 2}"
    )
    file = convert(tmp_path, text.replace("event_id: eventNumber", "event_id: [sample, eventNumber]"))
    assert len(np.unique(file.event_ids())) == file.n_events == 1000


def test_lists_of_records_of_awkward_are_objects(tmp_path: Path) -> None:
    parts = ak.Array([[{"pt": 1.5, "v": {"eta": 1}}, {"pt": 2.5, "v": {"eta": 2}}], [], [{"pt": 3.5, "v": {"eta": 3}}]])
    events = ak.zip({"part": parts, "one": ak.Array([{"x": 1.0}, {"x": 2.0}, {"x": 3.0}])}, depth_limit=1)
    ak.to_parquet(events, tmp_path / "t.parquet")
    config = (
        SOURCE % "parquet"
        + "chunk_rows: 2\ncolumns: {x: one.x}\nobjects: {p: {columns: {pt: part.pt, eta: part.v.eta}}}"
    )
    file = convert(tmp_path, config)
    assert lists(file, "p", "pt") == [[1.5, 2.5], [], [3.5]]
    assert lists(file, "p", "eta") == [[1, 2], [], [3]]
    assert file.column("x").tolist() == [1, 2, 3]
    with pytest.raises(ConfigError, match=r"no column 'part' in t\.parquet\. Did you mean 'part\.pt'"):
        convert(tmp_path, SOURCE % "parquet" + "objects: {p: {columns: {pt: part}}}", "other.h5")


def test_a_wide_rntuple_is_opened_without_reading_every_name(tmp_path: Path) -> None:
    columns = {f"b{i:04d}": ak.Array([[1.0], [2.0, float(i)]]) for i in range(1300)}
    with uproot.recreate(tmp_path / "t.root") as file:
        file.mkrntuple("t", dict.fromkeys(columns, "var * float64")).extend(columns)
    start = time.process_time()
    file_ = convert(tmp_path, SOURCE % "root" + "objects: {o: {columns: {a: b0007, b: b1299}}}")
    own = time.process_time() - start
    start = time.process_time()
    names = uproot.open(tmp_path / "t.root")["t"].keys()
    assert lists(file_, "o", "b") == [[1], [2, 1299]]
    assert set(open_reader(tmp_path / "t.root").names) == set(names)
    assert own < time.process_time() - start, "listing the names by themselves takes longer"


def test_a_branch_with_a_dot_in_its_name_is_one_column(tmp_path: Path) -> None:
    with uproot.recreate(tmp_path / "t.root") as file:
        file["t"] = {"Jet.PT": np.arange(3.0), "Jet.Eta": np.arange(3.0) + 1}
        file.mktree("u", {"Jet.PT": "f8", "Jet.Eta": "f8"}).extend(
            {"Jet.PT": np.arange(3.0), "Jet.Eta": np.arange(3.0)}
        )
    for tree in "tu":
        config = f"sources: [{{file: t.root, tree: {tree}}}]\ncolumns: {{a: Jet.PT, b: Jet.Eta}}"
        file_ = convert(tmp_path, config, f"{tree}.h5")
        assert file_.column("a").tolist() == [0, 1, 2]
        assert file_.column("b").tolist() == [0 + (tree == "t"), 1 + (tree == "t"), 2 + (tree == "t")]


@pytest.mark.parametrize(
    ("table", "problem"),
    [
        ("x,x,y\n1,2,3\n", r"t\.csv: 2 columns are called 'x' \(line 1\)"),
        ("x,y\n1,2,3\n", r"t\.csv: cannot be read"),
        ("x,y\n1,2\n1,2,3\n", r"t\.csv: cannot be read: ParserError: .*line 3"),
    ],
)
def test_tables_whose_columns_cannot_be_told_are_refused(tmp_path: Path, table: str, problem: str) -> None:
    with pytest.raises(DataError, match=problem):
        convert(tmp_path, SOURCE % "csv" + "columns: {x: }", t=table)


def test_repeated_names_that_are_not_used_do_not_matter(tmp_path: Path) -> None:
    assert convert(tmp_path, SOURCE % "csv" + "columns: {y: }", t="x,x,y\n1,2,3\n").column("y").tolist() == [3]


def test_links_to_other_files_are_no_columns(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["g/x"], file["g/offsets"] = [1.0, 2.0], [0, 1, 2]
    with h5py.File(tmp_path / "t.h5", "w") as file:
        file["y"] = [1.0, 2.0]
        file["g"] = h5py.ExternalLink("other.h5", "/g")
        file["soft"] = h5py.SoftLink("/y")
    assert open_reader(tmp_path / "t.h5").names == ("y",)


def test_a_hundred_shards_are_one_source(tmp_path: Path) -> None:
    for i in range(100):
        with h5py.File(tmp_path / f"run{i % 2}_{i:03d}.h5", "w") as file:
            file["n"], file["x"] = np.arange(5) + 5 * i, np.full(5, float(i))
    start = time.process_time()
    outcome = report(tmp_path, "sources: [{file: ['run0_*.h5', 'run1_*.h5']}]\nevent_id: n\ncolumns: {x: }", "out.h5")
    assert outcome.n_read == 500
    assert sorted(outcome.file.event_ids().tolist()) == list(range(500))
    assert outcome.file.column("x").tolist() == [float(i) for k in (0, 1) for i in range(k, 100, 2) for _ in range(5)]
    assert time.process_time() - start < 10
