"""Train scientific models from YAML with PyTorch Lightning.

From Python, :func:`train` does what a training command does, and :func:`load` makes a checkpoint a model that predicts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tabstar_lit.api import load, train

    __version__: str

__all__ = ["__version__", "load", "train"]


def __getattr__(name: str) -> Any:
    """Look a name up when it is asked for: package metadata alone take longer than the rest of a ``--help``."""
    if name in ("load", "train"):
        from tabstar_lit import api

        return getattr(api, name)
    if name != "__version__":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("tabstar_lit")
    except PackageNotFoundError:  # a source tree that was never installed
        return "0+unknown"
