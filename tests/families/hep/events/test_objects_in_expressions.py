"""Elements, extremes, distances and masses of objects, judged by Python's own functions and by ``vector``."""

from __future__ import annotations

from pathlib import Path

import awkward as ak
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import uproot
import vector
from by_hand import convert, lists, texts
from hypothesis import given
from hypothesis import strategies as st

from tabstar_lit.errors import ConfigError, DataError
from tabstar_lit.families.hep.events.expressions import Expression, Jagged

EVENTS = [[3.0, 7.0, 7.0], [], [-2.0]]
PT = Jagged(np.array([3.0, 7.0, 7.0, -2.0]), np.array([3, 0, 1]))
ETA = Jagged(np.array([0.1, 0.2, 0.3, 0.4]), PT.counts)


def value(text: str) -> list[float]:
    columns = {"x": PT, "jets.pt": PT, "jets.eta": ETA, "flat": np.array([1, 0, 0])}
    return np.asarray(Expression(text)(columns, 3)).tolist()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x[0]", [3, np.nan, -2]),
        ("x[-1]", [7, np.nan, -2]),
        ("x[1]", [7, np.nan, np.nan]),
        ("x[-3]", [3, np.nan, np.nan]),
        ("x[flat]", [7, np.nan, -2]),
        ("(2 * x)[0]", [6, np.nan, -4]),
        ("jets[0].pt", [3, np.nan, -2]),
        ("jets.eta[argmax(jets.pt)]", [0.2, np.nan, 0.4]),
        ("max(x)", [7, np.nan, -2]),
        ("min(x)", [3, np.nan, -2]),
        ("mean(x)", [17 / 3, np.nan, -2]),
        ("argmax(x)", [1, np.nan, 0]),
        ("argmin(x)", [0, np.nan, 0]),
        ("max(x[0], 0)", [3, np.nan, 0]),
        ("sum(max(x, 0))", [17, 0, 0]),
        ("count(x == max(x))", [2, 0, 1]),
    ],
)
def test_one_value_an_event_of_many(text: str, expected: list[float]) -> None:
    np.testing.assert_allclose(value(text), expected)


@given(st.lists(st.lists(st.floats(-1e6, 1e6), max_size=4), min_size=1, max_size=6))
def test_extremes_and_places_are_pythons(events: list[list[float]]) -> None:
    column = Jagged(np.array([n for own in events for n in own]), np.array([len(own) for own in events], np.int64))
    for name, oracle in {"max": max, "min": min, "argmax": np.argmax, "argmin": np.argmin}.items():
        expected = [oracle(own) if own else np.nan for own in events]
        np.testing.assert_array_equal(Expression(f"{name}(x)")({"x": column}, len(events)), expected)


@pytest.mark.parametrize(
    ("text", "problem"),
    [("flat[0]", "there is one value an event"), ("x[x]", "one value an object"), ("x[0.5]", "not a whole number")],
)
def test_a_wrong_place_is_refused(text: str, problem: str) -> None:
    with pytest.raises(DataError, match=problem):
        value(text)


def momenta(rng: np.random.Generator, n: int) -> dict[str, np.ndarray]:
    return {
        "pt": rng.exponential(40, n),
        "eta": rng.normal(0, 1.5, n),
        "phi": rng.uniform(-np.pi, np.pi, n),
        "mass": rng.exponential(5, n),
    }


