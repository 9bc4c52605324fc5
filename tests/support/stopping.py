"""Commands on toys, stopped by a signal at a moment that a test chooses."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import click
from checks import assert_equal
from click.testing import CliRunner, Result
from toy_bench import Bench, load_checkpoint, metrics

from tabstar_lit.commands.errors import reported_errors
from tabstar_lit.commands.train import train_all, train_one

STEPS = 8
"""Of an epoch of a short run."""
SHORT = ("dataset_config.rows=32", "model_config.training_config.max_epochs=2")


@contextmanager
def signal_in(owner: Any, name: str, signum: signal.Signals, *, call: int = 1) -> Iterator[None]:
    """Send this process a signal at the beginning of a call of ``owner.name``, counted from one."""
    real, calls = getattr(owner, name), 0

    def stopping(*arguments: Any, **named: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == call:
            os.kill(os.getpid(), signum)
        return real(*arguments, **named)

    with patch.object(owner, name, stopping):
        yield
    assert calls >= call, f"{name} was called {calls} times: the signal was never sent"


def typed(bench: Bench, *words: str, resume: str | None = None, multirun: bool = False) -> Result:
    """Run the training command on toys as it is typed, in this process."""

    @click.command()
    def train_toy() -> None:
        with reported_errors():
            if multirun:
                train_all(bench.family, (*bench.places, *words), bench.folder)
            else:
                train_one(bench.family, (*bench.places, *words), bench.folder, resume=resume)

    return CliRunner().invoke(train_toy, [])


def status(bench: Bench) -> tuple[str, dict[str, str]]:
    """Return what is recorded of a run and of its stages."""
    record = bench.load_run().record()
    return record["status"], {name: stage["status"] for name, stage in record["stages"].items()}


def assert_same_state(ours: Bench, theirs: Bench, path: str = "models/toys/toy/toy_last.ckpt") -> None:
    """Two runs ended with the same weights and the same state of everything else."""
    ends = [load_checkpoint(bench.folder / path) for bench in (ours, theirs)]
    for key in ("state_dict", "optimizer_states", "lr_schedulers", "epoch", "global_step", "tabstar_lit"):
        assert_equal(ends[0][key], ends[1][key], key)


def assert_same_end(ours: Bench, theirs: Bench, path: str = "models/toys/toy/toy_last.ckpt") -> None:
    """Two runs ended with the same weights, state and metrics."""
    assert_same_state(ours, theirs, path)
    assert metrics(ours.load_run()) == metrics(theirs.load_run())
