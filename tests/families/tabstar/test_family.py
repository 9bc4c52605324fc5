"""The tabstar family through the engine: pretrain then fine-tune, and a network rebuilt from its checkpoint alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from tabstar_lit.config import Loaded, load_experiment
from tabstar_lit.engine.run import run
from tabstar_lit.engine.weights.files import CHECKPOINT_KEY, read_checkpoint
from tabstar_lit.engine.weights.loading import load_weights
from tabstar_lit.families.tabstar.config import TabstarArchitecture
from tabstar_lit.families.tabstar.family import family
from tabstar_lit.families.tabstar.network import TabStarNetwork
from tabstar_lit.families.tabstar.tables.builtin import ensure_builtin
from tabstar_lit.nn.text_sources import from_payload

TWO_STAGES = (
    "stages=[pretrain, finetune]",
    "stage_config={pretrain: {dataset_config: {exclude: [diabetes]}}, finetune: {dataset_config: {tables: [diabetes]}, "
    "model_config: {load_modules: {text_encoder: pretrain, tabular_encoder: pretrain}, freeze: [text_encoder]}}}",
)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return ensure_builtin(tmp_path_factory.mktemp("corpus") / "builtin.h5")


def load(folder: Path, corpus: Path, *overrides: str) -> Loaded[Any]:
    settings = (
        "model_config=tabstar/tiny", f"dataset_config.corpus={corpus}", "dataset_config.tables=[iris, diabetes]",
        "dataset_config.rows_per_dataset=32", "model_config.training_config.max_epochs=1",
        "experiment_config.run_name=run", "experiment_config.plot_metrics_n_epoch=null",
        "experiment_config.tracker=none",
        f"experiment_config.save_dir={folder}/logs", f"experiment_config.tracker_path={folder}/figures",
        f"model_config.training_config.model_save_path={folder}/models",
    )  # fmt: skip
    return load_experiment(family.schema(), command=family.command, overrides=[*settings, *overrides])


def test_pretrain_then_finetune(tmp_path: Path, corpus: Path) -> None:
    directory = run(family, load(tmp_path, corpus, "dataset_config.tables=null", *TWO_STAGES))
    stages = directory.record()["stages"]
    assert [stage["status"] for stage in stages.values()] == ["finished", "finished"]
    pretrained, tuned = (load_weights(directory.checkpoints / stage["best_checkpoint"]) for stage in stages.values())
    encoder = [name for name in pretrained if name.startswith("text_encoder.")]
    assert encoder
    assert all(torch.equal(pretrained[name], tuned[name]) for name in encoder)
    moved = [name for name in pretrained if name.startswith("tabular_encoder.") and "weight" in name]
    assert any(not torch.equal(pretrained[name], tuned[name]) for name in moved)


def test_a_checkpoint_is_enough_to_rebuild_the_network(tmp_path: Path, corpus: Path) -> None:
    loaded = load(tmp_path, corpus)
    directory = run(family, loaded)
    path = directory.checkpoints / directory.record()["stages"]["pretrain"]["best_checkpoint"]
    payload = read_checkpoint(path)[CHECKPOINT_KEY]["payload"]

    architecture = TabstarArchitecture(**payload["architecture_config"])
    rebuilt = TabStarNetwork(architecture, from_payload(payload["encoder"], architecture.text_encoder))
    rebuilt.load_state_dict(load_weights(path))

    data = family.data(loaded.experiment, seed=directory.record()["seed"])
    module = family.module(loaded.experiment, data)
    module.network.load_state_dict(load_weights(path))
    for network in (rebuilt, module.network):
        network.eval()
    for batch in list(data.val_dataloader())[:2]:
        with torch.no_grad():
            torch.testing.assert_close(rebuilt(batch), module.network(batch), atol=1e-6, rtol=0)
    assert set(payload["tables"]) == {"iris", "diabetes"}
    assert payload["tables"]["iris"]["features"]
