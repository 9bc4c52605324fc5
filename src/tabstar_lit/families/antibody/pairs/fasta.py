"""FASTA files: named sequences, each with the line where it begins. What its letters mean is not judged here."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from tabstar_lit.data.encodings import unicode_in
from tabstar_lit.errors import DataError


class Record(NamedTuple):
    """One sequence.

    Attributes
    ----------
    name : str
        The first word after ``>``.
    letters : str
        The sequence without white space, as it is written.
    line : int
        Where its name stands, from 1.
    notes : mapping of str to str
        What is said as ``key=value`` behind the name.
    """

    name: str
    letters: str
    line: int
    notes: Mapping[str, str] = {}


def read_fasta(path: Path) -> list[Record]:
    """Read all sequences of a file, which may be compressed by gzip.

    Raises
    ------
    DataError
        The file cannot be read, holds no sequence, a sequence before the first name, one without a name or letters, or
        two of one name.
    """
    try:
        zipped = path.suffix == ".gz"
        encoding = unicode_in(path, zipped=zipped)
        with gzip.open(path, "rt", encoding=encoding) if zipped else path.open(encoding=encoding) as lines:
            records = list(_records(lines, path))
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise DataError(
            f"{path}: cannot be read as FASTA ({error}). Give a text file of '>name' lines and sequences."
        ) from error
    if not records:
        raise DataError(f"{path}: holds no sequence. A FASTA file has a line '>name' before each.")
    names: dict[str, int] = {}
    for record in records:
        if record.name in names:
            raise DataError(
                f"{path}:{record.line}: the name '{record.name}' stands in line {names[record.name]} already; give "
                "each sequence a name of its own."
            )
        names[record.name] = record.line
    return records


def _records(lines: Iterable[str], path: Path) -> Iterable[Record]:
    header, begun, parts = "", 0, list[str]()
    for number, line in enumerate(lines, 1):
        text = line.strip()
        if text.startswith(">"):
            if begun:
                yield _record(header, begun, parts, path)
            header, begun, parts = text[1:], number, []
        elif text and not text.startswith(";"):
            if not begun:
                raise DataError(
                    f"{path}:{number}: a sequence without a name. A FASTA file has a line '>name' before each."
                )
            parts.append("".join(text.split()))
    if begun:
        yield _record(header, begun, parts, path)


def _record(header: str, line: int, parts: list[str], path: Path) -> Record:
    name, *words = header.split() or [""]
    if not name:
        raise DataError(f"{path}:{line}: '>' without a name; write one after it.")
    letters = "".join(parts)
    if not letters:
        raise DataError(f"{path}:{line}: '{name}' has no sequence; write one below it, or take the name out.")
    notes = dict(word.split("=", 1) for word in words if "=" in word)
    return Record(name, letters, line, notes)


def fasta_lines(records: Iterable[tuple[str, str]], width: int = 80) -> Iterable[str]:
    """Yield the lines of a FASTA file of names and letters."""
    for name, letters in records:
        yield f">{name}\n"
        for start in range(0, len(letters), width):
            yield f"{letters[start : start + width]}\n"
