"""Training through the engine against a hand-written loop: the same network, batches and optimizer in one process."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from tabstar_lit.config import Stage, load_experiment
from tabstar_lit.engine.callbacks.checkpoints import Checkpoints
from tabstar_lit.engine.family import AnyFamily
from tabstar_lit.engine.module import TrainingModule
from tabstar_lit.engine.opening import locate
from tabstar_lit.engine.run_directory import RunDirectory
from tabstar_lit.engine.stages import Parts, build_parts, stage_loggers
from tabstar_lit.engine.trainer import build_callbacks, build_trainer

REPEATS = 3
EPOCHS = 4
"""The last one is timed: in the first the tracker, which starts beside the training, still takes its share."""


BareLoss = Callable[[TrainingModule, Any], Tensor]
"""The loss of a batch as a hand-written loop computes it."""


class Comparison(NamedTuple):
    """What a step costs through the engine and by hand: medians over :data:`REPEATS` alternating runs.

    Attributes
    ----------
    ratio : float
        Seconds of the bare loop over those of the engine; 1 is equally fast.
    extra_ms : float
        Milliseconds a step costs more.
    step_ms : float
        Milliseconds of a bare step.
    """

    ratio: float
    extra_ms: float
    step_ms: float


class Clock(Callback):
    """Time the training batches of the last epoch, from before the first is fetched to after the last."""

    def on_train_epoch_start(self, trainer: Trainer, module: LightningModule) -> None:
        """Start."""
        self.start = time.perf_counter()

    def on_train_batch_end(self, *_: Any) -> None:
        """Remember the time of the last batch so far."""
        self.seconds = time.perf_counter() - self.start


def compare(
    family: AnyFamily, overrides: Sequence[str], bare_loss: BareLoss, *, bare_overrides: Sequence[str] | None = None
) -> Comparison:
    """Train an epoch through the engine and by hand, in turns.

    The engine fetches each batch from its loader, checks losses and gradients, logs and keeps its records; the bare
    loop has all batches in memory and only trains. Each has trained before the epoch that is timed.

    Parameters
    ----------
    family : Family
        What is trained.
    overrides : sequence of str
        Laid over what its command trains by default.
    bare_loss : callable
        The loss of a batch in the bare loop.
    bare_overrides : sequence of str or None
        What the bare loop trains, where that is another network.
    """
    ratios, extra_ms, step_ms = [], [], []
    with tempfile.TemporaryDirectory() as folder:
        for repeat in range(REPEATS):
            engine_seconds, steps = _engine_epoch(family, *_experiment(family, Path(folder), f"e{repeat}", overrides))
            other = overrides if bare_overrides is None else bare_overrides
            bare_seconds = _bare_epoch(family, *_experiment(family, Path(folder), f"b{repeat}", other), bare_loss)
            ratios.append(bare_seconds / engine_seconds)
            extra_ms.append(1000 * (engine_seconds - bare_seconds) / steps)
            step_ms.append(1000 * bare_seconds / steps)
    return Comparison(statistics.median(ratios), statistics.median(extra_ms), statistics.median(step_ms))


def _experiment(
    family: AnyFamily, folder: Path, name: str, overrides: Sequence[str]
) -> tuple[Stage[Any], RunDirectory]:
    loaded = load_experiment(
        family.schema(),
        command=family.command,
        overrides=[
            f"experiment_config.save_dir={folder}/logs",
            f"experiment_config.tracker_path={folder}/figures",
            f"model_config.training_config.model_save_path={folder}/models",
            f"experiment_config.run_name={name}",
            "experiment_config.accelerator=cpu",
            "experiment_config.plot_metrics_n_epoch=null",
            "experiment_config.tqdm_refresh_rate=0",
            f"model_config.training_config.max_epochs={EPOCHS}",
            *overrides,
        ],
    )
    run = locate(loaded)
    run.create()
    return loaded.stages[0], run


def _engine_epoch(family: AnyFamily, stage: Stage[Any], run: RunDirectory) -> tuple[float, int]:
    parts = _warm_parts(family, stage, run)
    checkpoints = Checkpoints(run.checkpoints, run.run_name, stage.experiment.model.training_config, lambda _: None)
    clock = Clock()
    with stage_loggers(stage, run, None) as loggers:
        callbacks = [clock, *build_callbacks(stage.experiment, parts.tracker, checkpoints, seed=0)]
        trainer = build_trainer(stage.experiment, run, parts.module, loggers=loggers, callbacks=callbacks)
        trainer.fit(parts.module, datamodule=parts.data)
    return clock.seconds, trainer.global_step // EPOCHS


def _bare_epoch(family: AnyFamily, stage: Stage[Any], run: RunDirectory, bare_loss: BareLoss) -> float:
    parts = _warm_parts(family, stage, run)
    parts.module.train()
    configured: Any = parts.module.configure_optimizers()
    optimizer = configured["optimizer"] if isinstance(configured, dict) else configured
    batches = list(parts.data.train_dataloader())
    clip = stage.experiment.model.training_config.gradient_clip_val
    _bare_loop(parts.module, bare_loss, optimizer, batches, clip)
    return _bare_loop(parts.module, bare_loss, optimizer, batches, clip)


def _warm_parts(family: AnyFamily, stage: Stage[Any], run: RunDirectory) -> Parts:
    """Build data and module, and see every batch once: strings are encoded once in a run and not every epoch."""
    parts = build_parts(family, stage, run, seed=0)
    parts.module.plan_steps(parts.data.batches_per_epoch())
    with torch.no_grad():
        for batch in parts.data.train_dataloader():
            parts.module.compute(batch)
    return parts


def _bare_loop(
    module: TrainingModule,
    bare_loss: BareLoss,
    optimizer: torch.optim.Optimizer,
    batches: Sequence[Any],
    clip: float | None,
) -> float:
    """Train on batches that are already in memory, as a hand-written loop does; returns the seconds it took."""
    trained = [parameter for parameter in module.network.parameters() if parameter.requires_grad]
    start = time.perf_counter()
    for batch in batches:
        optimizer.zero_grad()
        bare_loss(module, batch).backward()  # type: ignore[no-untyped-call]  # torch's stubs leave it untyped
        if clip is not None:
            torch.nn.utils.clip_grad_norm_(trained, clip)
        optimizer.step()
    return time.perf_counter() - start
