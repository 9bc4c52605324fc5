"""Make the archives and numbers in this folder: `python tests/golden/before/make_before.py FOLDER [FAMILY ...]`.

This was done once, with the version whose runs must stay usable. Doing it again with a later version would make the
tests compare that version with itself: add the runs of another version under another name instead.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from golden_before import ARCHIVES, FAMILIES, pack, use
from golden_run import run

MANIFEST = """\
- {name: houses, file: houses.csv, target: price, task: regression, description: Houses and what they cost.}
- {name: shops, file: shops.csv, target: kind, task: classification, dates: [opened]}
"""
EVENTS = """\
sources:
  - {file: events.parquet, label: {background: is_signal == 0, signal: is_signal == 1}}
weight: weight
columns:
  met: {from: met, unit: GeV}
  mass: {from: mass, unit: GeV}
objects:
  jets:
    order_by: jet_pt
    max_length: 4
    columns:
      pt: {from: jet_pt, unit: GeV}
      eta: jet_eta
      phi: {from: jet_phi, unit: rad}
      energy: {from: jet_pt * (exp(jet_eta) + exp(-jet_eta)) / 2, unit: GeV}
      btag: {from: jet_btag, kind: categorical}
"""


def write_tables(folder: Path, rng: np.random.Generator) -> None:
    """Write two tables of 120 rows with numbers, gaps, words and dates."""
    n = 120
    area, town = rng.normal(120, 30, n), rng.choice(["Bern", "Genf", "Basel"], n)
    price = 5 * area + 100 * (town == "Genf") + rng.normal(0, 20, n)
    houses = pd.DataFrame(
        {"area": area.round(1), "town": town, "rooms": rng.integers(1, 7, n), "price": price.round(2)}
    )
    houses.loc[::9, "area"] = np.nan
    houses.to_csv(folder / "houses.csv", index=False)
    staff = rng.integers(1, 40, n)
    opened = pd.Timestamp("2001-02-03") + pd.to_timedelta(rng.integers(0, 6000, n), unit="D")
    kind = np.select([staff > 25, staff > 10], ["market", "baker"], "kiosk")
    pd.DataFrame({"staff": staff, "opened": opened, "kind": kind}).to_csv(folder / "shops.csv", index=False)
    (folder / "manifest.yaml").write_text(MANIFEST)


def write_events(folder: Path, rng: np.random.Generator) -> None:
    """Write 400 events with up to five jets, harder ones for the signal."""
    n = 400
    signal = rng.random(n) < 0.4
    counts = rng.integers(0, 6, n)
    momenta = [np.sort(rng.exponential(30 + 20 * s, k) + 20)[::-1] for s, k in zip(signal, counts, strict=True)]
    columns = {
        "is_signal": signal.astype(int),
        "weight": rng.uniform(0.5, 1.5, n),
        "met": rng.exponential(40 + 20 * signal),
        "mass": rng.normal(100, 20, n),
        "jet_pt": momenta,
        "jet_eta": [rng.normal(0, 1.2, k) for k in counts],
        "jet_phi": [rng.uniform(-np.pi, np.pi, k) for k in counts],
        "jet_btag": [rng.choice(["loose", "tight"], k) for k in counts],
    }
    pd.DataFrame(columns).to_parquet(folder / "events.parquet")
    (folder / "events.yaml").write_text(EVENTS)


def make(family: str, folder: Path) -> None:
    """Train a run, keep it, use it, and keep the numbers."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(7)
    {"tabstar": write_tables, "signal": write_events}.get(family, lambda *_: None)(folder, rng)
    before = FAMILIES[family]
    run(folder, *before.prepare, before.train())
    pack(family, folder)
    (ARCHIVES / f"{family}.json").write_text(json.dumps(use(family, folder), indent=1) + "\n")


if __name__ == "__main__":
    for family in sys.argv[2:] or FAMILIES:
        make(family, Path(sys.argv[1]).absolute() / family)
