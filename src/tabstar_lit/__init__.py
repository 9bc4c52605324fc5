"""Train scientific models from YAML with PyTorch Lightning."""

from __future__ import annotations

__all__ = ["__version__"]


def __getattr__(name: str) -> str:
    """Look the version up when it is asked for: reading package metadata takes longer than the rest of a ``--help``."""
    if name != "__version__":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("tabstar_lit")
    except PackageNotFoundError:  # a source tree that was never installed
        return "0+unknown"
