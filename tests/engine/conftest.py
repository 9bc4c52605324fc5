"""Fixtures of the engine's tests: benches to train toys on, without the tracking service unless a test asks for it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from unittest.mock import MagicMock

import pytest
from toy_bench import CONFIG, Bench

from tabstar_lit.engine.tracking import loggers
from tabstar_lit.engine.tracking.mlflow import MlflowLogger


@pytest.fixture(autouse=True)
def _only_local_metrics(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the tracking service out, whose store takes seconds to make, except where a test asks for it."""
    if "tracking" in request.fixturenames:
        return
    quiet = MagicMock(spec=MlflowLogger, run_id=None)
    monkeypatch.setattr(loggers, "_tracking_logger", lambda *_: quiet)
    monkeypatch.setattr(loggers, "_mlflow_logger", lambda *_, **__: quiet)


@pytest.fixture
def tracking() -> None:
    """Ask for the real tracking logger."""


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
