"""Processes that help with a study: what is heard of those that end well, are killed, or end by a fault."""

from __future__ import annotations

import os
import signal
import time
from functools import partial
from pathlib import Path

import pytest

from tabstar_lit.errors import RunError, RunInterrupted
from tabstar_lit.tuning.helpers import started


def leave_a_file(folder: Path) -> None:
    (folder / str(os.getpid())).touch()


def fail(message: str) -> None:
    raise RunError(message)


def be_killed() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def wait_for_the_end(folder: Path) -> None:
    def told(signum: int, frame: object) -> None:
        leave_a_file(folder)
        raise RunInterrupted(signum)

    signal.signal(signal.SIGTERM, told)
    (folder / "waits").touch()
    time.sleep(60)


def test_all_do_the_work(tmp_path: Path) -> None:
    with started(2, partial(leave_a_file, tmp_path), print) as helpers:
        helpers.join()
    assert len(list(tmp_path.iterdir())) == 2


def test_a_fault_of_one_is_a_fault_of_the_study(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(RunError, match="exit code 2"), started(1, partial(fail, "no such table"), print) as helpers:
        helpers.join()
    assert "error: no such table" in capfd.readouterr().err


def test_one_that_is_killed_is_told(tmp_path: Path) -> None:
    said: list[str] = []
    with started(1, be_killed, said.append) as helpers:
        helpers.join()
    assert said == ["a process was killed, perhaps for its memory; the same command goes on with its trial"]


def interrupted_while_one_waits(folder: Path) -> None:
    with started(1, partial(wait_for_the_end, folder), print):
        while not (folder / "waits").exists():
            time.sleep(0.02)
        raise KeyboardInterrupt


def test_what_ends_the_first_stops_the_others(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        interrupted_while_one_waits(tmp_path)
    assert len(list(tmp_path.iterdir())) == 2, "it saved before it ended"


def test_none_are_started_where_none_are_wanted() -> None:
    with started(0, be_killed, print) as helpers:
        helpers.join()
        assert helpers._processes == []
