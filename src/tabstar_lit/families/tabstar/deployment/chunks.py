"""Rows that come after training, some thousands at a time, each read as the training would have read it.

pandas guesses the type of a column from the cells it sees, so a cell could be read in another way beside other rows.
Here the columns that were text in training are text in every chunk, and only numbers are looked at.
"""

from __future__ import annotations

import csv
import gzip
import io
import zlib
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, TextIO

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from tabstar_lit.data import verbalize
from tabstar_lit.data.encodings import unicode_in
from tabstar_lit.errors import DataError
from tabstar_lit.families.tabstar.tables.features import FeatureReader
from tabstar_lit.families.tabstar.tables.files import (
    Fields,
    cell_options,
    cells_of,
    check_names,
    file_kind,
    find_fields,
    is_single,
    named_columns,
)
from tabstar_lit.families.tabstar.tables.reading import Reading

CHUNK_ROWS = 4096
"""Rows held at a time."""


@dataclass(frozen=True)
class Wanted:
    """The columns of a table that its features are made of, by their names in the file.

    Attributes
    ----------
    texts : Mapping
        Text name of a feature, to whether its cells are read as text; numbers are not.
    reader : FeatureReader
        How cells are read.
    """

    texts: Mapping[str, bool]
    reader: FeatureReader

    @classmethod
    def of(cls, schema: Mapping[str, Any]) -> Wanted:
        """Return the columns of a table by its schema."""
        reader = FeatureReader.from_schema(schema)
        kinds = {column["name"]: column["kind"] == "text" or column["digits"] for column in schema["columns"]}
        dates = {verbalize.column_text(name): name in _written(reader, reader.dates) for name in schema["dates"]}
        styled = dict.fromkeys(map(verbalize.column_text, _written(reader, reader.styles)), True)
        return cls(kinds | dates | styled, reader)

    def columns(self, names: Collection[str]) -> list[str]:
        """Return which of the columns are wanted."""
        return [name for name in names if self.text(name) in self.texts and name not in self.reader.left_out]

    def as_text(self, names: Collection[str]) -> list[str]:
        """Return which of the columns are read as text."""
        return [name for name in self.columns(names) if self.texts[self.text(name)]]

    def text(self, name: str) -> str:
        """Return the name of a column in the texts."""
        return verbalize.column_text(self.reader.reading.rename.get(name, name))


def frame_chunks(frame: pd.DataFrame, rows: int = CHUNK_ROWS) -> Iterator[pd.DataFrame]:
    """Yield the rows of a DataFrame under names that are text.

    Raises
    ------
    DataError
        Two columns have one name.
    """
    names = [str(name) for name in frame.columns]
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise DataError(f"the DataFrame has several columns called '{twice[0]}'. Rename all but one.")
    named = frame.set_axis(names, axis=1)
    for first in range(0, len(named), rows):
        yield named.iloc[first : first + rows]


def file_chunks(path: Path, wanted: Wanted, rows: int = CHUNK_ROWS) -> Iterator[pd.DataFrame]:
    """Yield the rows of a file, CSV, TSV or Parquet, under consecutive numbers; all columns, or the wanted of Parquet.

    Raises
    ------
    DataError
        The file is missing, damaged, ragged, or in another encoding.
    """
    kind = file_kind(path)
    if not path.is_file():
        raise DataError(f"{path}: no such file.")
    chunks = (
        _parquet_chunks(path, wanted, rows)
        if kind.separator is None
        else _text_chunks(path, wanted, kind.separator, zipped=kind.zipped, rows=rows)
    )
    first = 0
    for chunk in chunks:
        yield chunk.set_axis(pd.RangeIndex(first, first + len(chunk)), axis=0)
        first += len(chunk)


def _written(reader: FeatureReader, columns: Collection[str]) -> list[str]:
    """Return the names of columns in the texts."""
    return [reader.reading.rename.get(name, name) for name in columns]


