"""Texts in ``ROOT/<domain>/*.jsonl``: one JSON object a line, of which ``text`` alone is read."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from tabstar_lit.errors import DataError

MAX_LINE_BYTES = 16 * 2**20
"""A longer line is taken for a whole file without line ends."""

FORMAT = 'A line is a JSON object with the key "text", such as {"text": "Once upon a time", "source": "tales"}.'


class Line(NamedTuple):
    """One document.

    Attributes
    ----------
    number : int
        Of the line in its file, counted from 1.
    text : str
        Not empty.
    size : int
        Bytes of the line.
    """

    number: int
    text: str
    size: int


def find_domains(root: Path) -> dict[str, tuple[Path, ...]]:
    """Return the files of each domain, which is the name of their folder; both in alphabetical order.

    Raises
    ------
    DataError
        There is no such folder or no domain in it, a domain has no file, or files stand outside of any domain.
    """
    if not root.is_dir():
        raise DataError(f"{root}: {'is a file' if root.exists() else 'no such folder'}. {_LAYOUT}")
    if stray := sorted(path.name for path in root.glob("*.jsonl")):
        shown = ", ".join(stray[:5]) + (f" and {len(stray) - 5} more" if len(stray) > 5 else "")
        raise DataError(f"{root}: {shown} stands in no domain. Move each file into a folder below {root}. {_LAYOUT}")
    folders = sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))
    domains = {folder.name: tuple(sorted(folder.glob("*.jsonl"))) for folder in folders}
    if not domains:
        raise DataError(f"{root}: there is no domain in it. {_LAYOUT}")
    for name, files in domains.items():
        if not files:
            raise DataError(f"{root / name}: the domain '{name}' has no *.jsonl file. Remove the folder, or fill it.")
    return domains


def read_texts(path: Path) -> Iterator[Line]:
    """Yield the documents of a file; blank lines are passed over.

    Raises
    ------
    DataError
        A line is too long, no UTF-8, no JSON object, or its text is missing, empty or no string: names file and line.
    """
    try:
        with path.open("rb") as file:
            for number, line in enumerate(_lines(file, path), start=1):
                if line.strip():
                    yield Line(number, _text(line, f"{path}:{number}"), len(line))
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error}).") from error


_LAYOUT = "Texts lie in ROOT/<domain>/*.jsonl; the name of the folder is the name of the domain."


def _lines(file: BinaryIO, path: Path) -> Iterator[bytes]:
    number = 0
    while line := file.readline(MAX_LINE_BYTES + 1):
        number += 1
        if len(line) > MAX_LINE_BYTES:
            raise DataError(
                f"{path}:{number}: the line is longer than {MAX_LINE_BYTES // 2**20} MiB. Write each document as a "
                f"line of its own. {FORMAT}"
            )
        yield line


def _text(line: bytes, place: str) -> str:
    """Return the text of a line."""
    try:
        own: Any = json.loads(line.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        byte = f"byte {error.start} (0x{line[error.start]:02x})"
        raise DataError(f"{place}: {byte} is not UTF-8. Save the file in UTF-8.") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{place}: is not JSON ({error}). {FORMAT}") from error
    if not isinstance(own, dict):
        raise DataError(f"{place}: is a {_kind(own)}, not an object. {FORMAT}")
    if "text" not in own:
        keys = ", ".join(map(repr, list(own)[:6])) or "none"
        raise DataError(f"{place}: has no key 'text'; its keys: {keys}. {FORMAT}")
    text = own["text"]
    if not isinstance(text, str):
        raise DataError(f"{place}: 'text' is a {_kind(text)}, {json.dumps(text)[:40]}, not a string. {FORMAT}")
    if not text:
        raise DataError(f"{place}: 'text' is empty. Remove the line.")
    return text


def _kind(value: Any) -> str:
    names = {dict: "object", list: "list", str: "string", bool: "truth value", type(None): "null"}
    return names.get(type(value), "number")
