"""Exported graphs against the network, for each network; what stands in the files, and what cannot be exported."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pandas as pd
import pytest
import torch
from hand_made_events import make_chunk, write_events
from safetensors import safe_open
from saved_classifier import FLAT, MLP, PARTICLES, TINY, Saved, save
from torch import Tensor

from tabstar_lit.engine.weights.files import CHECKPOINT_KEY, read_checkpoint
from tabstar_lit.errors import CheckpointError, ConfigError
from tabstar_lit.families.hep.deployment import export
from tabstar_lit.families.hep.deployment.export import export_onnx, export_safetensors
from tabstar_lit.families.hep.deployment.export_check import made_up
from tabstar_lit.families.hep.deployment.export_graph import ExportedClassifier
from tabstar_lit.families.hep.deployment.prediction import predict_events
from tabstar_lit.families.hep.deployment.restore import restore
from tabstar_lit.families.hep.events.file import EventFile
from tabstar_lit.families.hep.preparation.preprocess import EventReader

N = 300
CHUNK = make_chunk(N)
TWO = {"classes": {"background": ["ttbar", "wjets"], "signal": ["signal"]}}
JETS = {"features": ["*", "jets.*"], "max_objects": 4, "missing": "indicator"}
SET = {"model": "SetTransformer", "encoder_depth": 1, "decoder_depth": 1, **TINY}
CASES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "MLP ensemble": (
        {**MLP, "embeddings": {"ple": True}, "ensemble": {"members": 2}},
        {"features": FLAT, "ple_bins": 8, **TWO},
    ),
    "ResNet": ({"model": "ResNet", "n_hidden": 8, "num_blocks": 1}, {"features": ["channel"]}),
    "DeepSets flat": ({"model": "DeepSets", "n_hidden": 8}, {"features": ["met", "m_jj"]}),
    "EventTransformer": ({"model": "EventTransformer", "transformer_depth": 1, "heads": 2}, {"features": FLAT}),
    "DeepSets": ({"model": "DeepSets", "n_hidden": 8}, {**JETS, "features": ["jets.pt"], **TWO}),
    "ParticleTransformer": (PARTICLES, {**JETS, "signal": "background", **TWO}),
}


@pytest.fixture(scope="module")
def events(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_events(tmp_path_factory.mktemp("events") / "events.h5", CHUNK)


def calibrate(saved: Saved, k: int) -> None:
    """Put a calibration into the checkpoint."""
    content = read_checkpoint(saved.path)
    weight = torch.eye(k, dtype=torch.float64) * 0.7 + 0.1
    calibration = {"method": "matrix", "weight": weight, "bias": torch.arange(k, dtype=torch.float64)}
    content[CHECKPOINT_KEY]["payload"]["calibration"] = calibration
    torch.save(content, saved.path)


def outputs(path: Path, inputs: dict[str, Tensor]) -> tuple[np.ndarray[Any, Any], ...]:
    session = onnxruntime.InferenceSession(path)
    names = [node.name for node in session.get_inputs()]
    found: tuple[np.ndarray[Any, Any], ...] = session.run(
        ["logits", "probabilities"], {name: inputs[name].numpy() for name in names}
    )
    return found


def metadata(path: Path) -> dict[str, Any]:
    (entry,) = onnx.load(path).metadata_props
    assert entry.key == "tabstar_lit"
    described: dict[str, Any] = json.loads(entry.value)
    return described


@pytest.mark.parametrize("name", CASES)
def test_the_graph_computes_what_the_network_does(name: str, events: Path, tmp_path: Path) -> None:
    """Compared anew, with the uncalibrated network of the training module, and for another number of events."""
    architecture, settings = CASES[name]
    saved = save(tmp_path, events, architecture, **settings)
    calibrated = "Transformer" in name
    if calibrated:
        calibrate(saved, saved.data.output_dim)
    classifier = restore(saved.path)
    path = tmp_path / "model.onnx"
    assert export_onnx(classifier, path) <= 1e-5
    for n_events, empty in ((1, False), (2, True), (7, False), (64, False)):
        features, inputs = made_up(classifier, n_events, np.random.default_rng(5), raw=False, empty=empty)
        logits, probabilities = outputs(path, inputs)
        expected = saved.module.network(features).detach()
        if calibrated:
            k = expected.shape[1]
            expected = expected @ (torch.eye(k) * 0.7 + 0.1) + torch.arange(k)
        np.testing.assert_allclose(logits, expected, atol=1e-5, rtol=1e-5)
        assert probabilities.shape == (n_events, len(saved.data.classes))
        np.testing.assert_allclose(probabilities.sum(1), 1, atol=1e-5)
    assert metadata(path)["calibration"] == ("matrix" if calibrated else None)


SCALERS = {
    "missing": "indicator",
    "feature_scaling": {
        "numer_scaler_type": "standard",
        "per_feature": {
            "met": "logit",
            "m_jj": "robust",
            "jets.pt": "standard_logit",
            "jets.eta": None,
            "jets.mass": "minmax",
            "jets.btag": "maxabs",
        },
    },
}


def test_a_graph_with_scaling_takes_the_file_as_it_is(events: Path, tmp_path: Path) -> None:
    """Real events in the file's units give the scores that prediction writes, inputs filled by the metadata alone."""
    saved = save(tmp_path, events, {**SET, "flat_model": MLP}, **{**JETS, **SCALERS})
    calibrate(saved, 3)
    path = tmp_path / "model.onnx"
    export_onnx(restore(saved.path), path, raw=True)
    described = metadata(path)
    assert described["classes"] == ["ttbar", "wjets", "signal"]
    assert described["objects"]["jets"]["slots"] == 4
    assert described["inputs"]["numerical"] == ["met", "m_jj", "flat"]
    assert described["preprocessing"]["events"]["numbers"][0]["scaler"]["type"] == "logit"
    inputs = filled(described, EventFile.open(events))
    predict_events(restore(saved.path), events, tmp_path / "scores.parquet", device="cpu")
    expected = pd.read_parquet(tmp_path / "scores.parquet")[[f"p_{name}" for name in described["classes"]]]
    np.testing.assert_allclose(outputs(path, inputs)[1], expected, atol=1e-5)


