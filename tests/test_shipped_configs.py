"""Every shipped configuration trains: each model on each data set, through the command, with metrics and checkpoint."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result

from tabstar_lit.commands.train import train_tabstar
from tabstar_lit.families.tabstar.tables.builtin import ensure_builtin

REPOSITORY = Path(__file__).resolve().parents[1]
ENCODER = "model_config.architecture_config.text_encoder"
# The published model takes its encoder from the hub; this one has as many layers as are trained there.
OFFLINE = (f"{ENCODER}.name=random", f"{ENCODER}.random={{hidden_size: 24, layers: 6, heads: 2, ffn_hidden: 48}}")
SHORT = (
    "dataset_config.tables=[iris, diabetes]",
    "dataset_config.rows_per_dataset=16",
    "dataset_config.val_rows_per_dataset=16",
    "model_config.training_config.max_steps=2",
    "model_config.training_config.accumulate_grad_batches=1",
    "experiment_config.accelerator=cpu",
    "experiment_config.tracker=none",
    "experiment_config.log_every_n_steps=1",
    "experiment_config.plot_metrics_n_epoch=null",
)
"""Two steps, which are an epoch of two tables."""


def shipped(group: str) -> list[str]:
    """Return the options of a group, as they are chosen on the command line."""
    return [
        path.relative_to(REPOSITORY / group).with_suffix("").as_posix()
        for path in sorted((REPOSITORY / group / "tabstar").glob("*.yaml"))
    ]


MODELS, DATASETS = shipped("model_config"), shipped("dataset_config")


def train(model: str, dataset: str, *arguments: str) -> Result:
    """Run the command in this process."""
    encoder = () if model == "tabstar/tiny" else OFFLINE
    chosen = (f"model_config={model}", f"dataset_config={dataset}")
    return CliRunner().invoke(train_tabstar, [*chosen, *encoder, *SHORT, *arguments], catch_exceptions=False)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the built-in tables under every name that a shipped data set looks for."""
    folder = tmp_path_factory.mktemp("shipped")
    made = ensure_builtin(folder / "data/tabstar_builtin.h5")
    for name in ("corpus.h5", "public_tables.h5"):
        shutil.copyfile(made, folder / "data" / name)
    return folder


@pytest.fixture(autouse=True)
def workplace(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in that folder."""
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture(scope="module")
def pretrained(folder: Path) -> Path:
    """Return the checkpoint that fine-tuning starts from, under the name the shipped file looks for."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        done = train("tabstar/base", "tabstar/builtin", "experiment_config.run_name=base")
    assert done.exit_code == 0, done.output
    checkpoints = folder / "runs/models/checkpoints"
    return Path(shutil.copyfile(checkpoints / "tabstar_builtin/base/base_last.ckpt", checkpoints / "pretrained.ckpt"))


def assert_trained(folder: Path, dataset: str, run_name: str) -> None:
    """Two steps were made, the tables were scored, and the best checkpoint is on disk, filed under the data set."""
    place = Path(dataset.replace("/", "_"), run_name)
    run = folder / "runs/logs" / place
    stage = json.loads((run / "run.json").read_text())["stages"]["pretrain"]
    assert (stage["status"], stage["steps"]) == ("finished", 2)
    assert np.isfinite(stage["best_score"])
    best = folder / "runs/models/checkpoints" / place / stage["best_checkpoint"]
    state = torch.load(best, weights_only=True)["state_dict"]
    assert all(bool(weights.isfinite().all()) for weights in state.values() if weights.is_floating_point())
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert {"train_loss_step", "train_loss", "val_loss", "val_score/iris"} <= {name for line in lines for name in line}


@pytest.mark.parametrize("dataset", DATASETS)
@pytest.mark.parametrize("model", MODELS)
@pytest.mark.usefixtures("pretrained")
def test_every_model_trains_on_every_data_set(model: str, dataset: str, folder: Path) -> None:
    name = f"{model}-{dataset}".replace("/", "-")
    done = train(model, dataset, f"experiment_config.run_name={name}")
    assert done.exit_code == 0, done.output
    assert_trained(folder, dataset, name)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("dataset", DATASETS)
@pytest.mark.usefixtures("pretrained")
def test_every_model_and_data_set_passes_the_check(model: str, dataset: str, folder: Path) -> None:
    before = sorted(folder.rglob("*"))
    done = train(model, dataset, "--check")
    assert done.exit_code == 0, done.output
    assert "gradient norm" in done.stdout
    assert sorted(folder.rglob("*")) == before


def test_the_default_trains_with_its_own_encoder(folder: Path) -> None:
    """Nothing is chosen: what a newcomer gets who types the command alone, only shorter."""
    arguments = [*SHORT, "experiment_config.run_name=default"]
    done = CliRunner().invoke(train_tabstar, arguments, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert_trained(folder, "tabstar/builtin", "default")
