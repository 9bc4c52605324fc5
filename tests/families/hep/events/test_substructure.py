"""Substructure of jets: N-subjettiness by FastJet, judged by the formula over FastJet's own subjets and by hand."""

from __future__ import annotations

import math
import re
import sys
from pathlib import Path

import awkward as ak
import fastjet
import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import vector
from by_hand import convert
from scipy.optimize import minimize

from tabstar_lit.errors import DataError, TabstarLitError
from tabstar_lit.families.hep.events.file import EventFile
from tabstar_lit.families.hep.events.substructure import Jets

KEYS = "pt: pt, eta: eta, phi: phi, energy: energy"
CONFIG = "sources: [{file: t.parquet}]\n"
JETS = {
    # Two prongs of 100 and 50 GeV at a distance of 0.5; one constituent; none; a triangle across the seam of phi.
    "pt": [[100.0, 50.0], [10.0], [], [30.0, 20.0, 10.0]],
    "eta": [[0.0, 0.3], [1.0], [], [0.0, 0.0, 0.2]],
    "phi": [[0.0, 0.4], [2.0], [], [3.1, -3.1, 3.1]],
}


def wrapped(angle: np.ndarray) -> np.ndarray:
    return (angle + np.pi) % (2 * np.pi) - np.pi


def write(folder: Path) -> None:
    energies = [
        [p * np.cosh(e) for p, e in zip(*pair, strict=True)] for pair in zip(JETS["pt"], JETS["eta"], strict=True)
    ]
    pq.write_table(pa.table(JETS | {"energy": energies, "scale": [1.0, 2.0, 3.0, 4.0]}), folder / "t.parquet")


def converted(folder: Path, keys: str = KEYS, columns: str = '"tau_*": {}', more: str = "") -> EventFile:
    write(folder)
    spec = f"substructure: {{{keys}, radius: 0.8, nsubjettiness: {{tau: {{axes: 3, power: 1}}}}}}\n"
    return convert(folder, f"{CONFIG}{more}\n{spec}columns: {{{columns}}}")


def test_small_jets_by_hand(tmp_path: Path) -> None:
    """With winner-take-all axes the axis of two constituents is the harder one."""
    file = converted(tmp_path)
    assert list(file.columns) == ["tau_1", "tau_2", "tau_3"]
    np.testing.assert_allclose(file.column("tau_1")[:3], [50 * 0.5 / (150 * 0.8), 0, 0], rtol=1e-3)
    across = np.hypot(0.2, 0.0)
    along = 2 * np.pi - 6.2
    np.testing.assert_allclose(file.column("tau_1")[3], (20 * along + 10 * across) / (60 * 0.8), rtol=1e-3)
    np.testing.assert_allclose(file.column("tau_2")[3], 20 * along / (60 * 0.8), rtol=1e-3)
    np.testing.assert_array_equal(file.column("tau_3"), 0)


@pytest.fixture(scope="module")
def constituents(shared_data: Path) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """The first 200 simulated jets, their constituents without mass: rapidity is pseudorapidity then."""
    with h5py.File(shared_data / "hep" / "pythia_top_qcd_jets.h5") as raw:
        offsets = raw["constituents/offsets"][:201]
        return {name: raw[f"constituents/{name}"][: offsets[-1]] for name in ("pt", "eta", "phi")}, np.diff(offsets)


@pytest.mark.parametrize(("power", "tolerance"), [(1.0, 2e-2), (2.0, 1e-3)])
def test_one_axis_is_where_the_distances_are_least(
    constituents: tuple[dict[str, np.ndarray], np.ndarray], power: float, tolerance: float
) -> None:
    """With one axis the sum is convex: SciPy finds its minimum, the weighted median or mean of the positions.

    FastJet comes close to the median in small steps and stops early; the mean it has at once.
    """
    particles, counts = constituents
    found = Jets(particles, counts, 0.8).nsubjettiness(1, power)[:, 0]
    starts = np.cumsum(counts) - counts
    for jet, (start, count) in enumerate(zip(starts[:40], counts[:40], strict=True)):
        pt, phi = (particles[key][start : start + count] for key in ("pt", "phi"))
        x, y = particles["eta"][start : start + count] - particles["eta"][start], wrapped(phi - phi[0])

        def tau(axis: np.ndarray, pt: np.ndarray = pt, x: np.ndarray = x, y: np.ndarray = y) -> float:
            return float(np.sum(pt * (np.hypot(x - axis[0], y - axis[1]) / 0.8) ** power) / pt.sum())

        least = minimize(tau, [np.average(x, weights=pt), np.average(y, weights=pt)], method="Nelder-Mead")
        np.testing.assert_allclose(found[jet], least.fun, rtol=tolerance)


