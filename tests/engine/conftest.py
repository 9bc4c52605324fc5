"""Fixtures of the engine's tests: benches to train toys on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from toy_bench import CONFIG, Bench


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    (tmp_path / "training_config.yaml").write_text(CONFIG)
    return Bench(tmp_path)


@pytest.fixture
def make_bench(tmp_path: Path) -> Callable[[str], Bench]:
    """Return a maker of further benches, so that one test can compare two runs."""

    def make(name: str) -> Bench:
        folder = tmp_path / name
        folder.mkdir()
        (folder / "training_config.yaml").write_text(CONFIG)
        return Bench(folder)

    return make
