"""What every test may use: quiet, repeatable numerics, no network, and the real data when it is there."""

from __future__ import annotations

import errno
import os
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import hypothesis
import pytest

REPOSITORY = Path(__file__).resolve().parents[1]

HERE = {None, "", "localhost", "127.0.0.1", "::1", "0.0.0.0", socket.gethostname()}  # noqa: S104  # compared, not bound
"""Names and addresses of this machine."""

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

# A busy machine makes an example slow, not wrong; pytest's own limit ends what hangs.
hypothesis.settings.register_profile("unhurried", hypothesis.settings(), deadline=None)
hypothesis.settings.load_profile("unhurried")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """Give torch one thread again before any fixture of a test: importing dcor, which imports numba, changes it."""
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(THREADS)


@pytest.fixture(scope="session", autouse=True)
def _refused_hosts() -> Iterator[list[str]]:
    """Refuse every connection and name look-up beyond this machine, also in fixtures, and note who was asked for."""
    refused: list[str] = []

    def guarded(real: Callable[..., Any], host_of: Callable[..., object]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            host = host_of(*arguments, **named)
            if host not in HERE:
                refused.append(str(host))
                raise OSError(errno.ENETUNREACH, f"tests reach no network, and not {host}")
            return real(*arguments, **named)

        return call

    def of_address(_: object, address: Any) -> object:
        return address[0] if isinstance(address, tuple) else None  # a path is on this machine

    with pytest.MonkeyPatch.context() as patch:
        for name in ("connect", "connect_ex"):
            patch.setattr(socket.socket, name, guarded(getattr(socket.socket, name), of_address))
        patch.setattr(socket, "getaddrinfo", guarded(socket.getaddrinfo, lambda host, *_, **__: host))
        yield refused


@pytest.fixture(autouse=True)
def _no_network(_refused_hosts: list[str]) -> Iterator[None]:
    """Fail a test that tried to leave this machine, also where nobody noticed that it could not."""
    yield
    asked, _refused_hosts[:] = list(_refused_hosts), []
    assert asked == []


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
