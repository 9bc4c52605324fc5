"""Tables of pairs from CSV, TSV, JSON, JSONL, Parquet and FASTA files, every cell as text."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pandas as pd

from tabstar_lit.data.encodings import unicode_in
from tabstar_lit.errors import DataError
from tabstar_lit.families.antibody.conversion.config import PairSource
from tabstar_lit.families.antibody.pairs.fasta import read_fasta

FORMATS = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".json": "json",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".fasta": "fasta",
    ".fa": "fasta",
    ".faa": "fasta",
}
"""Format of a file by its ending, before ``.gz``."""


def read_table(path: Path, source: PairSource) -> pd.DataFrame:
    """Return the rows of a file: columns of texts, empty where there is none.

    A FASTA file has the columns ``name`` and ``sequence``, and one for each ``key=value`` behind a name.

    Raises
    ------
    DataError
        The file is missing or cannot be read as what it is said to be.
    """
    if not path.is_file():
        raise DataError(f"{path}: no such file. Paths are relative to the file that names them.")
    ending = path.name.lower().removesuffix(".gz")
    known = next((name for end, name in FORMATS.items() if ending.endswith(end)), None)
    format_ = source.format or known
    if format_ is None:
        raise DataError(
            f"{path}: unknown kind of file; give 'format', one of {', '.join(sorted(set(FORMATS.values())))}"
        )
    try:
        frame = READERS[format_](path)
    except DataError:
        raise
    except (
        OSError,
        EOFError,
        zlib.error,
        ValueError,
        ImportError,
    ) as error:  # of damaged files
        raise DataError(f"{path}: cannot be read as {format_}: {str(error).splitlines()[0]}") from error
    if frame.empty:
        raise DataError(f"{path}: has no rows.")
    texts = frame.astype(object).where(frame.notna(), "")
    return texts.map(_text)


def _text(value: object) -> str:
    return repr(value) if isinstance(value, float) else str(value)


def _fasta(path: Path) -> pd.DataFrame:
    return pd.DataFrame([{"name": own.name, "sequence": own.letters, **own.notes} for own in read_fasta(path)])


def _read_text(path: Path, separator: str) -> pd.DataFrame:
    encoding = unicode_in(path, zipped=path.suffix == ".gz")
    return pd.read_csv(path, dtype=str, keep_default_na=False, sep=separator, encoding=encoding)


READERS: dict[str, Callable[[Path], pd.DataFrame]] = {
    "csv": partial(_read_text, separator=","),
    "tsv": partial(_read_text, separator="\t"),
    "json": lambda path: pd.read_json(path, dtype=False, convert_dates=False),
    "jsonl": lambda path: pd.read_json(path, lines=True, dtype=False, convert_dates=False),
    "parquet": pd.read_parquet,
    "fasta": _fasta,
}
