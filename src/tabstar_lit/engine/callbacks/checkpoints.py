"""Which checkpoints a run writes, and at which moments: whole optimizer steps and whole epochs only."""

from __future__ import annotations

import math
import os
import re
import shutil
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.utilities.rank_zero import rank_zero_warn

from tabstar_lit.config.schema import TrainingConfig
from tabstar_lit.engine.callbacks.monitor import score_of_epoch
from tabstar_lit.engine.runs.signals import signals
from tabstar_lit.engine.weights.files import read_checkpoint, unwritable
from tabstar_lit.errors import CheckpointError, SaveError
from tabstar_lit.files import replacement

INTERRUPTED, LAST = "_interrupted", "_last"
"""How the names of these files end."""


@dataclass(frozen=True, slots=True)
class Best:
    """One of the best checkpoints so far: its file name inside the run's folder, score, epoch and step."""

    name: str
    score: float
    epoch: int
    step: int


class Checkpoints(Checkpoint):
    """Write the best k, the last, periodic snapshots and the interrupted checkpoint of one stage.

    Every file is a full resume point. Files written at the end of an epoch say that the epoch is over (Lightning's own
    would say it is still ending, and would run its last hooks again on resume); files written inside an epoch stand at
    an optimizer step.

    Parameters
    ----------
    directory : Path
        Where the stage's checkpoints go.
    run_name : str
        First part of every file name.
    training : TrainingConfig
        ``monitor``, ``monitor_mode``, ``save_top_k``, ``save_last``, ``save_every_n_epochs``, ``save_every_n_steps``.
    record : callable
        Called on rank zero with a plain dict for every file written (kind, epoch, step, time, monitor, score, path).
    metrics_every : int or None
        Epochs from one computation of metrics to the next; between them an epoch has no rank.
    """

    def __init__(
        self,
        directory: Path,
        run_name: str,
        training: TrainingConfig,
        record: Callable[[dict[str, Any]], None],
        metrics_every: int | None = 1,
    ) -> None:
        self.directory = directory
        self.run_name = run_name
        self.training = training
        self.record = record
        self.metrics_every = metrics_every
        self.best: list[Best] = []
        self._dropped: list[Best] = []
        self._validated = False
        self._between_epochs = False
        self._last_step_saved = -1

    # -- moments ------------------------------------------------------------------------------------------------------

    def on_train_start(self, trainer: Trainer, module: LightningModule) -> None:
        """Begin the next epoch plainly when the run was resumed between two epochs."""
        if self._between_epochs:
            trainer.fit_loop.restarting = False
            self._between_epochs = False

    def on_validation_end(self, trainer: Trainer, module: LightningModule) -> None:
        """Remember that this epoch has a score."""
        self._validated = not trainer.sanity_checking

    def on_train_batch_end(
        self, trainer: Trainer, module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Write a snapshot every n optimizer steps; the last batch of an epoch is left to the epoch's end."""
        if self._step_snapshot_due(trainer) and not trainer.is_last_batch:
            self._write(trainer, {"snapshot": f"{self.run_name}_step={trainer.global_step}"})

    def on_train_epoch_end(self, trainer: Trainer, module: LightningModule) -> None:
        """Write whatever this epoch calls for, in one file with several names."""
        self._between_epochs = trainer.is_last_batch  # else the run ends inside this epoch, at max_steps or max_time
        names = self._epoch_names(trainer)
        if names:
            self._write(trainer, names, needed=self._is_end(trainer))
        self._between_epochs = self._validated = False

    def on_train_end(self, trainer: Trainer, module: LightningModule) -> None:
        """Remove the checkpoint of an interruption that has been overcome."""
        if trainer.is_global_zero:
            (self.directory / f"{self.run_name}{INTERRUPTED}.ckpt").unlink(missing_ok=True)

    def save_interrupted(self, trainer: Trainer) -> None:
        """Write the checkpoint of a run that is being stopped by a signal; a full disk does not keep it from ending."""
        self._between_epochs = trainer.is_last_batch
        names = {"interrupted": f"{self.run_name}{INTERRUPTED}"}
        self._write(trainer, names, without="the run stops without it")

    def _is_end(self, trainer: Trainer) -> bool:
        """Say whether nothing comes after this epoch, so that what is not saved now is lost."""
        epochs, steps = trainer.max_epochs or 0, trainer.max_steps
        over = trainer.current_epoch + 1 >= epochs or 0 <= steps <= trainer.global_step
        return (over or trainer.should_stop or not trainer.is_last_batch) and signals.noted is None

    # -- names --------------------------------------------------------------------------------------------------------

    def _step_snapshot_due(self, trainer: Trainer) -> bool:
        every = self.training.save_every_n_steps
        if not every:
            return False
        step = trainer.global_step
        return step % every == 0 and step not in (0, self._last_step_saved)

    def _epoch_names(self, trainer: Trainer) -> dict[str, str]:
        """Return file stem by kind for the epoch that just ended, best first."""
        names: dict[str, str] = {}
        epoch, every = trainer.current_epoch, self.training.save_every_n_epochs
        watched = self.training.save_top_k != 0 or self.training.early_stop_patience is not None
        if self._validated and watched and (best := self._enter_ranking(trainer)):
            names["top"] = best.name.removesuffix(".ckpt")
        if (every and (epoch + 1) % every == 0) or self._step_snapshot_due(trainer):
            names["snapshot"] = f"{self.run_name}_epoch={epoch}"
        if self.training.save_last:
            names["last"] = f"{self.run_name}{LAST}"
        return names

    def _enter_ranking(self, trainer: Trainer) -> Best | None:
        """Return the new entry when this epoch's score is among the best k, else None."""
        monitor = self.training.monitor
        score = score_of_epoch(trainer, monitor, metrics_every=self.metrics_every, key="training_config.monitor")
        if score is None:
            return None
        if score != score:
            rank_zero_warn(f"{monitor} is NaN in epoch {trainer.current_epoch}: not a candidate for the best.")
            return None
        stem = f"{self.run_name}_epoch={trainer.current_epoch}_{re.sub(r'[^A-Za-z0-9_.-]', '-', monitor)}={score:.4f}"
        entry = Best(f"{stem}.ckpt", score, trainer.current_epoch, trainer.global_step)
        sign = 1 if self.training.monitor_mode == "min" else -1
        ranking = sorted([*self.best, entry], key=lambda best: sign * best.score)
        k = len(ranking) if self.training.save_top_k < 0 else self.training.save_top_k
        self.best, self._dropped = ranking[:k], ranking[k:]
        return entry if entry in self.best else None

    # -- files --------------------------------------------------------------------------------------------------------

    def _write(
        self,
        trainer: Trainer,
        names: dict[str, str],
        *,
        needed: bool = False,
        without: str = "training goes on",
    ) -> None:
        """Write one checkpoint and give it every name in ``names``; what is not ``needed`` may fail with a warning."""
        self._last_step_saved = trainer.global_step
        paths = {kind: self.directory / f"{stem}.ckpt" for kind, stem in names.items()}
        first = next(iter(paths.values()))
        try:
            _save(trainer, first)
            if trainer.is_global_zero:
                for path in paths.values():
                    _link(first, path)
        except SaveError as error:
            if needed:
                raise
            rank_zero_warn(f"A checkpoint could not be written; {without}. {error}")
            # What was to make room for the new file is still there and still among the best.
            self.best = [best for best in [*self.best, *self._dropped] if (self.directory / best.name).exists()]
            self._dropped = []
            return
        if trainer.is_global_zero:
            for kind, path in paths.items():
                self.record(self._entry(trainer, kind, path))
            for best in self._dropped:
                (self.directory / best.name).unlink(missing_ok=True)
            for logger in trainer.loggers:
                logger.after_save_checkpoint(self)  # type: ignore[arg-type]  # Lightning's own callback is another
        self._dropped = []

    def _entry(self, trainer: Trainer, kind: str, path: Path) -> dict[str, Any]:
        score = trainer.callback_metrics.get(self.training.monitor)
        return {
            "epoch": trainer.current_epoch,
            "step": trainer.global_step,
            "time": time.time(),
            "kind": kind,
            "monitor": self.training.monitor,
            "score": None if score is None or not math.isfinite(score) else float(score),
            "path": path.name,
        }

    @property
    def best_path(self) -> Path | None:
        """The best checkpoint, or the last one where no score was asked for."""
        if self.best:
            return self.directory / self.best[0].name
        last = self.directory / f"{self.run_name}{LAST}.ckpt"
        return last if last.exists() else None

    # -- state --------------------------------------------------------------------------------------------------------

    def on_save_checkpoint(self, trainer: Trainer, module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Make files written at the end of an epoch say whether the epoch is over or was left inside."""
        loops = checkpoint["loops"]["fit_loop"]
        epochs, batches = loops["epoch_progress"], loops["epoch_loop.batch_progress"]
        for part in ("total", "current"):
            if self._between_epochs:
                epochs[part]["completed"] = epochs[part]["processed"]
            else:
                epochs[part]["processed"] = epochs[part]["completed"]
                batches[part]["completed"] = batches[part]["processed"] - 1

    def state_dict(self) -> dict[str, Any]:
        """Return the ranking and whether the file stands between two epochs."""
        return {
            "best": [asdict(best) for best in self.best],
            "between_epochs": self._between_epochs,
            "last_step_saved": self._last_step_saved,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on with a saved ranking."""
        self.best = [Best(**best) for best in state_dict["best"]]
        self._between_epochs = state_dict["between_epochs"]
        self._last_step_saved = state_dict["last_step_saved"]


def entry_of(path: Path, monitor: str) -> dict[str, Any] | None:
    """Return the record of a checkpoint from what is inside it, as :class:`Checkpoints` would have written it.

    None for a file that no training wrote, or that cannot be read.
    """
    try:
        content = read_checkpoint(path, mmap=True)
        best = content["callbacks"][Checkpoints.__qualname__]["best"]
        scores = {entry["name"]: entry["score"] for entry in best}
        place = {"epoch": content["epoch"], "step": content["global_step"], "time": path.stat().st_mtime}
    except (CheckpointError, KeyError, TypeError):
        return None
    endings = {INTERRUPTED: "interrupted", LAST: "last"}
    kind = next((kind for ending, kind in endings.items() if path.stem.endswith(ending)), None)
    kind = kind or ("top" if path.name in scores else "snapshot")
    return {**place, "kind": kind, "monitor": monitor, "score": scores.get(path.name), "path": path.name}


def _save(trainer: Trainer, path: Path) -> None:
    try:
        trainer.save_checkpoint(path)
    except SaveError:
        if trainer.world_size > 1:
            trainer.strategy.barrier()  # where the ranks that write nothing wait for this one
        raise


def _link(source: Path, target: Path) -> None:
    """Give ``source`` a second name, replacing an older file of that name atomically."""
    if source == target:
        return
    try:
        with replacement(target) as part:
            part.unlink(missing_ok=True)
            try:
                os.link(source, part)
            except OSError:  # a file system without hard links
                shutil.copyfile(source, part)
    except OSError as error:
        raise unwritable(target, error) from error
