"""Train the toy family as a command would."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import bench
from bench import load_checkpoint, metrics
from toy import ToyFamily, ToyModule

__all__ = ["CONFIG", "Bench", "load_checkpoint", "metrics"]

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
class Bench(bench.Bench):
    """A folder with a toy configuration, and what was trained there."""

    family: ToyFamily = field(default_factory=ToyFamily)

    @property
    def config_dir(self) -> Path:
        return self.folder

    @property
    def module(self) -> ToyModule:
        """The last one that was made."""
        return self.family.modules[-1]