def filled(described: dict[str, Any], file: EventFile) -> dict[str, Tensor]:
    """Fill the inputs from a file as a stranger would, by the metadata alone."""
    slots = described["objects"]["jets"]["slots"]
    counts, starts = np.diff(file.offsets("jets")), file.offsets("jets")[:-1]
    mask = np.arange(slots) < counts[:, None]
    place = np.minimum(starts[:, None] + np.arange(slots), file.offsets("jets")[-1] - 1)

    def coded(codes: np.ndarray[Any, Any], names: tuple[str, ...], known: list[str]) -> np.ndarray[Any, Any]:
        table = [known.index(name) + 1 if name in known else 0 for name in names]
        return np.array([*table, 0])[codes]

    listed = described["inputs"]
    jets = {name: file.object_column("jets", name)[place] for name in file.objects["jets"].columns}
    flat_codes = [
        coded(file.column(c["name"]), file.columns[c["name"]].categories, c["categories"])
        for c in listed["categorical"]
    ]
    jet_codes = [
        coded(jets[c["name"]], file.objects["jets"].columns[c["name"]].categories, c["categories"])
        for c in listed["jets_categorical"]
    ]
    arrays = {
        "numerical": np.stack([file.column(name) for name in listed["numerical"]], 1),
        "categorical": np.stack(flat_codes, 1),
        "jets_numerical": np.stack([jets[name] for name in listed["jets_numerical"]], 2),
        "jets_categorical": np.stack(jet_codes, 2) * mask[..., None],
        "jets_mask": mask,
    }
    return {name: torch.from_numpy(array) for name, array in arrays.items()}


@pytest.mark.parametrize(
    "params",
    [{"with_mean": False}, {"with_std": False}],
)
def test_arguments_of_scalers_reach_the_graph(params: dict[str, Any], events: Path, tmp_path: Path) -> None:
    scaling = {"numer_scaler_type": "standard", "scaler_params": params}
    assert_scaled_alike(save(tmp_path, events, MLP, features=["met", "m_jj"], feature_scaling=scaling), events)


@pytest.mark.parametrize(
    ("kind", "params"),
    [
        ("minmax", {"feature_range": [-1, 2], "clip": True}),
        ("maxabs", {"clip": True}),
        ("robust", {"with_centering": False, "quantile_range": [10.0, 90.0]}),
        ("robust", {"with_scaling": False, "unit_variance": True}),
        ("logit", {"eps": 0.01}),
    ],
)
def test_arguments_of_other_scalers_reach_the_graph(
    kind: str, params: dict[str, Any], events: Path, tmp_path: Path
) -> None:
    scaling = {"numer_scaler_type": kind, "scaler_params": params}
    assert_scaled_alike(save(tmp_path, events, MLP, features=["met", "m_jj"], feature_scaling=scaling), events)


