"""The real ``train_signal`` in a process that can be stopped, again and again at random moments, until it is over."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import torch
from checks import assert_equal
from signal_bench import FLAT, RUN, metrics

from tabstar_lit.commands.train import train_signal
from tabstar_lit.engine.runs.directory import RunDirectory
from tabstar_lit.engine.weights.loading import latest_checkpoint

RUN_ROOT, MODELS = Path("runs/logs/toys/run"), Path("runs/models/checkpoints/toys/run")
STATE = ("state_dict", "optimizer_states", "lr_schedulers", "epoch", "global_step", "EventData", "tabstar_lit")
PRELOADED = ("tabstar_lit.commands.train", "tabstar_lit.engine.run", "tabstar_lit.families.hep.signal.tracker")
SCRIPT = "from tabstar_lit.commands.train import train_signal; train_signal(prog_name='train_signal')"


class Ended(RuntimeError):
    """A command ended as none may."""


def forked(folder: Path, words: Sequence[str]) -> multiprocessing.Process:
    """Start the command in a copy of a process that has imported everything and has no threads, unlike this one."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["lightning.pytorch", "mlflow", *PRELOADED])
    process = context.Process(target=_command, args=(folder, words, dict(os.environ)))
    process.start()
    return process  # type: ignore[return-value]  # the context's own class


def _command(folder: Path, words: Sequence[str], environment: Mapping[str, str]) -> None:
    os.environ.update(environment)
    os.chdir(folder)
    with (folder / "output.txt").open("a") as output:
        os.dup2(output.fileno(), 1)
        os.dup2(output.fileno(), 2)
    train_signal(words, prog_name="train_signal")


class Launched:
    """The command as a shell starts it, with the methods of a forked one."""

    def __init__(self, folder: Path, words: Sequence[str]) -> None:
        with (folder / "output.txt").open("a") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-c", SCRIPT, *words], cwd=folder, stdout=output, stderr=output
            )
        self.pid = self._process.pid

    def join(self, timeout: float | None = None) -> None:
        try:
            self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            return

    @property
    def exitcode(self) -> int | None:
        return self._process.poll()


@contextmanager
def busy(processes: int) -> Iterator[None]:
    """Keep processors busy with something else."""
    others = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(processes)]
    try:
        yield
    finally:
        for process in others:
            process.kill()
            process.wait()


@dataclass
class Series:
    """Runs of one configuration below a folder, compared with one that was never stopped.

    Attributes
    ----------
    folder, events : Path
        Where runs go, and their data.
    start : callable
        :func:`forked` or :class:`Launched`.
    settings : sequence of str
        Overrides beside those of a small run.
    stops : list of tuple
        Signal and exit code of every stop so far.
    """

    folder: Path
    events: Path
    start: Callable[[Path, Sequence[str]], Any]
    settings: Sequence[str]
    seed: int = 0
    stops: list[tuple[int, int]] = field(default_factory=list)

    def stop(self, times: int, signums: Sequence[signal.Signals]) -> None:
        """Stop commands ``times`` times, resume each, and compare every run that ends with the unbroken one."""
        moments = random.Random(self.seed)
        whole, began = self._new("unbroken"), time.monotonic()
        self._go_on(whole)
        seconds = time.monotonic() - began
        for number in count():
            run = self._new(f"stopped-{number}")
            while not self._go_on(run, moments.uniform(0, seconds), moments.choice(signums)):
                if len(self.stops) == times:
                    self._go_on(run)
                    break
            assert_same_end(run, whole)
            if len(self.stops) == times:
                return

    def _new(self, name: str) -> Path:
        (self.folder / name).mkdir()
        return self.folder / name

    def _go_on(self, run: Path, seconds: float | None = None, signum: int = 0) -> bool:
        """Start or resume a run and stop it after some time; returns whether it ended before."""
        words = (*RUN, f"dataset_config.files={self.events}", *FLAT, *self.settings)
        process = self.start(run, (*words, *(("--resume",) if (run / RUN_ROOT / "run.json").exists() else ())))
        process.join(seconds)
        if process.exitcode is None and signum:
            os.kill(process.pid, signum)
            process.join(120)
        if process.exitcode == 0:
            return True
        if process.exitcode not in (128 + signum, -signum):  # the latter: before the command's first line
            raise Ended(f"{process.exitcode} after {signum}: {(run / 'output.txt').read_text()}")
        self.stops.append((signum, process.exitcode))
        if any((run / MODELS).glob("*.ckpt")):
            latest_checkpoint(run / MODELS)
        return False


def assert_same_end(run: Path, whole: Path) -> None:
    """Both runs ended with the same checkpoint and records, and left nothing half-written."""
    ours, theirs = (torch.load(root / MODELS / "run_last.ckpt", weights_only=True) for root in (run, whole))
    for key in STATE:
        assert_equal(ours[key], theirs[key], key)
    assert metrics(_directory(run)) == metrics(_directory(whole))
    assert not list(run.rglob(".*.part"))


def _directory(run: Path) -> RunDirectory:
    return RunDirectory(run / RUN_ROOT, run, run, run)
