"""A checkpoint of TabSTAR over events is enough by itself: its texts were encoded when training began."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hand_made_events import make_chunk, write_events
from saved_classifier import FLAT, Saved, build, write

from tabstar_lit.families.hep.deployment.export import export_onnx
from tabstar_lit.families.hep.deployment.restore import restore
from tabstar_lit.families.hep.events.file import EventFile
from tabstar_lit.families.hep.networks import tabstar
from tabstar_lit.families.hep.preparation.preprocess import EventReader

TINY = {
    "model": "TabSTAR",
    "text_encoder": {"name": "random", "random": {"hidden_size": 24, "layers": 1}},
    "d_model": 16,
    "interaction_layers": 1,
    "interaction_heads": 2,
}


TWO = {"classes": {"background": ["ttbar", "wjets"], "signal": ["signal"]}, "signal": "background"}
CASES: dict[str, dict[str, Any]] = {
    "two classes": {"features": FLAT, "missing": "indicator", **TWO},
    "three classes": {"features": FLAT},
    "categories only": {"features": ["channel", "n_jets"], **TWO},
    "numbers only": {"features": ["met", "m_jj"], **TWO},
}


@pytest.fixture(scope="module")
def events(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_events(tmp_path_factory.mktemp("events") / "events.h5", make_chunk(300))


@pytest.fixture(params=CASES, ids=str)
def saved(request: pytest.FixtureRequest, tmp_path: Path, events: Path, monkeypatch: pytest.MonkeyPatch) -> Saved:
    """Save a classifier whose texts no encoder gives, and of which the encoder is gone afterwards."""
    module, data = build(events, TINY, **CASES[request.param])
    for tensor in (*module.network.parameters(), module.network.texts):
        tensor.data += 0.3 * torch.randn_like(tensor)
    saved = Saved(write(module.eval(), tmp_path / "model.ckpt"), module, data)

    def no_encoder(_: object) -> None:
        raise AssertionError("the encoder was asked for again")

    monkeypatch.setattr(tabstar, "load_text_encoder", no_encoder)
    return saved


def test_it_restores_without_the_encoder(saved: Saved, events: Path) -> None:
    classifier = restore(saved.path)
    batch = EventReader(classifier.preprocessor, EventFile.open(events)).batch(np.arange(50))
    with torch.no_grad():
        expected = saved.module.network(batch.features)
        assert expected.std() > 0.05
        assert torch.equal(classifier.network(batch.features), expected)


@pytest.mark.parametrize("saved", ["two classes", "categories only"], indirect=True)
def test_the_exported_graph_computes_the_same(saved: Saved, tmp_path: Path) -> None:
    assert export_onnx(restore(saved.path), tmp_path / "model.onnx", raw=True) <= 1e-5


@pytest.mark.parametrize("saved", ["two classes"], indirect=True)
def test_names_of_a_file_reach_the_texts(saved: Saved) -> None:
    inputs = restore(saved.path).preprocessor.inputs
    assert inputs == saved.data.inputs
    assert tabstar.event_texts(inputs) == [
        "Target Feature: class\nFeature Value: background",
        "Target Feature: class\nFeature Value: signal",
        *(f"Predictive Feature: {name}" for name in ("met", "m_jj", "m_jj_missing")),
        *(f"Predictive Feature: channel\nFeature Value: {name}" for name in ("Unknown Value", "e", "mu", "tau")),
    ]
    assert inputs.signal == ("background",)
