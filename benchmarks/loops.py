"""Training through the engine against a hand-written loop: the same network, batches and optimizer in one process."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor
from torch.utils.data import DataLoader

from tabstar_lit.config import Stage, load_experiment
from tabstar_lit.engine.callbacks.checkpoints import Checkpoints
from tabstar_lit.engine.family import AnyFamily
from tabstar_lit.engine.lean import spared_by_the_collector
from tabstar_lit.engine.module import TrainingModule
from tabstar_lit.engine.optim.optimizers import FUSED
from tabstar_lit.engine.runs.directory import RunDirectory
from tabstar_lit.engine.runs.opening import locate
from tabstar_lit.engine.stages import Parts, build_parts, stage_loggers
from tabstar_lit.engine.trainer import build_callbacks, build_trainer

WARM_EPOCHS = 2
"""Epochs before the first that is timed: the tracker, which starts beside the training, takes its share of them."""
REPEATS = 5
"""Epochs that are timed."""

BareLoss = Callable[[TrainingModule, Any], Tensor]
"""The loss of a batch as a hand-written loop computes it."""
InMemory = Callable[[list[Any]], Sequence[Any]]
"""From all batches of an epoch to those of a hand-written loop, which it takes out of memory one by one."""


class Comparison(NamedTuple):
    """What a step costs through the engine and by hand: medians over :data:`REPEATS` epochs.

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


def torchs_optimizers() -> AbstractContextManager[Any]:
    """Return a context in which optimizers are built as torch has them, with the same kernels."""
    return patch.dict(FUSED, {"Adam": torch.optim.Adam, "AdamW": torch.optim.AdamW})


class BareLoop:
    """A network trained on tensors that are all in memory, as a hand-written loop does.

    Parameters
    ----------
    parts : Parts
        Data and module, which has trained on nothing yet.
    loss : callable
        The loss of a batch.
    in_memory : callable
        How it makes its batches; by default they are there already.
    fused : bool, default False
        Let torch use the kernel that updates all weights at once. A loop that just calls ``torch.optim.AdamW`` gets
        what torch chooses, which is another one. The optimizer is torch's own, and not that of the engine.
    """

    def __init__(self, parts: Parts, loss: BareLoss, *, in_memory: InMemory = list, fused: bool = False) -> None:
        self.module, self.loss = parts.module.train(), loss
        self.batches = in_memory(list(parts.data.train_dataloader()))
        self.trained = [p for p in self.module.network.parameters() if p.requires_grad]
        self.clip = self.module.config.training_config.gradient_clip_val
        with torchs_optimizers():
            configured: Any = self.module.configure_optimizers()
        self.optimizer = configured["optimizer"] if isinstance(configured, dict) else configured
        self.scheduler = configured["lr_scheduler"]["scheduler"] if isinstance(configured, dict) else None
        for group in self.optimizer.param_groups:
            group["fused"] = fused or None  # None: as torch chooses

    def step(self, number: int) -> float:
        """Train on the batch of this number; returns the seconds it took."""
        start = time.process_time()
        self.optimizer.zero_grad()
        loss = self.loss(self.module, self.batches[number])
        loss.backward()  # type: ignore[no-untyped-call]  # torch's stubs leave it untyped
        if self.clip is not None:
            torch.nn.utils.clip_grad_norm_(self.trained, self.clip)
        self.optimizer.step()
        if self.scheduler is not None:
            self.scheduler.step()
        return time.process_time() - start