def assert_scaled_alike(saved: Saved, events: Path) -> None:
    """The module that becomes a graph scales events outside the training's range as the file's reader does."""
    chunk = make_chunk(80, seed=9)
    chunk = dataclasses.replace(chunk, columns=chunk.columns | {"met": chunk.columns["met"] * 9 - 50})
    file = EventFile.open(write_events(saved.path.with_name("far.h5"), chunk))
    classifier = restore(saved.path)
    batch = EventReader(classifier.preprocessor, file).batch(np.arange(80))
    raw = torch.from_numpy(np.stack([file.column("met"), file.column("m_jj")], 1))
    scale = ExportedClassifier(classifier, raw=True).scale["events"]
    torch.testing.assert_close(scale(raw), batch.features.numerical, atol=1e-6, rtol=1e-6)


def test_a_graph_that_computes_something_else_is_not_written(
    events: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved = save(tmp_path, events, MLP, features=FLAT)
    probabilities = ExportedClassifier.forward
    monkeypatch.setattr(ExportedClassifier, "forward", lambda *x: tuple(1.001 * y for y in probabilities(*x)))
    with pytest.raises(CheckpointError, match=r"other logits than the network, by up to .* Nothing was written"):
        export_onnx(restore(saved.path), tmp_path / "model.onnx")
    assert not list(tmp_path.glob("*.onnx*"))


def test_what_has_no_graph_is_named(events: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scaling = {"per_feature": {"jets.pt": "quantile"}}
    saved = save(tmp_path, events, SET, **JETS, feature_scaling=scaling)
    classifier = restore(saved.path)
    with pytest.raises(ConfigError, match=r"feature 'jets\.pt' is scaled by 'quantile', .* Export without --raw"):
        export_onnx(classifier, tmp_path / "model.onnx", raw=True)
    monkeypatch.setattr(export, "find_spec", lambda name: None if name == "onnxruntime" else name)
    with pytest.raises(ConfigError, match=r"needs onnxruntime: pip install 'tabstar_lit\[onnx\]'"):
        export_onnx(classifier, tmp_path / "model.onnx")


def test_a_network_that_cannot_be_traced_is_refused(
    events: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved = save(tmp_path, events, MLP, features=FLAT)

    def by_value(module: Any, *tensors: Tensor) -> Tensor:
        return tensors[0] if tensors[0].sum() > 0 else -tensors[0]

    monkeypatch.setattr(ExportedClassifier, "forward", by_value)
    with pytest.raises(CheckpointError, match="the network cannot be exported as a graph"):
        export_onnx(restore(saved.path), tmp_path / "model.onnx")


def test_an_operation_that_onnx_lacks_is_named(events: Path, tmp_path: Path) -> None:
    saved = save(tmp_path, events, {**MLP, "act": "RReLU"}, features=FLAT)
    with pytest.raises(CheckpointError, match=r"cannot be exported as a graph: No ONNX function found for .*rrelu"):
        export_onnx(restore(saved.path), tmp_path / "model.onnx")


def test_weights_in_safetensors(events: Path, tmp_path: Path) -> None:
    saved = save(tmp_path, events, MLP, features=FLAT)
    calibrate(saved, 3)
    path = tmp_path / "model.safetensors"
    n_tensors = export_safetensors(restore(saved.path), path)
    with safe_open(path, "pt") as file:
        described = json.loads(file.metadata()["tabstar_lit"])
        tensors = {name: file.get_tensor(name) for name in list(file.keys())}
    assert len(tensors) == n_tensors
    for name, tensor in saved.module.network.state_dict().items():
        torch.testing.assert_close(tensors[name], tensor)
    torch.testing.assert_close(tensors["calibration.bias"], torch.arange(3.0, dtype=torch.float64))
    assert described["architecture_config"]["n_hidden"] == 8
    assert described["inputs"]["numerical"] == ["met", "m_jj"]
    own, again = (restore(file).predict(events) for file in (saved.path, path))
    pd.testing.assert_frame_equal(again, own)
