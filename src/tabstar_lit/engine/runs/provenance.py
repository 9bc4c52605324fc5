"""What a reader needs to make a run again: versions, machine, command, git state."""

from __future__ import annotations

import getpass
import platform
import subprocess
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

PACKAGES = (
    "tabstar_lit", "torch", "lightning", "transformers", "torchmetrics", "numpy", "scikit-learn", "h5py", "mlflow",
    "pytorch_optimizer",
)  # fmt: skip


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that decide numbers."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = "not installed"
    return found


def git_state(folder: Path) -> dict[str, Any] | None:
    """Return commit and cleanness of the repository ``folder`` lies in; None outside one or when git is of no use."""
    try:
        commit = _git(folder, "rev-parse", "HEAD")
        return {"commit": commit, "clean": not _git(folder, "status", "--porcelain")}
    except (OSError, subprocess.SubprocessError):
        return None


def _git(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=10).stdout.strip()


def user_name() -> str | None:
    """Return the name of whoever runs this; None where the system knows none, as in some containers."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return None


def describe_program(argv: Sequence[str]) -> dict[str, Any]:
    """Return the record that goes into ``run.json``."""
    return {
        "argv": list(argv),
        "user": user_name(),
        "versions": versions(),
        "machine": {"system": platform.platform(), "processor": platform.machine()},
        "git": git_state(Path.cwd()),
    }
