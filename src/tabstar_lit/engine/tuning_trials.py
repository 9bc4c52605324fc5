"""The trials of a study: each a training of its own, one after the other or several at a time in processes."""

from __future__ import annotations

import math
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing.connection import Connection, wait
from typing import TYPE_CHECKING, Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from tabstar_lit.config import Loaded
from tabstar_lit.engine.run import run
from tabstar_lit.engine.run_directory import RunDirectory
from tabstar_lit.engine.run_files import RunFiles
from tabstar_lit.engine.tracker import Tracker
from tabstar_lit.errors import ConfigError, NonFiniteError, RunError, RunInterrupted, TabstarLitError

if TYPE_CHECKING:
    from types import FrameType

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
    """How a job becomes a result; the same for all trials of a study."""

    family: AnyFamily
    monitor: str
    maximize: bool
    parent_run_id: str | None

    def __call__(self, job: Job, judge: Judge) -> Result:
        """Train one trial to its end, and say what came of it."""
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
        except KeyboardInterrupt:
            return Result(signum=signal.SIGINT)
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


# -- one after the other ----------------------------------------------------------------------------------------------

NextJob = Callable[[], Job | None]
JudgeOf = Callable[[Job, int, float], bool]
Done = Callable[[Job, Result], bool]
"""Told how a trial ended; says whether to go on."""


def one_at_a_time(training: Training, next_job: NextJob, judge: JudgeOf, done: Done) -> None:
    """Train what ``next_job`` gives in this process until it gives nothing more, or ``done`` says to stop."""
    going_on = True
    while going_on and (job := next_job()) is not None:
        going_on = done(job, training(job, partial(judge, job)))


# -- several at a time ------------------------------------------------------------------------------------------------


@dataclass
class Worker:
    """A process that trains one job after the other, the line to it, and its job."""

    process: Any
    connection: Connection
    job: Job | None = None


class Workers:
    """Train several jobs at a time, each in a process that shares nothing with the others.

    The processes only train. Everything about the study is decided here, in the order in which their words come in.

    Parameters
    ----------
    training : Training
        Sent to every process.
    n_jobs : int
        Processes; they divide the threads of this one.
    """

    def __init__(self, training: Training, n_jobs: int) -> None:
        self.training = training
        self.threads = max(1, torch.get_num_threads() // n_jobs)
        self.n_jobs = n_jobs
        self.stopped_by: int | None = None
        self._stopping = False
        self._busy: list[Worker] = []

    def run(self, next_job: NextJob, judge: JudgeOf, done: Done) -> None:
        """Train what ``next_job`` gives until it gives nothing more.

        A signal, or ``done`` saying to stop, lets every process save its trial and end.

        Raises
        ------
        RunInterrupted
            A signal came.
        """
        with self._signals():
            idle = [self._start() for _ in range(self.n_jobs)]
            try:
                while True:
                    while idle and not self._stopping and (job := next_job()) is not None:
                        self._give(idle.pop(), job)
                    if not self._busy:
                        break
                    idle += self._listen(judge, done)
            finally:
                for worker in [*idle, *self._busy]:
                    worker.connection.close()  # which ends a process that waits for its next job
                    worker.process.join()
        if self.stopped_by is not None:
            raise RunInterrupted(self.stopped_by)

    def stop(self) -> None:
        """Let every process save its trial and stop."""
        self._stopping = True
        for worker in self._busy:
            worker.process.terminate()

    def _start(self) -> Worker:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(target=serve, args=(theirs, self.training, self.threads))
        process.start()
        theirs.close()
        return Worker(process, ours)

    def _give(self, worker: Worker, job: Job) -> None:
        worker.job = job
        worker.connection.send(job)
        self._busy.append(worker)

    def _listen(self, judge: JudgeOf, done: Done) -> list[Worker]:
        """Wait for a word of any process, act on it, and return the processes that have nothing to do now."""
        free = []
        speaking = wait([worker.connection for worker in self._busy])
        for worker in [worker for worker in self._busy if worker.connection in speaking]:
            job = worker.job
            if job is None:
                continue
            try:
                word = worker.connection.recv()
            except (EOFError, ConnectionResetError):
                word = self._death(worker)
            if isinstance(word, Result):
                self._busy.remove(worker)
                free.append(self._start() if worker.process.exitcode is not None else replace(worker, job=None))
                if not done(job, word) and not self._stopping:
                    self.stop()
            else:
                worker.connection.send(judge(job, *word))
        return free

    def _death(self, worker: Worker) -> Result:
        """Say what the end of a process means: it was killed, or a defect ended it."""
        worker.process.join()
        code = worker.process.exitcode
        if self._stopping:
            return Result(signum=self.stopped_by or signal.SIGTERM)
        if code < 0:
            return Result(failure=f"its process was killed ({signal.Signals(-code).name}), perhaps for its memory")
        return Result(failure=f"its process ended with exit code {code}; its messages stand above", fatal=True)

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """Hand signals on to the processes; a second one ends everything at once."""

        def handle(signum: int, frame: FrameType | None) -> None:
            if self.stopped_by is not None:
                for worker in self._busy:
                    worker.process.kill()
                os._exit(128 + signum)
            self.stopped_by = signum
            self.stop()

        before = {signum: signal.signal(signum, handle) for signum in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for signum, handler in before.items():
                signal.signal(signum, handler)


def serve(connection: Connection, training: Training, threads: int) -> None:
    """Train the jobs that come over ``connection`` until it is closed; what a process of :class:`Workers` runs."""
    os.setsid()  # Ctrl-C reaches the main process alone, which lets this one save
    torch.set_num_threads(threads)

    def judge(epoch: int, value: float) -> bool:
        connection.send((epoch, value))
        return bool(connection.recv())

    try:
        while True:
            connection.send(training(connection.recv(), judge))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return  # the main process has gone, or has no more jobs