@pytest.mark.parametrize("power", [0.5, 1.0, 2.0])
def test_axes_are_at_least_as_good_as_those_of_subjets(
    constituents: tuple[dict[str, np.ndarray], np.ndarray], power: float
) -> None:
    """The definition (1011.2268, eq. 2.1) over FastJet's exclusive kT subjets is what minimising starts near."""
    particles, counts = constituents
    found = Jets(particles, counts, 0.8).nsubjettiness(4, power)
    pt, eta, phi = particles["pt"], particles["eta"], particles["phi"]
    vector.register_awkward()
    momenta = {"px": pt * np.cos(phi), "py": pt * np.sin(phi), "pz": pt * np.sinh(eta), "E": pt * np.cosh(eta)}
    events = ak.zip({key: ak.unflatten(values, counts) for key, values in momenta.items()}, with_name="Momentum4D")
    clustered = fastjet.ClusterSequence(events, fastjet.JetDefinition(fastjet.kt_algorithm, 0.8))
    jet, norm = np.repeat(np.arange(len(counts)), counts), np.add.reduceat(pt, np.cumsum(counts) - counts)
    for n in range(1, 5):
        subjets = clustered.exclusive_jets(n)
        px, py, pz, energy = (ak.to_numpy(subjets[key]) for key in ("px", "py", "pz", "E"))
        axis_y, axis_phi = np.arctanh(pz / energy), np.arctan2(py, px)
        distances = np.hypot(eta[:, None] - axis_y[jet], wrapped(phi[:, None] - axis_phi[jet])).min(axis=1)
        over_subjets = np.bincount(jet, pt * (distances / 0.8) ** power) / norm
        assert np.mean(found[:, n - 1] <= over_subjets * 1.001) > 0.8
        assert 0.7 < np.median(found[:, n - 1] / over_subjets) <= 1.001
    assert (np.diff(found, axis=1) <= 1e-6).mean() > 0.98  # one more axis never hurts, but for local minima


@pytest.mark.parametrize("fraction", [0.01, 0.2])
def test_trimming_takes_soft_subjets_away(
    constituents: tuple[dict[str, np.ndarray], np.ndarray], fraction: float
) -> None:
    """Its definition (0912.1342), over the constituents of FastJet's subjets one by one."""
    particles, counts = constituents
    found = Jets(particles, counts, 0.8).trimmed(0.3, fraction)
    starts = np.cumsum(counts) - counts
    for jet in range(30):
        pt, eta, phi = (values[starts[jet] : starts[jet] + counts[jet]] for values in particles.values())
        vectors = [
            fastjet.PseudoJet(p * math.cos(f), p * math.sin(f), p * math.sinh(e), p * math.cosh(e))
            for p, e, f in zip(pt.tolist(), eta.tolist(), phi.tolist(), strict=True)
        ]
        clustered = fastjet.ClusterSequence(vectors, fastjet.JetDefinition(fastjet.kt_algorithm, 0.3))
        total = np.sum([(v.px(), v.py()) for v in vectors], axis=0)
        hard = [s for s in clustered.inclusive_jets() if s.pt() >= fraction * np.hypot(*total)]
        px, py, pz, energy = np.sum([(s.px(), s.py(), s.pz(), s.E()) for s in hard], axis=0)
        assert found["n"][jet] == len(hard)
        expected = np.hypot(px, py), np.sqrt(energy**2 - px**2 - py**2 - pz**2)
        np.testing.assert_allclose([found["pt"][jet], found["mass"][jet]], expected, rtol=1e-4)


