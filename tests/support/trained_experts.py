"""Short runs of ``train_experts`` on texts made by hand, in this process."""

from __future__ import annotations

import json
from pathlib import Path

from click.testing import CliRunner, Result
from hand_made_texts import trees, write_texts

from tabstar_lit.commands.train import train_experts
from tabstar_lit.engine.runs.records import COSTS

DOMAINS = {"forest": trees(60), "wood": trees(40, longest=5, first=900)}
MODELS = "runs/models/checkpoints/trees/run"
RECORDS = "runs/logs/trees/run"
SHORT = (
    "dataset_config={name: trees, corpus: texts}",
    "dataset_config.batch_size=4",
    "dataset_config.context_length=32",
    "model_config.architecture_config.width=16",
    "model_config.architecture_config.heads=2",
    "model_config.training_config.max_epochs=1",
    "model_config.training_config.accumulate_grad_batches=1",
    "stage_config.mixture.model_config.training_config.accumulate_grad_batches=1",
    "dataset_config.rows_per_epoch=24",
    "experiment_config.accelerator=cpu",
    "experiment_config.tracker=none",
    "experiment_config.log_every_n_steps=1",
    "experiment_config.plot_metrics_n_epoch=null",
    "experiment_config.experiment_name=trees",
    "experiment_config.run_name=run",
)
"""Six steps of a very small network for each stage, three of a diffuser."""


def train(*arguments: str) -> Result:
    """Run the command in this process, in the working directory, which holds ``texts``."""
    return CliRunner().invoke(train_experts, [*SHORT, *arguments], catch_exceptions=False)


def write_trees(folder: Path) -> Path:
    """Write the texts that :data:`SHORT` trains on."""
    return write_texts(folder / "texts", DOMAINS)


def best_checkpoints(folder: Path) -> dict[str, Path]:
    """Return the best checkpoint of each stage of the run."""
    record = json.loads((folder / RECORDS / "run.json").read_text())
    return {name: folder / MODELS / stage["best_checkpoint"] for name, stage in record["stages"].items()}


def metrics(folder: Path) -> list[dict[str, object]]:
    """Return what the run logged, without times and memory."""
    lines = [json.loads(line) for line in (folder / RECORDS / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in line.items() if name not in (*COSTS, "time")} for line in lines]
