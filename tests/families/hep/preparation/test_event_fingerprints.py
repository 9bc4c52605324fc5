"""What a run records of its events: the same for the same data and settings, whichever processor learned the scales."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hand_made_events import dataset, make_chunk, write_events

from tabstar_lit.families.hep.data import EventData
from tabstar_lit.families.hep.preparation.agreement import json_text
from tabstar_lit.families.hep.preparation.prepared import Events
from tabstar_lit.families.hep.preparation.preprocess import EventReader
from tabstar_lit.families.hep.preparation.serving import EventStore


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_events(tmp_path_factory.mktemp("events") / "events.h5", make_chunk(800))


def opened(path: Path, **settings: Any) -> EventData:
    built = {name: settings.pop(name) for name in ("momenta", "bin_edges") if name in settings}
    return EventData(dataset(path, features=["met", "m_jj", "jets.pt"], **settings), seed=0, **built)


def on_another_processor(events: Events) -> Events:
    """The same events, whose means have come out one unit in the last place higher."""
    preprocessor = events.preprocessor
    numbers = [dataclasses.replace(n, fill=float(np.nextafter(n.fill, np.inf))) for n in preprocessor.events.numbers]
    block = dataclasses.replace(preprocessor.events, numbers=tuple(numbers))
    reader = EventReader(dataclasses.replace(preprocessor, events=block), events.file)
    return dataclasses.replace(events, store=EventStore(reader, events.config))


def test_the_last_digits_of_what_is_learned_do_not_matter(path: Path) -> None:
    here = opened(path).events
    elsewhere = on_another_processor(here)
    assert here.preprocessor.to_payload() != elsewhere.preprocessor.to_payload()
    assert here.fingerprint == elsewhere.fingerprint
    assert here.earlier_fingerprint != elsewhere.earlier_fingerprint


@pytest.mark.parametrize(
    "settings",
    [
        {"missing": "indicator"},
        {"feature_scaling": {"numer_scaler_type": "quantile", "scaler_params": {"n_quantiles": 10}}},
        {"feature_scaling": {"per_feature": {"met": "robust"}}},
        {"max_objects": 2},
        {"order_by": {"jets": "pt"}},
        {"use_class_weights": True},
        {"use_mc_weights": True, "negative_weights": "absolute"},
        {"split": {"seed": 1}},
        {"folds": {"n": 4, "fold": 1}},
        {"spectators": ["m_jj"]},
        {"momenta": True},
        {"bin_edges": True, "ple_bins": 4},
    ],
    ids=str,
)
def test_every_setting_that_changes_what_is_learned_does(path: Path, settings: dict[str, Any]) -> None:
    assert opened(path, **settings).fingerprint != opened(path).fingerprint


def test_settings_of_the_loader_and_bins_that_nothing_reads_do_not(path: Path) -> None:
    assert opened(path, cache="stream", ple_bins=4).fingerprint == opened(path).fingerprint
    assert opened(path, bin_edges=True, ple_bins=5).fingerprint != opened(path, bin_edges=True, ple_bins=4).fingerprint


def test_a_run_of_before_is_known_by_what_it_recorded(path: Path) -> None:
    data = opened(path)
    events = data.events
    recorded = [
        events.file.fingerprint,
        repr(events.selection),
        events.config.split.model_dump_json(),
        "None",
        data.payload(),
    ]
    assert data.earlier_fingerprints == (hashlib.sha256(json_text(recorded).encode()).hexdigest(),)
