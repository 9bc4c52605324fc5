"""Train a small signal classifier as the command does: from the shipped YAML, through the engine, on few events."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from tabstar_lit.config import load_experiment
from tabstar_lit.engine.module import StepOutput
from tabstar_lit.engine.run import evaluate, run
from tabstar_lit.engine.runs.directory import RunDirectory, run_directory
from tabstar_lit.families.hep.batch import EventBatch
from tabstar_lit.families.hep.signal.family import family
from tabstar_lit.families.hep.signal.module import SignalModule

REPOSITORY = Path(__file__).resolve().parents[2]
FEATURES = "[met, n_jets, ht, m_jj, pt_jj, deta_jj, dphi_jj]"
RUN = (
    "experiment_config.experiment_name=toys",
    "experiment_config.run_name=run",
    "experiment_config.seed=7",
    "experiment_config.accelerator=cpu",
    "experiment_config.devices=1",
    "experiment_config.log_every_n_steps=1",
    "experiment_config.tqdm_refresh_rate=0",
    "experiment_config.tracker=none",
    "experiment_config.plot_metrics_n_epoch=null",
    "dataset_config.dataloader_kwargs.batch_size=64",
    "model_config.training_config.max_epochs=2",
)
"""A run of twelve steps on the 600 toy events of the fixture."""
FLAT = (
    "model_config=signal/mlp",
    f"dataset_config.features={FEATURES}",
    "model_config.architecture_config.n_layers=2",
    "model_config.architecture_config.n_hidden=16",
    "model_config.architecture_config.embedding_dim=4",
)
"""A small MLP, with the dropout of the shipped one, on the events' own features."""
JAGGED = ("model_config.architecture_config.embedding_dim=8", "model_config.architecture_config.heads=2")
"""A small network of the default's kind on jets and the events' own features."""


@dataclass
class SignalBench:
    """A folder to train in.

    ``seen`` holds the rows of every batch that was trained on, in order.
    """

    folder: Path
    events: Path
    seen: list[list[int]] = field(default_factory=list)

    def load(self, *overrides: str) -> Any:
        places = (
            f"dataset_config.files={self.events}",
            f"experiment_config.save_dir={self.folder / 'logs'}",
            f"experiment_config.tracker_path={self.folder / 'figures'}",
            f"model_config.training_config.model_save_path={self.folder / 'models'}",
        )
        return load_experiment(
            family.schema(),
            command=family.command,
            overrides=[*RUN, *places, *overrides],
            config_dir=REPOSITORY,
            family_directory=family.name,
        )

    def train(self, *overrides: str, resume: bool = False, stop_at: int | None = None) -> RunDirectory:
        """Train; the process gets SIGTERM in the middle of step ``stop_at``."""
        with watched(self.seen, stop_at):
            return run(family, self.load(*overrides), resume=resume)

    def evaluate(self, checkpoint: Path, *overrides: str) -> RunDirectory:
        return evaluate(family, self.load("experiment_config.run_name=test", *overrides), checkpoint)

    def load_run(self) -> RunDirectory:
        """Return the directory of the run that :meth:`train` makes."""
        experiment = self.load().experiment
        return run_directory(experiment.experiment_config, experiment.model, "run")

    def last(self) -> dict[str, Any]:
        """Return the content of the last checkpoint."""
        content: dict[str, Any] = torch.load(self.folder / "models/toys/run/run_last.ckpt", weights_only=True)
        return content


@contextmanager
def watched(seen: list[list[int]], stop_at: int | None) -> Iterator[None]:
    """Note the rows of training batches, and send this process a signal at an optimizer step."""
    compute = SignalModule.compute

    def watching(module: SignalModule, batch: EventBatch) -> StepOutput:
        if module.training:
            seen.append(batch.rows.tolist())
            if module.trainer.global_step == stop_at:
                os.kill(os.getpid(), signal.SIGTERM)
        return compute(module, batch)

    SignalModule.compute = watching  # type: ignore[method-assign]  # put back below
    try:
        yield
    finally:
        SignalModule.compute = compute  # type: ignore[method-assign]  # as it was


def metrics(directory: RunDirectory) -> list[dict[str, Any]]:
    """Return the lines of metrics.jsonl, without what depends on the clock and the machine."""
    machine = ("time", "epoch_seconds", "rss_mib", "train_memory_mib")
    lines = [json.loads(line) for line in (directory.root / "metrics.jsonl").read_text().splitlines()]
    kept = [{key: value for key, value in line.items() if key not in machine} for line in lines]
    return [line for line in kept if set(line) - {"stage", "epoch", "step"}]


def logged(directory: RunDirectory, name: str) -> list[float]:
    """Return the values of one metric in order."""
    return [line[name] for line in metrics(directory) if name in line]
