"""Conversion of the real files: values equal what pandas, uproot and h5py read; mistakes are named where they stand."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path

import awkward as ak
import h5py
import numpy as np
import pandas as pd
import pytest
import uproot

from tabstar_lit.errors import ConfigError, DataError, TabstarLitError
from tabstar_lit.families.hep.events.conversion import Report, convert_events
from tabstar_lit.families.hep.events.conversion_config import read_conversion
from tabstar_lit.families.hep.events.file import EventFile

EXAMPLES = Path(__file__).parents[4] / "examples" / "events"
TABLE = "x,kind,w,id\n" + "".join(f"{i / 4},{'ab'[i % 2]},{1 + i % 3},{i + 10}\n" for i in range(12))
CONFIG = """
sources:
  - file: t.csv
    label: {one: kind == 'a', two: kind == 'b'}
weight: w
event_id: id
columns:
  x: {unit: GeV}
  y: x * 2 + 1
"""


def convert_text(folder: Path, config: str, table: str = TABLE) -> Report:
    (folder / "t.csv").write_text(table)
    (folder / "c.yaml").write_text(config)
    return convert_events(read_conversion(folder / "c.yaml"), folder / "e.h5")


def convert_example(name: str, hep: Path, folder: Path, chunk_rows: int = 1000) -> EventFile:
    text = (EXAMPLES / f"{name}.yaml").read_text()
    (folder / "c.yaml").write_text(text.replace("file: ", f"file: {hep}/") + f"\nchunk_rows: {chunk_rows}\n")
    return convert_events(read_conversion(folder / "c.yaml"), folder / f"{name}.h5").file


@pytest.fixture
def hep(shared_data: Path) -> Path:
    return shared_data / "hep"


def test_higgsml_equals_pandas(hep: Path, tmp_path: Path) -> None:
    file, frame = convert_example("higgsml", hep, tmp_path), pd.read_csv(hep / "higgsml_atlas.csv.gz")
    assert set(file.columns) == {name for name in frame if name.startswith(("DER_", "PRI_"))}
    for name in file.columns:
        expected = frame[name].replace(-999, np.nan).to_numpy(np.float32)
        np.testing.assert_array_equal(file.column(name), expected)
    np.testing.assert_array_equal(file.weights(), frame["Weight"])
    np.testing.assert_array_equal(file.event_ids(), frame["EventId"])
    assert [file.classes[i] for i in file.labels()] == frame["Label"].map({"s": "signal", "b": "background"}).tolist()


def test_uci_equals_pandas_and_hashed_ids_are_unique(hep: Path, tmp_path: Path) -> None:
    file, frame = convert_example("higgs_uci", hep, tmp_path), pd.read_csv(hep / "higgs_uci.csv.gz")
    for name in frame.columns.drop("label"):
        np.testing.assert_array_equal(file.column(name), frame[name].to_numpy(np.float32))
    assert len(np.unique(file.event_ids())) == len(frame)
    assert not file.has_weights
    one_chunk = convert_example("higgs_uci", hep, tmp_path, 1_000_000)  # ids do not depend on the size of chunks
    assert one_chunk.fingerprint == file.fingerprint


def test_distances_of_uci_take_the_short_way_round(hep: Path, tmp_path: Path) -> None:
    file = convert_example("higgs_uci", hep, tmp_path)
    distances = set(file.columns) - set(pd.read_csv(hep / "higgs_uci.csv.gz", nrows=1))
    assert len(distances) == 10
    for name in distances:
        first, second = re.findall(r"lepton|jet_\d", name)
        along = np.abs(file.column(f"{first}_phi") - file.column(f"{second}_phi")) * 1.802
        across = file.column(f"{first}_eta") - file.column(f"{second}_eta")
        expected = np.hypot(across, np.minimum(along, 2 * np.pi - along))
        np.testing.assert_allclose(file.column(name), expected, rtol=1e-4)


def test_flat_root_equals_uproot(hep: Path, tmp_path: Path) -> None:
    file = convert_example("mlhep_root", hep, tmp_path)
    tree = uproot.open(hep / "higgs_mlhep2016.root")["tree"]
    for name, info in file.columns.items():
        found, expected = file.column(name), tree[name].array(library="np")
        values = found if info.kind == "numerical" else np.array(info.categories, dtype=np.float32)[found]
        np.testing.assert_array_equal(values, expected)
    np.testing.assert_array_equal(file.labels(), tree["target"].array(library="np"))


def test_jagged_root_equals_awkward(hep: Path, tmp_path: Path) -> None:
    """Selection, cut, order and truncation redone by awkward itself."""
    file = convert_example("hzz", hep, tmp_path, 700)
    events = uproot.open(hep / "HZZ.root")["events"].arrays()
    px, py, pz = (ak.values_astype(events[f"Muon_P{axis}"], "float64") for axis in "xyz")
    pt = np.sqrt(px**2 + py**2)
    passing = events["triggerIsoMu24"] & (ak.sum(pt > 20, axis=1) >= 1)
    muons = ak.zip({"pt": pt, "eta": np.arcsinh(pz / pt), "charge": events["Muon_Charge"]})[passing]
    muons = muons[abs(muons.eta) < 2.4]
    muons = muons[ak.argsort(muons.pt, ascending=False, stable=True)][:, :4]
    np.testing.assert_array_equal(np.diff(file.offsets("muons")), ak.num(muons))
    for name in ("pt", "eta"):
        np.testing.assert_allclose(file.object_column("muons", name), ak.to_numpy(ak.flatten(muons[name])), rtol=1e-6)
    charges = np.array(file.objects["muons"].columns["charge"].categories, dtype=int)
    np.testing.assert_array_equal(charges[file.object_column("muons", "charge")], ak.flatten(muons["charge"]))
    np.testing.assert_array_equal(file.weights(), events["EventWeight"][passing])


@pytest.fixture(scope="module")
def jets(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> EventFile:
    return convert_example("jets", shared_data / "hep", tmp_path_factory.mktemp("jets"), 500)


def test_jets_equal_h5py(hep: Path, jets: EventFile) -> None:
    with h5py.File(hep / "pythia_top_qcd_jets.h5") as raw:
        offsets, pt = raw["constituents/offsets"][()], raw["constituents/pt"][()]
        np.testing.assert_array_equal(jets.column("mass"), raw["jets/mass"][()])
        np.testing.assert_array_equal(jets.labels(), raw["jets/label"][()])
    expected = [pt[start:stop][:100] for start, stop in pairwise(offsets)]
    np.testing.assert_array_equal(jets.object_column("constituents", "pt"), np.concatenate(expected))
    np.testing.assert_array_equal(np.diff(jets.offsets("constituents")), [len(part) for part in expected])


def test_columns_of_jets_equal_numpys_tensors_and_vectors(hep: Path, jets: EventFile) -> None:
    with h5py.File(hep / "pythia_top_qcd_jets.h5") as raw:
        names = ("pt", "eta", "phi", "energy", "pdgid")
        pt, eta, phi, energy, kind = (raw[f"constituents/{name}"][()].astype(np.float64) for name in names)
        axis = {name: raw[f"jets/{name}"][()].astype(np.float64) for name in ("pt", "eta", "phi", "mass")}
        offsets = raw["constituents/offsets"][()]
    for jet in (0, 1, 4000, 5999):
        own = slice(offsets[jet], offsets[jet + 1])
        place = np.array([eta[own] - axis["eta"][jet], np.angle(np.exp(1j * (phi[own] - axis["phi"][jet])))])
        distance, share = np.linalg.norm(place, axis=0), pt[own] / axis["pt"][jet]
        minor, major = np.linalg.eigvalsh((share * place) @ place.T)
        momenta = np.array([pt[own] * np.cos(phi[own]), pt[own] * np.sin(phi[own]), pt[own] * np.sinh(eta[own])])
        near = distance < 0.3
        mass = np.sqrt(energy[own][near].sum() ** 2 - np.sum(momenta[:, near].sum(axis=1) ** 2))
        expected = {
            "width": share @ distance,
            "inertia": minor + major,
            "minor_axis": 2 * minor,
            "share_within_02": share[distance < 0.2].sum(),
            "mass_within_03": mass,
            "n_kaons": np.sum(np.abs(kind[own]) == 321),
            "tau_32": jets.column("tau_3")[jet] / jets.column("tau_2")[jet],
        }
        for name, value in expected.items():
            np.testing.assert_allclose(jets.column(name)[jet], value, rtol=1e-3, atol=1e-6, err_msg=name)
    loss = jets.column("mass") - jets.column("trimmed_mass")
    assert loss.min() > -0.1  # GeV: positions are rounded
    assert (jets.column("trimmed_n") <= jets.column("trimmed_less_n")).all()


def test_parquet_and_nanoaod(hep: Path, tmp_path: Path) -> None:
    config = f"""
