"""What a tracking service is sent: files it has not seen yet, and nested values under dotted names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any


class SeenFiles:
    """Remember the state of files, to upload only the new and the changed ones."""

    def __init__(self) -> None:
        self._seen: dict[Path, tuple[int, int]] = {}

    def is_new(self, path: Path) -> bool:
        """Return whether ``path`` is new or differs in size or time from the last call, and remember it."""
        status = path.stat()
        state = (status.st_mtime_ns, status.st_size)
        if self._seen.get(path) == state:
            return False
        self._seen[path] = state
        return True


def flatten(data: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield dotted keys and text values; lists of mappings are numbered, other lists stay whole."""
    for key, value in data.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping) and value:
            yield from flatten(value, f"{name}.")
        elif _holds_mappings(value):
            yield from flatten({str(i): item for i, item in enumerate(value)}, f"{name}.")
        else:
            yield name, str(value)


def shorten(text: str, limit: int) -> str:
    """Return ``text`` cut to ``limit`` characters, saying so at the end."""
    note = f"… ({len(text)} characters)"
    return text if len(text) <= limit else text[: limit - len(note)] + note


def _holds_mappings(value: object) -> bool:
    return (
        isinstance(value, Sequence)
        and not isinstance(value, str)
        and len(value) > 0
        and all(isinstance(item, Mapping) for item in value)
    )
