"""A trial of a study: a training like any other, watched at every validation."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from tabstar_lit.config import Loaded
from tabstar_lit.engine.run import run
from tabstar_lit.engine.runs.directory import RunDirectory
from tabstar_lit.engine.runs.files import RunFiles
from tabstar_lit.engine.tracker import Tracker
from tabstar_lit.errors import ConfigError, NonFiniteError, RunError, RunInterrupted, TabstarLitError

if TYPE_CHECKING:
    from tabstar_lit.engine.family import AnyFamily

Judge = Callable[[int, float], bool]
"""Told epoch and value at every validation; says whether to stop."""


@dataclass(frozen=True)
class Job:
    """One trial to be trained.

    Attributes
    ----------
    number : int
        Of the trial.
    loaded : Loaded
        Its own configuration.
    argv : tuple of str
        The command line that would train the same, for the record.
    resume : bool
        It was interrupted, and goes on.
    """

    number: int
    loaded: Loaded[Any]
    argv: tuple[str, ...]
    resume: bool


@dataclass(frozen=True)
class Result:
    """How a trial ended.

    Attributes
    ----------
    value : float or None
        The monitored metric of its best epoch; None when there is none.
    pruned : bool
        It was stopped because it promised nothing.
    failure : str
        Why there is no value.
    fatal : bool
        The reason would spoil the other trials, too.
    signum : int or None
        The signal that stopped it.
    """

    value: float | None = None
    pruned: bool = False
    failure: str = ""
    fatal: bool = False
    signum: int | None = None


@dataclass(frozen=True)
class Training:
    """How a job becomes a result; the same for all trials of a study.

    Attributes
    ----------
    family : Family
        Whose trainings these are.
    monitor : str
        The metric whose best epoch is the value of a trial.
    maximize : bool
        Whether a higher one is better.
    parent_run_id : str or None
        MLflow run of the study.
    threads : int or None
        Of the processor, for each trial; None: all that torch takes by itself.
    """

    family: AnyFamily
    monitor: str
    maximize: bool
    parent_run_id: str | None
    threads: int | None = None

    def __call__(self, job: Job, judge: Judge) -> Result:
        """Train one trial to its end, and say what came of it."""
        if self.threads is not None:
            torch.set_num_threads(self.threads)
        watch = Watch(self.monitor, judge)
        try:
            directory = run(
                self.family,
                job.loaded,
                argv=job.argv,
                resume=job.resume,
                parent_run_id=self.parent_run_id,
                watch=watch,
            )
        except RunInterrupted as interruption:
            return Result(signum=interruption.signum)
        except (NonFiniteError, ConfigError, MemoryError, torch.OutOfMemoryError) as error:
            return Result(failure=f"{type(error).__name__}: {error}")
        except TabstarLitError as error:
            return Result(failure=str(error), fatal=True)
        value = self._best(directory, job.loaded.stages[-1].name)
        return Result(value, watch.pruned, "" if value is not None else f"{self.monitor} was never finite")

    def _best(self, directory: RunDirectory, stage: str) -> float | None:
        """Return the value of the best epoch, read from the records: an interrupted run has epochs of before, too."""
        epochs = RunFiles(directory.root).epochs(stage).values()
        found = [value for epoch in epochs if (value := epoch.get(self.monitor)) is not None and math.isfinite(value)]
        return (max if self.maximize else min)(found, default=None)


class Watch(Callback):
    """Tell the study the monitored metric after each validation, and stop when it says so.

    Parameters
    ----------
    monitor : str
        The metric.
    judge : callable
        Epochs that were validated before an interruption are told to it again.
    """

    def __init__(self, monitor: str, judge: Judge) -> None:
        self.monitor = monitor
        self.judge = judge
        self.pruned = False
        self._told: set[int] = set()

    def on_validation_end(self, trainer: Trainer, module: LightningModule) -> None:
        """Hand on what the tracker has written down."""
        if trainer.sanity_checking or not trainer.is_global_zero:
            return
        (tracker,) = (callback for callback in trainer.callbacks if isinstance(callback, Tracker))  # type: ignore[attr-defined]  # set by Lightning's callback connector
        for entry in tracker.history:
            if self.monitor not in entry:
                known = ", ".join(name for name in entry if name != "epoch")
                raise RunError(
                    f"tuning_config.monitor: there is no {self.monitor!r} in epoch {entry['epoch']:.0f}. Computed: "
                    f"{known}. Set it to one of these."
                )
            epoch = int(entry["epoch"])
            if epoch not in self._told:
                self._told.add(epoch)
                self.pruned = self.judge(epoch, float(entry[self.monitor]))
        trainer.should_stop = trainer.should_stop or self.pruned
