"""Train the toy family the way a command does: from YAML, through the engine, into a run directory."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from toy import ToyFamily, ToyModule

from tabstar_lit.config import load_experiment
from tabstar_lit.engine.run import run
from tabstar_lit.engine.runs.directory import RunDirectory, run_directory

CONFIG = """
experiment_config:
  experiment_name: toys
  run_name: toy
  seed: 7
  accelerator: cpu
  devices: 1
  log_every_n_steps: 5
  tqdm_refresh_rate: 0
  tracker: none
  plot_metrics_n_epoch: null
dataset_config: {name: toy}
model_config:
  name: toy
  architecture_config: {}
  training_config:
    optimizer: {optimizer_name: AdamW, optimizer_params: {lr: 1e-2}}
    max_epochs: 3
"""


@dataclass
class Bench:
    """A folder with a toy configuration, and what was trained there."""

    folder: Path
    family: ToyFamily = field(default_factory=ToyFamily)

    def load(self, *overrides: str, primary: Path | None = None) -> Any:
        places = [
            f"experiment_config.save_dir={self.folder / 'logs'}",
            f"experiment_config.tracker_path={self.folder / 'figures'}",
            f"model_config.training_config.model_save_path={self.folder / 'models'}",
        ]
        return load_experiment(
            self.family.schema(),
            command="train_toy",
            overrides=[*places, *overrides],
            config_dir=self.folder,
            primary=primary,
        )

    def train(self, *overrides: str, resume: bool = False, checkpoint: Path | None = None) -> RunDirectory:
        return run(self.family, self.load(*overrides), resume=resume, checkpoint=checkpoint)

    def load_run(self) -> RunDirectory:
        loaded = self.load()
        name = loaded.experiment.experiment_config.run_name
        return run_directory(loaded.experiment.experiment_config, loaded.experiment.model, name)

    @property
    def module(self) -> ToyModule:
        return self.family.modules[-1]


def metrics(directory: RunDirectory, *, timings: bool = False) -> list[dict[str, Any]]:
    """Return the lines of metrics.jsonl, without what depends on the clock and the machine."""
    lines = [json.loads(line) for line in (directory.root / "metrics.jsonl").read_text().splitlines()]
    machine = () if timings else ("time", "epoch_seconds", "rss_mib", "train_memory_mib")
    kept = [{key: value for key, value in line.items() if key not in machine} for line in lines]
    return [line for line in kept if set(line) - {"stage", "epoch", "step"}]


def load_checkpoint(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = torch.load(path, weights_only=True)
    return content
