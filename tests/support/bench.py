"""Train a family as its command does, from YAML through the engine into run directories, all below one folder."""

from __future__ import annotations

import json
import os
import signal
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar
from unittest.mock import patch

import torch

from tabstar_lit.config import load_experiment
from tabstar_lit.engine.family import AnyFamily
from tabstar_lit.engine.module import TrainingModule
from tabstar_lit.engine.run import evaluate, run
from tabstar_lit.engine.runs.directory import RunDirectory, run_directory
from tabstar_lit.engine.runs.records import COSTS

REPOSITORY = Path(__file__).resolve().parents[2]
RUN = (
    "experiment_config.experiment_name=toys",
    "experiment_config.run_name=run",
    "experiment_config.seed=7",
    "experiment_config.accelerator=cpu",
    "experiment_config.devices=1",
    "experiment_config.log_every_n_steps=1",
    "experiment_config.tqdm_refresh_rate=0",
    "experiment_config.plot_metrics_n_epoch=null",
    "experiment_config.tracker=none",
)
"""A run that any machine repeats, without figures and tracking service."""


@dataclass
class Bench:
    """A folder to train in.

    A subclass says what: its family, the folder of its configuration, and what it always lays over that.
    """

    folder: Path
    family: AnyFamily
    always: ClassVar[tuple[str, ...]] = ()

    @property
    def config_dir(self) -> Path:
        """Where the configuration stands."""
        return REPOSITORY

    @property
    def places(self) -> tuple[str, ...]:
        """What has a run write into the folder."""
        return (
            f"experiment_config.save_dir={self.folder / 'logs'}",
            f"experiment_config.tracker_path={self.folder / 'figures'}",
            f"model_config.training_config.model_save_path={self.folder / 'models'}",
        )

    def load(self, *overrides: str, primary: Path | None = None) -> Any:
        return load_experiment(
            self.family.schema(),
            command=self.family.command,
            overrides=[*self.always, *self.places, *overrides],
            config_dir=self.config_dir,
            primary=primary,
            family_directory=self.family.name,
        )

    def train(self, *overrides: str, resume: bool = False, checkpoint: Path | None = None) -> RunDirectory:
        return run(self.family, self.load(*overrides), resume=resume, checkpoint=checkpoint)

    def evaluate(self, checkpoint: Path, *overrides: str) -> RunDirectory:
        return evaluate(self.family, self.load("experiment_config.run_name=test", *overrides), checkpoint)

    def load_run(self) -> RunDirectory:
        """Return the directory of the run that :meth:`train` makes."""
        experiment = self.load().experiment
        name = experiment.experiment_config.run_name
        return run_directory(experiment.experiment_config, experiment.model, name)

    def last(self, stage: str = "") -> dict[str, Any]:
        """Return the content of the last checkpoint, where there are several stages of one of them."""
        directory = self.load_run()
        return load_checkpoint(directory.checkpoints / stage / f"{directory.run_name}_last.ckpt")


@dataclass
class EventsBench(Bench):
    """A folder to train on collision events in.

    ``seen`` holds what :meth:`noted` says of every batch that was trained on, in order.
    """

    events: Path = Path()
    seen: list[Any] = field(default_factory=list)

    @property
    def places(self) -> tuple[str, ...]:
        return (f"dataset_config.files={self.events}", *super().places)

    def noted(self, module: Any, batch: Any) -> Any:
        """Return the rows of a batch."""
        return batch.rows.tolist()

    def train(self, *overrides: str, stop_in: str = "", stop_at: int | None = None, **how: Any) -> RunDirectory:
        """Train; the process gets SIGTERM in the middle of step ``stop_at``, of the stage with the role ``stop_in``."""
        training_step = TrainingModule.training_step

        def watching(module: TrainingModule, batch: Any, batch_idx: int) -> Any:
            self.seen.append(self.noted(module, batch))
            if (getattr(module, "role", ""), module.trainer.global_step) == (stop_in, stop_at):
                os.kill(os.getpid(), signal.SIGTERM)
            return training_step(module, batch, batch_idx)

        with patch.object(TrainingModule, "training_step", watching):
            return super().train(*overrides, **how)


def metrics(directory: RunDirectory, *, timings: bool = False) -> list[dict[str, Any]]:
    """Return the lines of metrics.jsonl, without what depends on the clock and the machine."""
    lines = [json.loads(line) for line in (directory.root / "metrics.jsonl").read_text().splitlines()]
    machine = () if timings else ("time", *COSTS, "train_memory_mib")
    kept = [{key: value for key, value in line.items() if key not in machine} for line in lines]
    return [line for line in kept if set(line) - {"stage", "epoch", "step"}]


def logged(directory: RunDirectory, name: str) -> list[float]:
    """Return the values of one metric in order."""
    return [line[name] for line in metrics(directory) if name in line]


def load_checkpoint(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = torch.load(path, weights_only=True)
    return content