def _parquet_chunks(path: Path, wanted: Wanted, rows: int) -> Iterator[pd.DataFrame]:
    try:
        with pq.ParquetFile(path) as file:
            names = file.schema_arrow.names
            check_names(path, names)
            for batch in file.iter_batches(batch_size=rows, columns=wanted.columns(names)):
                table = pa.Table.from_batches([batch])
                yield pd.DataFrame({field.name: _cells(path, table, field) for field in table.schema})
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path}: damaged or not a Parquet file ({error}).") from error


def _cells(path: Path, table: pa.Table, field: pa.Field) -> pd.Series:
    if not is_single(field.type):
        raise DataError(f"{path}: column '{field.name}' holds {field.type}, not single values. Flatten it.")
    return cells_of(table[field.name], field.type)


def _text_chunks(path: Path, wanted: Wanted, usual: str, *, zipped: bool, rows: int) -> Iterator[pd.DataFrame]:
    reading = wanted.reader.reading
    try:
        encoding = unicode_in(path, zipped=zipped) if reading.encoding == "utf-8" else reading.encoding
        with _opened(path, encoding, zipped=zipped) as file:
            yield from _records(path, file, wanted, usual, rows)
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path}: not {reading.encoding.upper()} (byte {error.object[error.start]:#04x}). Save the file as the "
            "table of the training was."
        ) from error
    except (OSError, EOFError, zlib.error, csv.Error, pd.errors.ParserError) as error:
        raise DataError(f"{path}: cannot be read as a table ({error}).") from error


def _opened(path: Path, encoding: str, *, zipped: bool) -> TextIO:
    if zipped:
        return gzip.open(path, "rt", encoding=encoding, newline="")
    return path.open(encoding=encoding, newline="")


class _Kept:
    """Lines of a file; those handed out since the last :meth:`take` are remembered."""

    def __init__(self, file: TextIO, first: str = "") -> None:
        self._file, self._waiting = file, io.StringIO(first, newline="")
        self._lines: list[str] = []

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = (self._waiting.readline() or next(self._file)).replace("\0", " ")  # pandas ends a cell there
        self._lines.append(line)
        return line

    def take(self) -> str:
        text = "".join(self._lines)
        self._lines.clear()
        return text


def _records(path: Path, file: TextIO, wanted: Wanted, usual: str, rows: int) -> Iterator[pd.DataFrame]:
    """Yield the rows of an open file; a record may span lines, and the lines of whole records are parsed together."""
    head = "".join(islice(file, rows))
    if not head.strip():
        raise DataError(f"{path}: is empty. A table needs a header line and rows.")
    fields = find_fields(path, head, wanted.reader.reading, usual)
    lines = _Kept(file, head)
    records = fields.records(lines)
    header = next(record for record in records if record)
    names = named_columns(header)
    check_names(path, names)
    lines.take()
    while True:
        count = 0
        for record in islice(records, rows):
            if len(record) > 1 or "".join(record).strip():
                _require_width(path, records.line_num, record, names, fields.separator)
                count += 1
        text = lines.take()
        if count:
            yield _parsed(text, names, fields, wanted)
        if not text:
            return


def _require_width(path: Path, line: int, record: list[str], names: list[str], separator: str) -> None:
    if len(record) != len(names):
        raise DataError(
            f"{path}:{line}: {len(record)} fields, but the header has {len(names)}, with the separator {separator!r}. "
            "Quote cells that hold it or a line break."
        )


def _parsed(text: str, names: list[str], fields: Fields, wanted: Wanted) -> pd.DataFrame:
    options = _options(wanted.reader.reading, wanted.as_text(names))
    frame: pd.DataFrame = pd.read_csv(
        io.StringIO(text), index_col=False, names=names, header=None, low_memory=False, **fields.options(), **options
    )
    return frame


def _options(reading: Reading, texts: Collection[str]) -> dict[str, Any]:
    options = cell_options(reading)
    return options | {"dtype": options["dtype"] | dict.fromkeys(texts, str)}