sources:
  - {{file: {hep}/fair_higgs_tautau.parquet, weight: weights, label: {{h: detailed_labels == 'htautau',
     other: detailed_labels != 'htautau'}}}}
columns: {{PRI_met: {{scale: 1000, unit: MeV}}, DER_mass_jet_jet: {{missing_code: -25}},
          process: {{from: detailed_labels, kind: categorical}}}}
"""
    file, frame = convert_text(tmp_path, config).file, pd.read_parquet(hep / "fair_higgs_tautau.parquet")
    expected = frame["DER_mass_jet_jet"].replace(-25, np.nan).to_numpy(np.float32)
    np.testing.assert_array_equal(file.column("DER_mass_jet_jet"), expected)
    np.testing.assert_allclose(file.column("PRI_met"), 1000 * frame["PRI_met"], rtol=1e-6)
    process = file.columns["process"].categories
    assert process == tuple(sorted(set(frame["detailed_labels"])))
    assert [process[code] for code in file.column("process")] == frame["detailed_labels"].tolist()

    config = f"""
sources: [{{file: {hep}/nanoaod_2015_ttbar.root, tree: Events, label: ttbar}}]
event_id: [run, luminosityBlock, event]
objects: {{jets: {{columns: {{pt: Jet_pt, eta: Jet_eta}}}}}}
"""
    file = convert_text(tmp_path, config).file
    jets = uproot.open(hep / "nanoaod_2015_ttbar.root")["Events"]["Jet_pt"].array()
    np.testing.assert_array_equal(file.object_column("jets", "pt"), ak.flatten(jets))


def test_unchanged_inputs_are_not_converted_again(tmp_path: Path) -> None:
    assert convert_text(tmp_path, CONFIG).written
    assert not convert_text(tmp_path, CONFIG).written
    assert convert_text(tmp_path, CONFIG, TABLE.replace("0.5", "0.6")).written
    assert convert_text(tmp_path, CONFIG.replace("* 2", "* 3"), TABLE.replace("0.5", "0.6")).written


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("x * 2 + 1", "xx * 2 + 1", "c.yaml:9:3: no column 'xx'"),
        ("x * 2 + 1", "sqr(x)", "no function 'sqr'. Did you mean 'sqrt'?"),
        ("x * 2 + 1", "log(x - 3)", "has all its inputs|missing|infinite"),
        ("kind == 'b'", "kind == 'c'", "missing, as no rule holds"),
        ("kind == 'b'", "x >= 0", "ambiguous, as more than one rule holds"),
        ("weight: w", "weight: log(w - 1)", "weight 'log(w - 1)': 4 values are not finite (first in rows 0, 3"),
        ("event_id: id", "event_id: w", "event ids are not unique"),
        ("weight: w", "cuts: x > 99", "none of the 12 events is left after the cuts"),
        ("weight: w", "cuts: kind == 'a'", "no event has the label 'two' (one 6, two 0)"),
        ("file: t.csv", "file: tt.csv", "no such file. Did you mean 't.csv'?"),
        ("x: {unit: GeV}", "x: {units: GeV}", "c.yaml:8:7: unknown key 'units'"),
        ("x: {unit: GeV}", "x: {type: int}", "column 'x': 9 values are not whole"),
        ("y: x", "y: kind", "but found the text 'a'"),
    ],
)
def test_a_mistake_is_named_where_it_stands(tmp_path: Path, old: str, new: str, words: str) -> None:
    with pytest.raises(TabstarLitError, match=r"\w") as raised:
        convert_text(tmp_path, CONFIG.replace(old, new))
    assert any(word in str(raised.value) for word in words.split("|")), raised.value
    assert not (tmp_path / "e.h5").exists()


def test_empty_cells_must_be_declared(tmp_path: Path) -> None:
    table = TABLE.replace("\n0.5,", "\n,")
    with pytest.raises(DataError, match=r"column 'x': 1 values are missing .*rows 2"):
        convert_text(tmp_path, CONFIG, table)
    file = convert_text(
        tmp_path, CONFIG.replace("{unit: GeV}", "{nullable: true}").replace("  y:", "  # y:"), table
    ).file
    assert np.isnan(file.column("x")).tolist() == [i == 2 for i in range(12)]


def test_a_missing_tree_is_named(hep: Path, tmp_path: Path) -> None:
    config = f"sources: [{{file: {hep}/HZZ.root, tree: event, label: a}}]\ncolumns: {{n: NJet}}"
    with pytest.raises(DataError, match=r"no tree 'event'\. Did you mean 'events'"):
        convert_text(tmp_path, config)
    with pytest.raises(ConfigError, match="no column 'NJets'"):
        convert_text(tmp_path, config.replace("tree: event,", "").replace("NJet", "NJets"))


def test_a_truncated_root_file_is_named(hep: Path, tmp_path: Path) -> None:
    (tmp_path / "cut.root").write_bytes((hep / "HZZ.root").read_bytes()[:60_000])
    with pytest.raises(DataError, match=r"cut\.root"):
        convert_text(tmp_path, "sources: [{file: cut.root, label: a}]\ncolumns: {n: NJet}")
