"""One trained model for the tests of what is done with it."""

from __future__ import annotations

import pytest
from trained_tables import Bench, make_bench

import tabstar_lit
from tabstar_lit.families.tabstar.deployment.trained import TrainedTabstar


@pytest.fixture(scope="session")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return make_bench(tmp_path_factory.mktemp("tables"))


@pytest.fixture
def model(bench: Bench) -> TrainedTabstar:
    loaded = tabstar_lit.load(bench.checkpoint)
    assert isinstance(loaded, TrainedTabstar)
    return loaded
