"""What every test may use: quiet, repeatable numerics, no network, and the real data when it is there."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]

# Before anything imports torch: sums shared among as many threads here as in the commands that tests start. And nothing
# in a test run may reach a network or draw on a screen.
THREADS = int(os.environ.setdefault("OMP_NUM_THREADS", "1"))
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MPLBACKEND", "Agg")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
# dcor compiles itself on import, into a cache that two test processes corrupt when they share it: every later import
# then aborts. So each process has its own, at half a minute where dcor is used.
_numba_cache = TemporaryDirectory(prefix="numba-")
os.environ["NUMBA_CACHE_DIR"] = _numba_cache.name


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """Give torch one thread again before any fixture of a test: importing dcor, which imports numba, changes it."""
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(THREADS)


@pytest.fixture(autouse=True)
def _no_outside_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Run every test as on a machine where the user has set nothing of ours and holds no key."""
    for name in os.environ:
        if name.startswith(("ANALYSIS_ML_", "COMET_", "MLFLOW_TRACKING_")):
            monkeypatch.delenv(name)


@pytest.fixture(scope="session")
def repository() -> Path:
    """Return the top of the source tree."""
    return REPOSITORY


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Return the folder with the real tables, or skip on a machine that does not have them.

    ``TABSTAR_LIT_SHARED_DATA`` names it; without the variable it is looked for beside the repository.
    """
    named = os.environ.get("TABSTAR_LIT_SHARED_DATA")
    folder = Path(named) if named else REPOSITORY.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder}; set TABSTAR_LIT_SHARED_DATA to the folder that holds it")
    return folder
