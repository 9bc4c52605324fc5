"""Folders of the package ``tabstar``: it loads ours, we load its, and both say the same."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import huggingface_hub
import numpy as np
import pandas as pd
import pytest
import torch
from benchmarks.golden.tabstar_inputs import CLASSES, rows
from benchmarks.golden.tabstar_v1 import ROWS, answers, named_weights, write_published
from checks import assert_equal
from click.testing import CliRunner
from safetensors import safe_open
from trained_tables import Bench, train

import tabstar_lit
from tabstar_lit.commands.cli import main
from tabstar_lit.engine.weights.loading import find_checkpoint
from tabstar_lit.errors import CheckpointError, DataError, EncoderError
from tabstar_lit.families.tabstar.deployment.exporting import write_official
from tabstar_lit.families.tabstar.deployment.official import ENCODER_VARIABLE
from tabstar_lit.families.tabstar.deployment.trained import TrainedTabstar

TOLD: dict[str, Any] = answers()["model"]


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder as the package writes it."""
    folder = tmp_path_factory.mktemp("published")
    write_published(TOLD, folder)
    return folder


@pytest.fixture(scope="module")
def encoder_folder(published: Path) -> Path:
    return published / "encoder"


@pytest.fixture
def loaded(published: Path, encoder_folder: Path, monkeypatch: pytest.MonkeyPatch) -> TrainedTabstar:
    monkeypatch.setenv(ENCODER_VARIABLE, str(encoder_folder))
    model = tabstar_lit.load(published)
    assert isinstance(model, TrainedTabstar)
    return model


def test_a_folder_of_the_package_predicts_what_the_package_does(loaded: TrainedTabstar) -> None:
    frame, _ = rows(ROWS, seed=0)
    expected = np.array(TOLD["probabilities"])
    seen = loaded.predict(frame, target="answer", classes=CLASSES)
    assert expected.std(axis=0).min() > 1e-4, "the oracle must not be constant"
    np.testing.assert_allclose(seen.drop(columns="prediction"), expected, rtol=0, atol=1e-5)
    assert loaded.tables == ()
    with pytest.raises(DataError, match=r"knows no table.*described by its target"):
        loaded.predict(frame)


def test_what_is_written_is_what_the_package_has_loaded(
    loaded: TrainedTabstar, encoder_folder: Path, tmp_path: Path
) -> None:
    """The package has read such a folder, with these names, shapes and settings, and said the same from it."""
    write_official(loaded, tmp_path / "folder")
    config = json.loads((tmp_path / "folder" / "config.json").read_text())
    assert config.pop("embedding_model") == str(encoder_folder)
    assert config == TOLD["exported_config"]
    own = named_weights(TOLD["shapes"])
    with safe_open(tmp_path / "folder" / "model.safetensors", "pt") as file:
        assert set(file.keys()) == set(own)
        for name, weight in own.items():
            assert torch.equal(file.get_tensor(name), weight), name
    np.testing.assert_allclose(TOLD["exported_probabilities"], TOLD["probabilities"], rtol=0, atol=1e-6)


def test_a_trained_model_is_written_as_the_package_has_it(bench: Bench, encoder_folder: Path, tmp_path: Path) -> None:
    _, checkpoint = train(
        tmp_path, bench.corpus, "dataset_config.tables=[iris]", "model_config=tabstar/base",
        f"model_config.architecture_config.text_encoder.name={encoder_folder}",
        "model_config.architecture_config.text_encoder.unfreeze_layers=2",
    )  # fmt: skip
    done = CliRunner().invoke(main, ["export", str(checkpoint), "--tabstar", "-o", str(tmp_path / "folder")])
    assert done.exit_code == 0, done.output
    folder = tmp_path / "folder"
    assert json.loads((folder / "config.json").read_text())["model_type"] == "tabstar"
    own, again = tabstar_lit.load(checkpoint), tabstar_lit.load(folder)
    raw = bench.raw["iris"]
    before, after = own.predict(raw, table="iris"), again.predict(raw, table="iris")
    pd.testing.assert_frame_equal(before, after, check_exact=True)
    with safe_open(folder / "model.safetensors", "pt") as file:
        assert {name: list(file.get_slice(name).get_shape()) for name in file.keys()} == TOLD["shapes"]  # noqa: SIM118  # not a dictionary
        for name, weight in own.network.state_dict().items():
            assert torch.equal(weight, file.get_tensor(name)), name
    card = (folder / "README.md").read_text()
    assert "| iris | classification |" in card
    assert 'tabstar_lit.load("folder")' in card
    assert find_checkpoint(str(folder), []) == folder


