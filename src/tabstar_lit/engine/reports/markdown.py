"""Pieces of Markdown."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from urllib.parse import quote

from tabstar_lit.engine.runs.files import format_value


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    """Return the lines of a table, numbers shortened; no lines when there are no rows."""
    body = [f"| {' | '.join(map(_cell, row))} |" for row in rows]
    rule = "|" + " --- |" * len(header)
    return [f"| {' | '.join(header)} |", rule, *body, ""] if body else []


def facts(name: str, values: Mapping[str, object]) -> list[str]:
    """Return the lines of a table of what is known."""
    return table((name, ""), [(key, value) for key, value in values.items() if value is not None])


def code(lines: Iterable[str], language: str = "bash") -> list[str]:
    """Return the lines of a code block."""
    return [f"```{language}", *lines, "```", ""]


def link(text: str, target: Path, base: Path) -> str:
    """Return a link to a file, relative to the folder ``base``."""
    return f"[{text}]({quote(Path(os.path.relpath(target, base)).as_posix())})"


def _cell(value: object) -> str:
    return format_value(value).replace("|", "\\|")
