"""A small event file with everything in it: flat and jagged, missing values, categories, weights and groups."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from tabstar_lit.families.hep.config import EventsDataset
from tabstar_lit.families.hep.events.file import ColumnInfo, EventChunk, EventSchema, EventWriter, ObjectChunk

CLASSES = ("ttbar", "wjets", "signal")
COLUMNS = {
    "met": ColumnInfo("met", unit="GeV"),
    "m_jj": ColumnInfo("m_jj", nullable=True),
    "flat": ColumnInfo("flat"),
    "channel": ColumnInfo("channel", "categorical", nullable=True, categories=("mu", "e", "tau")),
    "n_jets": ColumnInfo("n_jets", "categorical", categories=("0", "1", "2", "3", "4", "5")),
}
JETS = {
    "pt": ColumnInfo("pt"),
    "eta": ColumnInfo("eta"),
    "phi": ColumnInfo("phi"),
    "mass": ColumnInfo("mass"),
    "btag": ColumnInfo("btag", nullable=True),
    "flavour": ColumnInfo("flavour", "categorical", categories=("g", "q", "b")),
}


def make_chunk(n: int, seed: int = 0) -> EventChunk:
    """Return ``n`` events; an event has 0 to 5 jets, groups hold three events, the first 3 labels are all there."""
    rng = np.random.default_rng(seed)
    counts = rng.integers(0, 6, n)
    m = int(counts.sum())
    columns: dict[str, Any] = {
        "met": rng.exponential(50.0, n),
        "m_jj": np.where(rng.random(n) < 0.3, np.nan, rng.normal(90.0, 10.0, n)),
        "flat": np.full(n, 7.0),
        "channel": rng.integers(-1, 3, n),
        "n_jets": counts,
    }
    jets: dict[str, Any] = {
        "pt": rng.exponential(40.0, m) + 20,
        "eta": rng.normal(size=m),
        "phi": rng.uniform(-3, 3, m),
        "mass": rng.exponential(5.0, m),
        "btag": np.where(rng.random(m) < 0.2, np.nan, rng.random(m)),
        "flavour": rng.integers(0, 3, m),
    }
    ids = np.arange(n, dtype=np.uint64) + np.uint64(1000)
    return EventChunk(
        columns=columns,
        labels=rng.integers(0, 3, n),
        weights=rng.exponential(1.0, n),
        event_ids=ids,
        group_ids=ids // np.uint64(3),
        objects={"jets": ObjectChunk(counts, jets)},
    )


def write_events(path: Path, chunk: EventChunk, *, has_weights: bool = True) -> Path:
    """Write ``chunk`` as an event file."""
    schema = EventSchema(CLASSES, COLUMNS, {"jets": JETS}, has_weights=has_weights)
    with EventWriter(path, schema) as writer:
        writer.append(chunk)
    return path


def dataset(path: Path, **settings: Any) -> EventsDataset:
    """Return the configuration that YAML with these settings would give."""
    plain = {"name": "hand-made", "files": str(path), "dataloader_kwargs": {"batch_size": 64}} | settings
    return EventsDataset.model_validate_json(json.dumps(plain))