def test_a_folder_starts_a_fine_tuning(
    bench: Bench, published: Path, encoder_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(ENCODER_VARIABLE, str(encoder_folder))
    _, checkpoint = train(
        tmp_path, bench.corpus, "dataset_config.tables=[iris]", "model_config=tabstar/finetune",
        f"model_config.base={published}", "model_config.architecture_config.text_encoder.unfreeze_layers=1",
        "model_config.training_config.max_epochs=1", "model_config.training_config.optimizer.optimizer_params.lr=0",
        "model_config.training_config.scheduler=null",
    )  # fmt: skip
    theirs = named_weights(TOLD["shapes"])
    for name, weight in tabstar_lit.load(checkpoint).network.state_dict().items():
        assert torch.equal(weight, theirs[name]), name


def test_safetensors_hold_the_weights_and_what_they_need(bench: Bench, model: TrainedTabstar, tmp_path: Path) -> None:
    done = CliRunner().invoke(main, ["export", str(bench.checkpoint), "-o", str(tmp_path / "m.safetensors")])
    assert done.exit_code == 0, done.output
    with safe_open(tmp_path / "m.safetensors", "pt") as file:
        kept = json.loads(file.metadata()["tabstar_lit"])
        own = model.network.state_dict()
        assert set(file.keys()) == set(own)
        assert all(torch.equal(file.get_tensor(name), own[name]) for name in own)
    assert kept["tables"]["iris"] == json.loads(json.dumps(model.config["tables"]["iris"]))
    assert "| trips | classification |" in (tmp_path / "m.README.md").read_text()
    assert_equal(dict(tabstar_lit.load(tmp_path / "m.safetensors").network.state_dict()), dict(own))


def test_what_the_package_cannot_load_is_refused(bench: Bench, tmp_path: Path) -> None:
    done = CliRunner().invoke(main, ["export", str(bench.checkpoint), "--tabstar", "-o", str(tmp_path / "folder")])
    assert done.exit_code == 2
    assert "text_encoder width 384, and this model has 32" in done.stderr
    assert not (tmp_path / "folder").exists()


def test_folders_that_cannot_be_used_say_why(published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    newer = tmp_path / "newer"
    newer.mkdir()
    (newer / "model.safetensors").write_bytes((published / "model.safetensors").read_bytes())
    (newer / "config.json").write_text(json.dumps({"model_type": "tabstar"}))
    monkeypatch.setenv(ENCODER_VARIABLE, str(tmp_path / "nowhere"))
    with pytest.raises(EncoderError, match="does not exist"):
        tabstar_lit.load(newer)
    monkeypatch.delenv(ENCODER_VARIABLE)
    (newer / "config.json").write_text("[]")
    with pytest.raises(CheckpointError, match="a JSON object is needed"):
        tabstar_lit.load(newer)
    with pytest.raises(CheckpointError, match="the hub did not give it"):
        find_checkpoint("nobody/no-such-model", [])


def test_predictions_of_the_published_size_do_not_depend_on_the_batch(loaded: TrainedTabstar) -> None:
    frame, _ = rows(60, seed=2)
    about: dict[str, Any] = {"target": "answer", "classes": CLASSES}
    whole = loaded.predict(frame, batch_size=60, **about).drop(columns="prediction")
    for batch_size in (1, 7):
        again = loaded.predict(frame, batch_size=batch_size, **about).drop(columns="prediction")
        np.testing.assert_allclose(again, whole, rtol=0, atol=1e-6)


def test_a_name_of_the_hub_is_looked_up_in_the_cache_first(
    published: Path, encoder_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cached = tmp_path / "models--somebody--TabSTAR"
    (cached / "refs").mkdir(parents=True)
    (cached / "refs" / "main").write_text("a" * 40)
    (cached / "snapshots").mkdir()
    (cached / "snapshots" / ("a" * 40)).symlink_to(published)
    monkeypatch.setattr(
        huggingface_hub, "snapshot_download", partial(huggingface_hub.snapshot_download, cache_dir=tmp_path)
    )
    monkeypatch.setenv(ENCODER_VARIABLE, str(encoder_folder))
    monkeypatch.chdir(tmp_path)
    model = tabstar_lit.load("somebody/TabSTAR")
    assert model.family == "tabstar"
    (tmp_path / "somebody").mkdir()  # then it is a path with a mistake in it
    with pytest.raises(CheckpointError, match="somebody/TabSTAR") as caught:
        tabstar_lit.load("somebody/TabSTAR")
    assert "hub" not in str(caught.value)