def test_distances_and_masses_are_those_of_vector(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    first, second = momenta(rng, 50), momenta(rng, 50)
    columns = {f"{name}_{part}": own[part] for name, own in (("a", first), ("b", second)) for part in own}
    pd.DataFrame(columns).to_csv(tmp_path / "t.csv", index=False)
    config = "sources: [{file: t.csv}]\ncolumns: {r: 'delta_r(a, b)', m: 'mass(a, b)', one: mass(a), q: "
    file = convert(tmp_path, config + "'delta_r(a_eta, a_phi, b_eta, b_phi)'}")
    a, b = (vector.array(own) for own in (first, second))
    np.testing.assert_allclose(file.column("r"), a.deltaR(b), rtol=1e-6)
    np.testing.assert_allclose(file.column("q"), a.deltaR(b), rtol=1e-6)
    np.testing.assert_allclose(file.column("m"), (a + b).mass, rtol=1e-6)
    np.testing.assert_allclose(file.column("one"), first["mass"], rtol=1e-4)


def test_components_come_from_whatever_a_file_has_of_a_momentum(tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    counts = [2, 0, 3, 1]
    flat = vector.array(momenta(rng, 6))
    parts = {"Px": flat.px, "Py": flat.py, "Pz": flat.pz, "E": flat.energy}
    jagged = {f"Mu_{name}": ak.unflatten(np.asarray(own), counts) for name, own in parts.items()}
    with uproot.recreate(tmp_path / "t.root") as file:
        file["t"] = jagged
    columns = "columns: {pt: Mu.pt, eta: Mu.eta, phi: Mu.phi, m: Mu.mass, e: Mu.energy}"
    pair = "columns: {m: {from: 'mass(Mu[0], Mu[1])', nullable: true}}"
    events = convert(tmp_path, f"sources: [{{file: t.root, tree: t}}]\n{pair}\nobjects: {{mu: {{{columns}}}}}")
    for name, expected in {"pt": flat.pt, "eta": flat.eta, "phi": flat.phi, "e": flat.energy, "m": flat.mass}.items():
        np.testing.assert_allclose(np.concatenate(lists(events, "mu", name)), expected, rtol=2e-4)
    masses = [(flat[0] + flat[1]).mass, np.nan, (flat[2] + flat[3]).mass, np.nan]
    np.testing.assert_allclose(events.column("m"), masses, rtol=1e-5)


def test_an_event_without_the_object_is_missing_and_says_so(tmp_path: Path) -> None:
    pq.write_table(pa.table({"x": [[1.0], []]}), tmp_path / "t.parquet")
    config = "sources: [{file: t.parquet}]\ncolumns: {x: {from: 'x[0]'%s}}"
    with pytest.raises(DataError, match=r"column 'x': 1 values are missing .* rows 1, "):
        convert(tmp_path, config % "")
    np.testing.assert_array_equal(convert(tmp_path, config % ", nullable: true").column("x"), [1, np.nan])


def test_a_sum_over_missing_objects_is_missing(tmp_path: Path) -> None:
    ak.to_parquet(ak.Array([{"x": [1.0, np.nan]}, {"x": []}]), tmp_path / "t.parquet")
    config = "sources: [{file: t.parquet}]\ncolumns: {x: {from: sum(x), nullable: true}}"
    np.testing.assert_array_equal(convert(tmp_path, config).column("x"), [np.nan, 0])


def test_a_tag_tells_samples_apart(tmp_path: Path) -> None:
    config = """
sources:
  - {file: a.csv, label: s, tag: {sample: 1, year: mc23}}
  - {file: b.csv, label: b, tag: {sample: 2, year: mc24}}
event_id: [sample, n]
columns: {x: , sample: , year: {kind: categorical}}
"""
    file = convert(tmp_path, config, a="n,x\n0,1\n1,2\n", b="n,x\n0,3\n1,4\n")
    assert len(set(file.event_ids().tolist())) == 4
    assert file.column("sample").tolist() == [1, 1, 2, 2]
    assert texts(file, "year") == ["mc23", "mc23", "mc24", "mc24"]
    with pytest.raises(ConfigError, match=r"c\.yaml:3:\d+: 'sample' is a column of a\.csv already"):
        convert(tmp_path, config, "other.h5", a="n,x,sample\n0,1,1\n")
    with pytest.raises(ConfigError, match="no column 'sample'"):
        convert(tmp_path, config.replace(", tag: {sample: 2, year: mc24}", ""), "less.h5", a="n,x\n0,1\n")
