"""Both stages through the command: what the second takes from the first, what it freezes, and what it logs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner

from tabstar_lit.commands.train import train_microbes
from tabstar_lit.families.microbes.family import family
from tabstar_lit.families.microbes.trained import TrainedMicrobes

SHORT = (
    *(f"model_config.architecture_config.{name}=1" for name in ("asv_layers", "sample_layers", "encoder_layers")),
    "model_config.architecture_config.embedding_dim=16",
    "model_config.training_config.max_epochs=1",
    "dataset_config.dataloader_kwargs.batch_size=64",
    "dataset_config.baseline=none",
    "experiment_config.accelerator=cpu",
    "experiment_config.tracker=none",
    "experiment_config.plot_metrics_n_epoch=null",
    "experiment_config.run_name=both",
)
LOGS = "runs/logs/microbes_generated/both"


@pytest.fixture(autouse=True)
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in a folder of the test's own."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def train(*arguments: str) -> None:
    done = CliRunner().invoke(train_microbes, [*SHORT, *arguments], catch_exceptions=False)
    assert done.exit_code == 0, done.output


def checkpoint(stage: str) -> Path:
    stages: dict[str, Any] = json.loads(Path(LOGS, "run.json").read_text())["stages"]
    return Path("runs/models/checkpoints/microbes_generated/both", stages[stage]["best_checkpoint"])


def trained() -> tuple[TrainedMicrobes, TrainedMicrobes]:
    return family.restore(checkpoint("encoder")), family.restore(checkpoint("predictor"))


def logged() -> set[str]:
    return {key for line in Path(LOGS, "metrics.jsonl").open() for key in json.loads(line)}


def test_a_frozen_encoder_is_the_pretrained_one_and_not_in_the_optimizer() -> None:
    train()
    encoder, predictor = trained()
    theirs = predictor.network.base.state_dict()
    for name, value in encoder.network.base.state_dict().items():
        assert torch.equal(theirs[name], value), name
    saved = torch.load(checkpoint("predictor"), weights_only=True)
    optimized = sum(len(group["params"]) for group in saved["optimizer_states"][0]["param_groups"])
    assert optimized == sum(not name.startswith("network.base.") for name in saved["state_dict"])
    assert {"val_unifrac_mse", "val_unifrac_r2", "val_nucleotide_accuracy", "val_auroc"} <= logged()


@pytest.mark.parametrize(("target", "score"), [("status", "val_auroc"), ("phenotype", "val_r2")])
def test_an_encoder_of_faiths_diversity_is_trained_on_with_classes_and_numbers(target: str, score: str) -> None:
    train(
        f"dataset_config.target={target}",
        "dataset_config.categories=[site]",
        "model_config.freeze_base=false",
        "model_config.architecture_config.encoder_type=faith_pd",
        "model_config.architecture_config.predictor.fusion=cross_attention",
    )
    encoder, predictor = trained()
    theirs = predictor.network.base.state_dict()
    moved = [not torch.equal(theirs[name], value) for name, value in encoder.network.base.state_dict().items()]
    assert sum(moved) > len(moved) / 2
    assert {"val_target", "val_count", "val_faith_pd", "val_nucleotide", "val_faith_pd_r2", score} <= logged()
