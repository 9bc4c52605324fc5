"""``train_signal`` is stopped and killed at random moments and ends, every time, as if it had never been."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
from random_stops import Launched, Series, busy, forked

STOPPING = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)
LENGTH = "model_config.training_config.max_epochs"
SAVING = "model_config.training_config.save_every_n_steps=1"


def test_eight_stops_by_signals(tmp_path: Path, toy_file: Path) -> None:
    series = Series(tmp_path, toy_file, forked, (f"{LENGTH}=3",))
    series.stop(8, STOPPING)
    assert any(code == 128 + signum for signum, code in series.stops)


def test_eight_kills_during_saves(tmp_path: Path, toy_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", "/dev/shm")  # another file system than that of the checkpoints
    series = Series(tmp_path, toy_file, forked, (f"{LENGTH}=2", SAVING))
    series.stop(8, (signal.SIGKILL,))
    assert series.stops == [(signal.SIGKILL, -signal.SIGKILL)] * 8


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_fifty_stops_beside_two_busy_processes(tmp_path: Path, toy_file: Path) -> None:
    series = Series(tmp_path, toy_file, Launched, (f"{LENGTH}=60",))
    with busy(2):
        series.stop(50, STOPPING)
    assert sum(code == 128 + signum for signum, code in series.stops) > 25


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_forty_kills_during_saves(tmp_path: Path, toy_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", "/dev/shm")
    series = Series(tmp_path, toy_file, Launched, (f"{LENGTH}=20", SAVING))
    series.stop(40, (signal.SIGKILL,))
    assert len(series.stops) == 40
