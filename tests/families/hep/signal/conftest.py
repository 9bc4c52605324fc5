"""Fixtures of the tests that train signal classifiers: a few toy events, and folders to train on them in."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from signal_bench import SignalBench

from tabstar_lit.families.hep.events.toys import toy_events


@pytest.fixture(scope="session")
def toy_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a file of 600 toy events."""
    return toy_events(tmp_path_factory.mktemp("events") / "toy.h5", 600).path


@pytest.fixture
def make_bench(tmp_path: Path, toy_file: Path) -> Callable[[str], SignalBench]:
    """Return a maker of folders to train in, so that one test can compare two runs."""
    return lambda name: SignalBench(tmp_path / name, events=toy_file)


@pytest.fixture
def bench(make_bench: Callable[[str], SignalBench]) -> SignalBench:
    return make_bench("bench")
