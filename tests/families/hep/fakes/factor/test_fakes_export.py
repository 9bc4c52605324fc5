"""Fake factors for other programs: a graph, and weights that load back, give what the checkpoint gives."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pandas as pd
import pytest
import torch
from checks import assert_refused
from click.testing import CliRunner
from exported import loaded_from_weights
from fakes_bench import TRAINING, FakesBench

from tabstar_lit.commands.cli import main
from tabstar_lit.families.hep.events.file import EventFile
from tabstar_lit.families.hep.fakes.factor.export import export_onnx
from tabstar_lit.families.hep.fakes.factor.factors import event_factors, loose_events, region_events
from tabstar_lit.families.hep.fakes.factor.restore import restore
from tabstar_lit.families.hep.preparation.preprocess import EventReader

SETTINGS = {
    "another link, one head": (f"{TRAINING}.loss=lsif", "model_config.architecture_config.ensemble=null"),
    "slices and a gap": (
        "dataset_config.pt_slices=['20:60', '60:300']",
        "dataset_config.crack_veto={variable: abs_eta}",
    ),
}


def test_weights_load_back_to_the_same_factors(trained: FakesBench, tmp_path: Path) -> None:
    checkpoint = trained.best("ratio")
    again = loaded_from_weights(checkpoint, tmp_path)
    pd.testing.assert_frame_equal(again.predict(trained.events), restore(checkpoint).predict(trained.events))


def test_a_graph_gives_the_factors_of_the_command(trained: FakesBench, tmp_path: Path) -> None:
    checkpoint, output = trained.best("ratio"), tmp_path / "factor.onnx"
    done = CliRunner().invoke(main, ["export", str(checkpoint), "--raw", "-o", str(output)])
    assert done.exit_code == 0, done.output
    assert "onnxruntime and torch agree" in done.output
    assert (tmp_path / "factor.README.md").is_file()
    expected = restore(checkpoint).predict(trained.events)
    described = json.loads({own.key: own.value for own in onnx.load(output).metadata_props}["tabstar_lit"])
    file = EventFile.open(trained.events)
    columns = np.stack([file.column(name) for name in described["inputs"]["numerical"]], axis=1)
    loose = np.char.startswith(np.array(file.classes)[file.labels()], "loose")
    session = onnxruntime.InferenceSession(output, providers=["CPUExecutionProvider"])
    log_ratios, error, factor = session.run(
        ["log_ratios", "error", "factor"], {"numerical": columns[loose].astype(np.float32)}
    )
    assert log_ratios.shape == (len(expected), 3)
    np.testing.assert_allclose(factor, expected["F"], rtol=1e-5)
    np.testing.assert_allclose(error, expected["sigma_F"], rtol=1e-3, atol=1e-6)
    assert described["role"] == "ratio"


def test_a_graph_averages_the_uncertainty_around_events_as_well(trained: FakesBench, tmp_path: Path) -> None:
    errors = []
    for radius in (0.0, 0.5):
        model = restore(trained.best("ratio"))
        model.config["architecture_config"]["ensemble"]["spread_radius"] = radius
        export_onnx(model, tmp_path / "factor.onnx")
        loose = loose_events(model, region_events(model, EventFile.open(trained.events), None))
        factors = list(event_factors(model, loose))
        block = EventReader(replace(model.preprocessor, spectators=()), loose.file).block(0, loose.file.n_events)
        features = block.select(torch.from_numpy(loose.rows)).features
        session = onnxruntime.InferenceSession(tmp_path / "factor.onnx", providers=["CPUExecutionProvider"])
        (error,) = session.run(["error"], {"numerical": features.numerical.numpy()})
        np.testing.assert_allclose(error, np.concatenate([part.error for part in factors]), rtol=1e-3, atol=1e-6)
        errors.append(error)
    assert np.mean(errors[1]) > 1.01 * np.mean(errors[0])


@pytest.mark.parametrize("case", SETTINGS)
def test_a_graph_is_equal_for_other_networks(
    make_bench: Callable[[str], FakesBench], tmp_path: Path, case: str
) -> None:
    bench = make_bench("one")
    bench.train("stages=[numerator]", f"{TRAINING}.max_epochs=1", *SETTINGS[case])
    model = restore(bench.folder / "models/toys/run/run_last.ckpt")
    assert export_onnx(model, tmp_path / "ratio.onnx", raw=True) < 1e-5


def test_weights_are_not_scaled_in_a_graph(trained: FakesBench, tmp_path: Path) -> None:
    given = [str(trained.best("ratio")), "--safetensors", "--raw", "-o", str(tmp_path / "m.safetensors")]
    assert_refused(CliRunner().invoke(main, ["export", *given]), "--raw puts the scaling into a graph")
