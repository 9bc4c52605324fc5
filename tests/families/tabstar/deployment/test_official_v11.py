"""Models of the package's v1.1: read from its folders, they say what it has said; written, they are the same."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from benchmarks.golden.tabstar_v11 import CLASSES, STORED, rows, weight, write_folder
from safetensors import safe_open
from trained_tables import Bench, train

import tabstar_lit
from tabstar_lit.engine.weights.loading import find_checkpoint
from tabstar_lit.errors import CheckpointError
from tabstar_lit.families.tabstar.deployment.exporting import export_official
from tabstar_lit.families.tabstar.deployment.official import ENCODER_VARIABLE
from tabstar_lit.families.tabstar.deployment.trained import TrainedTabstar

STORED_OUTPUTS: dict[str, Any] = json.loads(STORED.read_text(encoding="utf-8"))


@pytest.fixture
def loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TrainedTabstar:
    encoder = write_folder(STORED_OUTPUTS, tmp_path / "published")
    monkeypatch.setenv(ENCODER_VARIABLE, str(encoder))
    model = tabstar_lit.load(tmp_path / "published")
    assert isinstance(model, TrainedTabstar)
    return model


def test_it_says_what_the_package_has_said(loaded: TrainedTabstar) -> None:
    frame, classes, values = rows()
    seen = loaded.predict(frame, target=str(classes.name), classes=CLASSES).drop(columns="prediction")
    expected = np.array(STORED_OUTPUTS["probabilities"])
    assert expected.std(axis=0).min() > 1e-2, "the oracle must not be constant"
    np.testing.assert_allclose(seen, expected, rtol=0, atol=1e-5)
    z_scores = loaded.predict(frame, target=str(values.name), task="regression")["prediction"]
    expected = np.array(STORED_OUTPUTS["z_scores"])
    assert expected.std() > 1e-2
    np.testing.assert_allclose(z_scores, expected, rtol=0, atol=1e-5)


def test_every_weight_has_its_place(loaded: TrainedTabstar) -> None:
    assert sum(own.numel() for own in loaded.network.parameters()) == sum(
        int(np.prod(shape)) for shape in STORED_OUTPUTS["shapes"].values()
    )
    fusion = loaded.network.state_dict()
    for name, own in (("ln_text.weight", "fusion.ln_text.weight"), ("text_weight", "fusion.text_weight")):
        expected = torch.as_tensor(weight(own, STORED_OUTPUTS["shapes"][own]))
        assert torch.equal(fusion[f"numerical_fusion.{name}"], expected)


def test_predictions_do_not_depend_on_the_batch(loaded: TrainedTabstar) -> None:
    frame, classes, _ = rows()
    about: dict[str, Any] = {"target": str(classes.name), "classes": CLASSES}
    whole, parts = (loaded.predict(frame, batch_size=size, **about) for size in (60, 7))
    np.testing.assert_allclose(*(own.drop(columns="prediction") for own in (whole, parts)), rtol=0, atol=1e-6)


def test_other_numbers_than_six_are_refused(tmp_path: Path) -> None:
    stored = STORED_OUTPUTS | {"config": STORED_OUTPUTS["config"] | {"d_num": 4}}
    write_folder(stored, tmp_path / "other")
    with pytest.raises(CheckpointError, match="tells a number by 4 numbers; models with 6 can be loaded"):
        tabstar_lit.load(tmp_path / "other")


def test_one_of_our_own_is_written_as_the_package_has_it(bench: Bench, tmp_path: Path) -> None:
    encoder = tmp_path / "encoder"
    from benchmarks.golden.tabstar_v1 import write_encoder

    write_encoder(encoder)
    _, checkpoint = train(
        tmp_path, bench.corpus, "dataset_config.tables=[diabetes]", "model_config=tabstar/v11",
        f"model_config.architecture_config.text_encoder.name={encoder}",
        "model_config.architecture_config.text_encoder.unfreeze_layers=0",
    )  # fmt: skip
    own = tabstar_lit.load(find_checkpoint(str(checkpoint), []))
    assert isinstance(own, TrainedTabstar)
    folder = tmp_path / "folder"
    export_official(own, folder)
    again = tabstar_lit.load(folder)
    raw = bench.raw["diabetes"]
    np.testing.assert_array_equal(own.predict(raw)["prediction"], again.predict(raw)["prediction"])
    names = {name for name in STORED_OUTPUTS["shapes"] if not name.startswith(("text_encoder.", "tabular_encoder."))}
    with safe_open(folder / "model.safetensors", "pt") as file:
        written = set(file.keys())
    assert names <= written
    assert not [name for name in written if name.startswith("numerical_fusion.")]
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    assert {key: config[key] for key in ("d_num", "reg_dist_bins", "model_type")} == {
        "d_num": 6, "reg_dist_bins": 200, "model_type": "tabstar",
    }  # fmt: skip
