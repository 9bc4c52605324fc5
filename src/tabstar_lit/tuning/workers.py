"""Jobs of training, one after the other or several at a time in processes.

Nothing heavy is imported here, so a process is there at once; what it trains brings the rest.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing.connection import Connection, wait
from types import FrameType
from typing import Any

from tabstar_lit.config import Loaded
from tabstar_lit.engine.runs.signals import SIGNALS
from tabstar_lit.errors import RunInterrupted

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


Train = Callable[[Job, Judge], Result]
"""Trains one job to its end, and says what came of it."""
NextJob = Callable[[], Job | None]
JudgeOf = Callable[[Job, int, float], bool]
Done = Callable[[Job, Result], bool]
"""Told how a trial ended; says whether to go on."""


def one_at_a_time(training: Train, next_job: NextJob, judge: JudgeOf, done: Done) -> None:
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
    training : callable
        Sent to every process; they are started as they are needed.
    n_jobs : int
        Processes at most.
    """

    def __init__(self, training: Train, n_jobs: int) -> None:
        self.training = training
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
            idle: list[Worker] = []
            try:
                while True:
                    while len(self._busy) < self.n_jobs and not self._stopping and (job := next_job()) is not None:
                        self._give(idle.pop() if idle else self._start(), job)
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
        process = context.Process(target=serve, args=(theirs, self.training))
        process.start()
        theirs.close()
        return Worker(process, ours)

    def _give(self, worker: Worker, job: Job) -> None:
        worker.job = job
        worker.connection.send(job)
        self._busy.append(worker)

    def _listen(self, judge: JudgeOf, done: Done) -> list[Worker]:
        """Wait for a word of any process, act on it, and return the living ones that have nothing to do now."""
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
                free += [replace(worker, job=None)] if worker.process.exitcode is None else []
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

        before = {signum: signal.signal(signum, handle) for signum in SIGNALS}
        try:
            yield
        finally:
            for signum, handler in before.items():
                signal.signal(signum, handler)


def serve(connection: Connection, training: Train) -> None:
    """Train the jobs that come over ``connection`` until it is closed; what a process of :class:`Workers` runs."""
    os.setsid()  # Ctrl-C reaches the main process alone, which lets this one save

    def judge(epoch: int, value: float) -> bool:
        connection.send((epoch, value))
        return bool(connection.recv())

    try:
        while True:
            connection.send(training(connection.recv(), judge))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return  # the main process has gone, or has no more jobs
