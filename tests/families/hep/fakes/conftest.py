"""Fixtures of the tests that train density-ratio models: a few toy events, and folders to train on them in."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from fakes_bench import FakesBench

from tabstar_lit.families.hep.fakes.toy.config import FakesToy
from tabstar_lit.families.hep.fakes.toy.events import toy_fakes


@pytest.fixture(scope="session")
def fakes_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a file of 1000 toy events of two variables, some of negative weight."""
    toy = FakesToy("pt_eta", n_events=1000, mc_weights="cauchy")
    return toy_fakes(tmp_path_factory.mktemp("fakes") / "toy.h5", toy).path


@pytest.fixture(scope="module")
def make_bench(tmp_path_factory: pytest.TempPathFactory, fakes_file: Path) -> Callable[[str], FakesBench]:
    """Return a maker of folders to train in, so that one test can compare two runs."""
    return lambda name: FakesBench(tmp_path_factory.mktemp(name), events=fakes_file)


@pytest.fixture(scope="module")
def trained(make_bench: Callable[[str], FakesBench]) -> FakesBench:
    """Return a run of all three stages, which the tests of a file share."""
    bench = make_bench("trained")
    bench.train()
    return bench