def test_turning_and_mirroring_a_jet_changes_nothing(constituents: tuple[dict[str, np.ndarray], np.ndarray]) -> None:
    particles, counts = constituents
    found = Jets(particles, counts, 0.8).nsubjettiness(3, 1.0)
    turned = {**particles, "phi": wrapped(-particles["phi"] + 2.5), "eta": -particles["eta"]}
    np.testing.assert_allclose(Jets(turned, counts, 0.8).nsubjettiness(3, 1.0), found, rtol=1e-2, atol=1e-3)
    scaled = {**particles, "pt": 10 * particles["pt"]}
    np.testing.assert_allclose(Jets(scaled, counts, 0.8).nsubjettiness(3, 1.0), found, rtol=1e-4, atol=1e-6)


def test_its_columns_are_columns_like_others(tmp_path: Path) -> None:
    """In cuts, definitions and expressions; momenta may be expressions, too, and chunks of any size give the same."""
    keys = "pt: 2 * pt, eta: eta, phi: phi"  # without energies: constituents without mass
    columns = "tau_21: ratio, tau_1: {scale: 100, unit: percent}"
    more = "define: {ratio: 'tau_2 / max(tau_1, 1e-6)'}\ncuts: [tau_1 > 0]\nchunk_rows: 1"
    file = converted(tmp_path, keys, columns, more)
    scaled, ratios = file.column("tau_1"), file.column("tau_21")
    (tmp_path / "e.h5").unlink()
    plain = converted(tmp_path)
    np.testing.assert_allclose(scaled, 100 * plain.column("tau_1")[[0, 3]], rtol=1e-5)
    np.testing.assert_allclose(ratios, plain.column("tau_2")[[0, 3]] / plain.column("tau_1")[[0, 3]], rtol=1e-5)


@pytest.mark.parametrize(
    ("keys", "more", "words"),
    [
        (KEYS.replace("pt: pt", "pt: ptt"), "", "c.yaml:3:16: no column 'ptt' in t.parquet. Did you mean 'pt'?"),
        (KEYS.replace("pt: pt", "pt: scale"), "", "substructure.pt 'scale' has one value an event, not one an object"),
        (
            KEYS.replace("eta: eta", "eta: log(-pt)"),
            "",
            "substructure.eta: 6 values are not finite (first in rows 0, 1, 3",
        ),
        (KEYS.replace("pt: pt", "pt: pt * tau_1"), "", "'pt * tau_1' needs 'tau_1', which is computed from it"),
        (KEYS, "define: {tau_1: scale}", "c.yaml:2:10: 'tau_1' is a column of substructure already"),
        (KEYS + ", trimming: {t: {radius: 0}}", "", "c.yaml:3:"),
        (KEYS + ", radus: 1", "", "unknown key 'radus' in substructure. Did you mean 'radius'?"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, keys: str, more: str, words: str) -> None:
    with pytest.raises(TabstarLitError, match=re.escape(words)):
        converted(tmp_path, keys, more=more)


def test_a_section_that_asks_for_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TabstarLitError, match=r"c\.yaml:2:1: substructure gives no columns: add nsubjettiness or trim"):
        convert(tmp_path, f"{CONFIG}substructure: {{{KEYS}, radius: 0.8}}\ncolumns: {{scale:}}")


def test_trimmed_jets_have_their_own_columns(tmp_path: Path) -> None:
    file = converted(tmp_path, KEYS + ", trimming: {soft: {radius: 0.2, fraction: 0.4}}", '"soft_*": {}')
    assert file.column("soft_n").tolist() == [1, 1, 0, 1]  # across the seam of phi two constituents are one subjet
    np.testing.assert_allclose(file.column("soft_pt"), [100, 10, 0, 50], rtol=1e-2)
    np.testing.assert_allclose(file.column("soft_mass")[:3], 0, atol=1e-2)


def test_a_source_with_such_a_column_is_refused(tmp_path: Path) -> None:
    write(tmp_path)
    table = pq.read_table(tmp_path / "t.parquet")
    pq.write_table(table.append_column("tau_2", table["scale"]), tmp_path / "t.parquet")
    spec = f"substructure: {{{KEYS}, radius: 0.8, nsubjettiness: {{tau: {{axes: 3}}}}}}\ncolumns: {{scale:}}"
    with pytest.raises(TabstarLitError, match=r"'tau_2' is a column of t\.parquet already; choose another name"):
        convert(tmp_path, CONFIG + spec)


def test_the_package_to_install_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fastjet", None)
    with pytest.raises(DataError, match=r"pip install 'tabstar_lit\[jets\]'"):
        converted(tmp_path)