class Turns(Callback):
    """After each step of the engine, take one by hand: taking turns, both see the same machine.

    What else runs on it, its clock and its caches change from second to second, by more than what is measured. The time
    of the engine is all that is not the bare step: from the start of the epoch to the end of its last batch. It is that
    of the processor, which other programs take no part of.
    """

    def __init__(self, bare: BareLoop) -> None:
        self.bare = bare
        self.bare_seconds: list[float] = []
        self.engine_seconds: list[float] = []

    def on_train_epoch_start(self, trainer: Trainer, module: LightningModule) -> None:
        """Start the clocks of the epoch."""
        self.bare_seconds.append(0.0)
        self.engine_seconds.append(0.0)
        self.start = time.process_time()

    def on_train_batch_end(
        self, trainer: Trainer, module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Add the engine's step, and take a bare one."""
        self.engine_seconds[-1] += time.process_time() - self.start
        self.bare_seconds[-1] += self.bare.step(batch_idx)
        self.start = time.process_time()

    def comparison(self) -> Comparison:
        """Return what the timed epochs say."""
        n_steps = len(self.bare.batches)
        pairs = list(zip(self.bare_seconds, self.engine_seconds, strict=True))[WARM_EPOCHS:]
        return Comparison(
            ratio=statistics.median(bare / engine for bare, engine in pairs),
            extra_ms=statistics.median(1000 * (engine - bare) / n_steps for bare, engine in pairs),
            step_ms=statistics.median(1000 * bare / n_steps for bare, _ in pairs),
        )


def compare(
    family: AnyFamily,
    overrides: Sequence[str],
    bare_loss: BareLoss,
    *,
    bare_overrides: Sequence[str] | None = None,
    in_memory: InMemory = list,
    fused: bool = False,
) -> Comparison:
    """Train through the engine and by hand, a step of each in turn.

    The engine fetches each batch from its loader, checks losses and gradients, logs, validates and keeps its records;
    the bare loop has everything in memory and only trains.

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
    in_memory, fused
        As for :class:`BareLoop`.
    """
    with tempfile.TemporaryDirectory() as folder:
        other = overrides if bare_overrides is None else bare_overrides
        parts = _warm_parts(family, *experiment(family, Path(folder), "bare", other))
        turns = Turns(BareLoop(parts, bare_loss, in_memory=in_memory, fused=fused))
        _train(family, *experiment(family, Path(folder), "engine", overrides), turns)
    return turns.comparison()


def train(family: AnyFamily, overrides: Sequence[str], callback: Callback, *, warm: bool = True) -> None:
    """Train through the engine with one more callback, and leave nothing behind; ``warm`` sees every batch before."""
    with tempfile.TemporaryDirectory() as folder:
        _train(family, *experiment(family, Path(folder), "engine", overrides), callback, warm=warm)


class PlainModule(LightningModule):
    """The same network and loss under Lightning alone, without anything of the engine."""

    def __init__(self, module: TrainingModule, loss: BareLoss) -> None:
        super().__init__()
        self.module, self.loss = module, loss

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """Return the loss of a batch."""
        return self.loss(self.module, batch)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Return torch's own of what the engine would train with."""
        with torchs_optimizers():
            return self.module.configure_optimizers()


def compare_lightning(family: AnyFamily, overrides: Sequence[str], bare_loss: BareLoss) -> Comparison:
    """Train through Lightning's Trainer with everything switched off that can be, and by hand: what nobody can save.

    Batches are in memory and the optimizer is fused for both; no logger, no checkpoint, no validation and no progress
    bar.

    Parameters
    ----------
    family, overrides, bare_loss
        As for :func:`compare`.
    """
    with tempfile.TemporaryDirectory() as folder:
        parts = _warm_parts(family, *experiment(family, Path(folder), "bare", overrides))
        turns = Turns(BareLoop(parts, bare_loss, fused=True))
        module = _warm_parts(family, *experiment(family, Path(folder), "lightning", overrides)).module
        trainer = Trainer(
            accelerator="cpu",
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            max_epochs=WARM_EPOCHS + REPEATS,
            callbacks=[turns],
            gradient_clip_val=turns.bare.clip,
        )
        loader = DataLoader(turns.bare.batches, batch_size=None, collate_fn=lambda batch: batch)  # type: ignore[arg-type, var-annotated]  # a list is a data set
        trainer.fit(PlainModule(module, bare_loss), loader)
    return turns.comparison()


def beside_lightning(name: str, engine: Comparison, lightning: Comparison) -> dict[str, float]:
    """Return what the engine costs beside Lightning alone, both against a loop whose optimizer is fused, by name."""
    return {
        f"{name}_vs_fused_bare": engine.ratio,
        f"{name}_fused_extra_ms": engine.extra_ms,
        f"{name}_lightning_alone_vs_fused_bare": lightning.ratio,
        f"{name}_lightning_alone_extra_ms": lightning.extra_ms,
    }


def experiment(family: AnyFamily, folder: Path, name: str, overrides: Sequence[str]) -> tuple[Stage[Any], RunDirectory]:
    """Compose what a command trains by default under ``overrides``, with a run directory below ``folder``."""
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
            f"model_config.training_config.max_epochs={WARM_EPOCHS + REPEATS}",
            *overrides,
        ],
    )
    run = locate(loaded)
    run.create()
    return loaded.stages[0], run


def _train(family: AnyFamily, stage: Stage[Any], run: RunDirectory, callback: Callback, *, warm: bool = True) -> None:
    parts = _warm_parts(family, stage, run) if warm else build_parts(family, stage, run, seed=0)
    parts.module.plan_steps(parts.data.batches_per_epoch())
    checkpoints = Checkpoints(run.checkpoints, run.run_name, stage.experiment.model.training_config, lambda _: None)
    with stage_loggers(stage, run, None) as loggers:
        callbacks = [*build_callbacks(stage.experiment, parts.tracker, checkpoints, seed=0), callback]
        trainer = build_trainer(stage.experiment, run, parts.module, loggers=loggers, callbacks=callbacks)
        with spared_by_the_collector():
            trainer.fit(parts.module, datamodule=parts.data)


def _warm_parts(family: AnyFamily, stage: Stage[Any], run: RunDirectory) -> Parts:
    """Build data and module, and see every batch once: strings are encoded once in a run and not every epoch."""
    parts = build_parts(family, stage, run, seed=0)
    parts.module.plan_steps(parts.data.batches_per_epoch())
    with torch.no_grad():
        for batch in parts.data.train_dataloader():
            parts.module.compute(batch)
    return parts
