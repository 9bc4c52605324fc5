"""Which encoding of Unicode a text file has."""

from __future__ import annotations

import codecs
import gzip
from pathlib import Path


def unicode_of(start: bytes) -> str:
    """Return the encoding of a text that begins with these bytes, for :func:`open`; its byte order mark is left out.

    UTF-16 where the mark says so, as spreadsheets save "Unicode text"; else UTF-8, with a mark or without one.
    """
    return "utf-16" if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8-sig"


def unicode_in(path: Path, *, zipped: bool = False) -> str:
    """Return the encoding of a file, which gzip may have packed.

    Raises
    ------
    OSError
        It cannot be read.
    """
    with gzip.open(path) if zipped else path.open("rb") as file:
        return unicode_of(file.read(2))
