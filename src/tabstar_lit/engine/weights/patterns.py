"""Glob patterns over dotted names of modules and parameters."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase

from tabstar_lit.config.tree import nearest_names


def matches(pattern: str, name: str) -> bool:
    """Tell whether ``pattern`` matches ``name`` or one of the modules it is inside of.

    ``encoder`` and ``*.attention`` name modules and so match every parameter below them; ``*`` also crosses
    dots.
    """
    return any(fnmatchcase(prefix, pattern) for prefix in with_ancestors(name))


def with_ancestors(name: str) -> Iterator[str]:
    """Yield ``a``, ``a.b`` and ``a.b.c`` for ``a.b.c``."""
    parts = name.split(".")
    return (".".join(parts[: length + 1]) for length in range(len(parts)))


def nearest_parts(pattern: str, names: Iterable[str]) -> list[str]:
    """Return up to three module or parameter names that look like ``pattern``."""
    return nearest_names(pattern.strip("*."), (prefix for name in names for prefix in with_ancestors(name)))
