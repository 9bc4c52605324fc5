"""Comparisons that several test files make."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
import torch
from click.testing import CliRunner, Result

from tabstar_lit.errors import TabstarLitError


def assert_equal(left: Any, right: Any, where: str = "") -> None:
    """Compare two trees of plain values and tensors at zero tolerance."""
    if isinstance(left, torch.Tensor):
        assert torch.equal(left, right), where
    elif isinstance(left, dict):
        assert left.keys() == right.keys(), where
        for key in left:
            assert_equal(left[key], right[key], f"{where}/{key}")
    elif isinstance(left, list | tuple):
        assert len(left) == len(right), where
        for number, pair in enumerate(zip(left, right, strict=True)):
            assert_equal(*pair, f"{where}/{number}")
    else:
        assert left == right, where


@contextmanager
def assert_takes_less_than(seconds: float) -> Iterator[None]:
    """Bound the processor time of a block, that of processes it waited for included: what else runs does not count."""
    begin = sum(os.times()[:4])
    yield
    assert sum(os.times()[:4]) - begin < seconds


def assert_refused(done: Result, *words: str) -> None:
    """Check exit code and message, and that the user never sees a traceback."""
    assert done.exit_code == 2, done.output
    for word in words:
        assert word in done.stderr, done.stderr
    assert "Traceback" not in done.output


def assert_check_passes(command: click.Command, folder: Path, *arguments: str, stages: int = 1) -> None:
    """Try a configuration with ``--check`` in ``folder``: each stage has a gradient, and no file is left behind."""
    before = sorted(folder.rglob("*"))
    done = CliRunner().invoke(command, ["--check", *arguments], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert done.stdout.count("gradient norm") == stages, done.stdout
    assert sorted(folder.rglob("*")) == before


def message_of_refusal(call: Callable[..., object], *arguments: Any) -> str:
    """Return what a call says that must end in a mistake of the user."""
    try:
        call(*arguments)
    except TabstarLitError as error:
        return str(error)
    raise AssertionError(f"{arguments} were not refused")
