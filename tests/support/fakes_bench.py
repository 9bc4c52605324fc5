"""Train small density-ratio models as the command does: from the shipped YAML, through the engine, on few toys."""

from __future__ import annotations

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
from tabstar_lit.engine.runs.directory import RunDirectory
from tabstar_lit.engine.runs.records import read_run
from tabstar_lit.families.hep.batch import EventBatch
from tabstar_lit.families.hep.fakes.config import FakesDataset
from tabstar_lit.families.hep.fakes.data import FakesData
from tabstar_lit.families.hep.fakes.family import family
from tabstar_lit.families.hep.fakes.module import FakesModule
from tabstar_lit.families.hep.fakes.training_config import FakesTraining

REPOSITORY = Path(__file__).resolve().parents[2]
ARCHITECTURE = "model_config.architecture_config"
TRAINING = "model_config.training_config"
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
    "dataset_config.dataloader_kwargs.batch_size=128",
    "dataset_config.split.test=0.1",
    "dataset_config.feature_scaling.numer_scaler_type=standard",
    f"{TRAINING}.max_epochs=2",
    f"{TRAINING}.mc_norm_sigma=0.1",
    f"{ARCHITECTURE}.layers_dim=[8]",
    f"{TRAINING}.monitor=val_loss",
    f"{ARCHITECTURE}.ensemble={{heads: 3, hidden_dims: [8], dropout: 0.1}}",
)
"""Three stages of a few steps each on the 1000 toy events of the fixture."""
ROLES = ("numerator", "denominator", "ratio")


@dataclass
class FakesBench:
    """A folder to train in.

    ``seen`` holds role and rows of every batch that was trained on, in order.
    """

    folder: Path
    events: Path
    seen: list[tuple[str, list[int]]] = field(default_factory=list)

    def load(self, *overrides: str) -> Any:
        places = (
            f"dataset_config.files={self.events}",
            f"experiment_config.save_dir={self.folder / 'logs'}",
            f"experiment_config.tracker_path={self.folder / 'figures'}",
            f"{TRAINING}.model_save_path={self.folder / 'models'}",
        )
        return load_experiment(
            family.schema(),
            command=family.command,
            overrides=[*RUN, *places, *overrides],
            config_dir=REPOSITORY,
            family_directory=family.name,
        )

    def train(self, *overrides: str, resume: bool = False, stop_in: str = "", stop_at: int = 0) -> RunDirectory:
        """Train; the process gets SIGTERM in the middle of step ``stop_at`` of the stage ``stop_in``."""
        with watched(self.seen, stop_in, stop_at):
            return run(family, self.load(*overrides), resume=resume)

    def evaluate(self, checkpoint: Path, *overrides: str) -> RunDirectory:
        return evaluate(family, self.load("experiment_config.run_name=test", *overrides), checkpoint)

    def stages(self) -> dict[str, Any]:
        """Return what the run recorded of each stage."""
        stages: dict[str, Any] = read_run(self.folder / "logs/toys/run")["stages"]
        return stages

    def best(self, role: str) -> Path:
        """Return the best checkpoint of a stage."""
        return self.folder / "models/toys/run" / str(self.stages()[role]["best_checkpoint"])

    def last(self, role: str) -> dict[str, Any]:
        """Return the content of the last checkpoint of a stage."""
        path = self.folder / f"models/toys/run/{role}/run_last.ckpt"
        content: dict[str, Any] = torch.load(path, weights_only=True)
        return content


@contextmanager
def watched(seen: list[tuple[str, list[int]]], stop_in: str, stop_at: int) -> Iterator[None]:
    """Note role and rows of training batches, and send this process a signal at an optimizer step."""
    compute = FakesModule.compute

    def watching(module: FakesModule, batch: EventBatch) -> StepOutput:
        if module.training:
            seen.append((module.role, batch.rows.tolist()))
            if (module.role, module.trainer.global_step) == (stop_in, stop_at):
                os.kill(os.getpid(), signal.SIGTERM)
        return compute(module, batch)

    FakesModule.compute = watching  # type: ignore[method-assign]  # put back below
    try:
        yield
    finally:
        FakesModule.compute = compute  # type: ignore[method-assign]  # as it was


def open_events(
    path: Path, role: Any = "numerator", /, *, heads: int = 1, models: Any = None, **keys: Any
) -> FakesData:
    """Return the events of a stage; ``keys`` are of ``dataset_config`` or, in ``training``, of ``training_config``."""
    training = FakesTraining(**keys.pop("training", {}))
    config = FakesDataset.model_validate({"name": "toys", "files": str(path), **keys}, strict=False)
    return FakesData(config, role=role, seed=7, training=training, heads=heads, models=models)
