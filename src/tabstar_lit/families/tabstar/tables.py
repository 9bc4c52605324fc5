"""Reading CSV and Parquet tables whole, with the checks that pandas leaves out.

pandas renames duplicate columns, fills short rows with gaps and turns an extra field into an index, all
silently. Here each of these is an error that names the line.
"""

from __future__ import annotations

import csv
import gzip
import io
import re
import sys
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from tabstar_lit.arrays import UInt64
from tabstar_lit.data.splits import row_ids
from tabstar_lit.errors import DataError

SEPARATORS = {".csv": ",", ".tsv": "\t"}
PARQUET = (".parquet", ".pq")

_PANDAS_INDEX = re.compile(r"__index_level_\d+__")


class RawTable(NamedTuple):
    """A table as read, before any cell is interpreted.

    Attributes
    ----------
    frame : DataFrame
        Typed columns under unique text names; rows numbered from 0.
    ids : ndarray of uint64 [N]
        One hash a row, of the cells as they stand in the file.
    """

    frame: pd.DataFrame
    ids: UInt64


def read_table(path: Path) -> RawTable:
    """Read a table.

    Parameters
    ----------
    path : Path
        ``.csv``, ``.tsv`` (both also ``.gz``; UTF-8, comma or tab, one header line) or ``.parquet``. Empty
        cells and pandas' default marks (``NA``, ``NaN``, ``null`` …) are missing values.

    Returns
    -------
    RawTable
        Its columns and row ids.

    Raises
    ------
    DataError
        If the file is missing, empty, ragged, not UTF-8, has duplicate columns, or types that are no table
        cells.
    """
    suffixes = [suffix.lower() for suffix in path.suffixes]
    kind = suffixes[-2] if suffixes[-1:] == [".gz"] and len(suffixes) > 1 else "".join(suffixes[-1:])
    if kind in SEPARATORS:
        return _read_text(path, SEPARATORS[kind], zipped=suffixes[-1] == ".gz")
    if kind in PARQUET:
        return _read_parquet(path)
    allowed = ", ".join([*SEPARATORS, *(f"{suffix}.gz" for suffix in SEPARATORS), *PARQUET])
    raise DataError(f"{path}: unknown kind of table '{path.suffix}'. Known: {allowed}.")


def _read_text(path: Path, separator: str, *, zipped: bool) -> RawTable:
    text = _text(path, _unzipped(path) if zipped else _bytes(path))
    header = _check_lines(path, text, separator)
    _check_names(path, header)
    try:
        frame = pd.read_csv(io.StringIO(text), sep=separator, index_col=False, low_memory=False)
        raw = pd.read_csv(io.StringIO(text), sep=separator, index_col=False, dtype=str, na_filter=False)
        frame.columns = raw.columns = pd.Index(header)
    except (pd.errors.ParserError, ValueError, OverflowError) as error:
        raise DataError(f"{path}: cannot be read as a table ({error}).") from error
    return RawTable(frame, row_ids(raw))


def _check_lines(path: Path, text: str, separator: str) -> list[str]:
    """Return the header, having seen that every row has as many fields."""
    lines = _records(path, text, separator)
    _, header = next(lines, (1, []))
    if not header:
        raise DataError(f"{path}: is empty. A table needs a header line and rows.")
    n_rows = 0
    for number, fields in lines:
        n_rows += 1
        if len(fields) != len(header):
            raise DataError(
                f"{path}:{number}: {len(fields)} fields, but the header has {len(header)}. "
                "Quote cells that hold a separator or a line break."
            )
    if n_rows == 0:
        raise DataError(f"{path}: has a header but no rows.")
    return header


def _records(path: Path, text: str, separator: str) -> Iterator[tuple[int, list[str]]]:
    """Yield (line number, fields) of every record that is not blank."""
    limit = csv.field_size_limit(sys.maxsize)
    try:
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
        for fields in reader:
            if len(fields) > 1 or "".join(fields).strip():
                yield reader.line_num, fields
    except csv.Error as error:
        raise DataError(f"{path}: cannot be read as a table ({error}).") from error
    finally:
        csv.field_size_limit(limit)


def _check_names(path: Path, names: Sequence[str]) -> None:
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        columns = [str(i + 1) for i, name in enumerate(names) if name == twice[0]]
        raise DataError(f"{path}: column name '{twice[0]}' stands over columns {', '.join(columns)}. Rename one.")
    if "" in names:
        raise DataError(f"{path}: column {list(names).index('') + 1} has no name in the header. Give it one.")


def _read_parquet(path: Path) -> RawTable:
    try:
        table = pq.ParquetFile(pa.BufferReader(_bytes(path))).read()
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path}: damaged or not a Parquet file ({error}).") from error
    table = table.drop_columns([name for name in table.column_names if _PANDAS_INDEX.fullmatch(name)])
    _check_names(path, table.column_names)
    if table.num_rows == 0:
        raise DataError(f"{path}: has columns but no rows.")
    for field in table.schema:
        if pa.types.is_nested(field.type) or pa.types.is_binary(field.type) or pa.types.is_large_binary(field.type):
            raise DataError(
                f"{path}: column '{field.name}' holds {field.type}, not single values. Ignore or flatten it."
            )
    columns = {field.name: _series(table[field.name], field.type) for field in table.schema}
    frame = pd.DataFrame(columns)
    return RawTable(frame, row_ids(frame))


def _series(column: pa.ChunkedArray, kind: pa.DataType) -> pd.Series:
    """Return a column in a type the preprocessing knows: number, bool, datetime or text."""
    if pa.types.is_dictionary(kind):
        return _series(column.cast(kind.value_type), kind.value_type)
    if pa.types.is_date(kind):
        column = column.cast(pa.timestamp("ms"))
    elif pa.types.is_decimal(kind):
        column = column.cast(pa.float64())
    elif pa.types.is_time(kind):
        column = column.cast(pa.string())
    series: pd.Series = column.to_pandas()
    return series.dt.total_seconds() if pa.types.is_duration(kind) else series


def _text(path: Path, data: bytes) -> str:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise DataError(f"{path}:{line}: not UTF-8 (byte {data[error.start]:#04x}). Save the file as UTF-8.") from error
    if not text.strip():
        raise DataError(f"{path}: is empty. A table needs a header line and rows.")
    return text


def _unzipped(path: Path) -> bytes:
    try:
        return gzip.decompress(_bytes(path))
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: damaged or not a gzip file ({error}).") from error


def _bytes(path: Path) -> bytes:
    if not path.exists():
        raise DataError(f"{path}: no such file. Paths are relative to the manifest.")
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}).") from error
