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
from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import chain, count
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from tabstar_lit.arrays import UInt64
from tabstar_lit.data.encodings import unicode_of
from tabstar_lit.data.splits import row_ids
from tabstar_lit.errors import DataError
from tabstar_lit.families.tabstar.tables.reading import Reading

SEPARATORS = {".csv": ",", ".tsv": "\t", ".txt": "\t"}
OTHER_SEPARATORS = (";", "\t", "|", ",")
PARQUET = (".parquet", ".pq")
PACKED = (".gz", ".gzip", ".snappy", ".zstd", ".brotli", ".lz4")
"""What people append to the name of a Parquet file, whose own columns are packed so."""

GZIP_MAGIC = b"\x1f\x8b"
AS_FOUND = Reading()

_PANDAS_INDEX = re.compile(r"__index_level_\d+__")
_UNNAMED = re.compile(r"Unnamed: \d+(\.\d+)*")


class RawTable(NamedTuple):
    """A table as read, before any cell is interpreted.

    Attributes
    ----------
    frame : DataFrame
        Typed columns under unique text names; rows numbered from 0.
    ids : ndarray of uint64 [N]
        One hash a row, of the cells as they stand in the file.
    notes : tuple of str
        What was found out about the file.
    counters : tuple of str
        Columns without a name in the header that only count the rows: indices that were written with the data.
    left_out : tuple of str
        Columns that were not read.
    """

    frame: pd.DataFrame
    ids: UInt64
    notes: tuple[str, ...] = ()
    counters: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()


def read_table(path: Path, reading: Reading = AS_FOUND, *, ignore: Collection[str] = ()) -> RawTable:
    """Read a table.

    Parameters
    ----------
    path : Path
        ``.csv``, ``.tsv`` or ``.txt`` (also ``.gz``; one header line) or ``.parquet``.
    reading : Reading
        Separator, marks and encoding.
    ignore : collection of str
        Columns that no one wants: those of a Parquet file are not read, whatever they hold.

    Returns
    -------
    RawTable
        Its columns and row ids.

    Raises
    ------
    DataError
        If the file is missing, empty, ragged, in another encoding, has duplicate columns, or types that are no table
        cells.
    """
    kind = file_kind(path)
    if kind.separator is None:
        return _read_parquet(path, ignore)
    return _read_text(path, reading, kind.separator, zipped=kind.zipped)


class FileKind(NamedTuple):
    """What a file is by its name: the usual separator of a text file, None for Parquet; whether gzip packs it."""

    separator: str | None
    zipped: bool = False


def file_kind(path: Path) -> FileKind:
    """Return what a file is by its name.

    Raises
    ------
    DataError
        It is called like nothing that is known.
    """
    suffixes = [suffix.lower() for suffix in path.suffixes]
    last, before = "".join(suffixes[-1:]), "".join(suffixes[-2:-1])
    if last in PARQUET or (before in PARQUET and last in PACKED):
        return FileKind(None)
    kind = before if last == ".gz" else last
    if kind in SEPARATORS:
        return FileKind(SEPARATORS[kind], zipped=last == ".gz")
    allowed = ", ".join([*SEPARATORS, *(f"{suffix}.gz" for suffix in SEPARATORS), *PARQUET])
    raise DataError(f"{path}: unknown kind of table '{path.suffix}'. Known: {allowed}.")


def _read_text(path: Path, reading: Reading, usual: str, *, zipped: bool) -> RawTable:
    text = _text(path, _unzipped(path) if zipped else _bytes(path), reading.encoding)
    fields = find_fields(path, text, reading, usual)
    names = named_columns(_check_lines(path, text, fields, given=reading.separator is not None))
    check_names(path, names)
    options: dict[str, Any] = {**fields.options(), "index_col": False, "names": names, "header": 0}
    try:
        raw = pd.read_csv(io.StringIO(text), **options, dtype=str, na_filter=False)
        frame = pd.read_csv(io.StringIO(text), **options, **cell_options(reading), low_memory=False)
    except (pd.errors.ParserError, ValueError, OverflowError) as error:
        raise DataError(f"{path}: cannot be read as a table ({error}).") from error
    counters = tuple(name for name in names if _UNNAMED.fullmatch(name) and _counts(frame[name]))
    notes = [] if fields.separator == usual else [f"fields are separated by {fields.separator!r}"]
    notes += ["spaces behind separators are left out"] if fields.spaced else []
    notes += [f"column '{name}' has no name and counts the rows: it is left out" for name in counters]
    return RawTable(frame, row_ids(raw), tuple(notes), counters)


def cell_options(reading: Reading) -> dict[str, Any]:
    """Return how pandas is to read cells: options of ``read_csv``."""
    options: dict[str, Any] = {"decimal": reading.decimal or "."}
    if reading.thousands is not None:
        options["thousands"] = reading.thousands
    if reading.missing is not None:
        options |= {"keep_default_na": False, "na_values": ["", *reading.missing]}
    texts = [name for name, kind in reading.kinds.items() if kind == "text"]
    return options | {"dtype": dict.fromkeys(texts, str)}


class Fields(NamedTuple):
    """How the fields of a line are told apart: by a separator, and a space behind it that belongs to neither."""

    separator: str
    spaced: bool = False

    def records(self, lines: Iterable[str]) -> Any:
        """Return a reader of the csv module."""
        return csv.reader(lines, delimiter=self.separator, skipinitialspace=self.spaced)

    def options(self) -> dict[str, Any]:
        """Return the same for ``pandas.read_csv``."""
        return {"sep": self.separator, "skipinitialspace": self.spaced}


def find_fields(path: Path, text: str, reading: Reading, usual: str) -> Fields:
    """Return how fields are told apart: as the reading says, else by the usual separator or the one lines agree on.

    A space behind each separator is none of a field's where all names of the header but the first begin with one.
    """
    separator = reading.separator or _find_separator(path, text, usual)
    _, header = next(_records(path, text, Fields(separator)), (1, [""]))
    return Fields(separator, len(header) > 1 and all(name.startswith(" ") for name in header[1:]))


def _find_separator(path: Path, text: str, usual: str) -> str:
    _, first = next(_records(path, text, Fields(usual)))
    if len(first) > 1:
        return usual
    for other in OTHER_SEPARATORS:
        widths = {len(fields) for _, fields in _records(path, text, Fields(other))}
        if len(widths) == 1 and widths.pop() > 1:
            return other
    return usual


def named_columns(header: Sequence[str]) -> list[str]:
    """Call a column without a name as pandas does, also where a table with such a name was written once more."""
    return [name or _free_name(f"Unnamed: {position}", header) for position, name in enumerate(header)]


def _free_name(wanted: str, taken: Collection[str]) -> str:
    others = (f"{wanted}.{number}" for number in count(1))
    return next(name for name in chain([wanted], others) if name not in taken)


def _counts(column: pd.Series) -> bool:
    """Tell whether a column counts the rows from 0 or 1."""
    if not pd.api.types.is_integer_dtype(column.dtype) or column.isna().any():
        return False
    values = column.to_numpy()
    return int(values[0]) in (0, 1) and np.array_equal(values, np.arange(len(values)) + values[0])


def _check_lines(path: Path, text: str, dialect: Fields, *, given: bool) -> list[str]:
    """Return the header, having seen that every row has as many fields; ``given`` tells that the separator is."""
    lines = _records(path, text, dialect)
    _, header = next(lines, (1, []))
    if not header:
        raise DataError(f"{path}: is empty. A table needs a header line and rows.")
    n_rows = 0
    for number, fields in lines:
        n_rows += 1
        if len(fields) != len(header):
            raise DataError(
                f"{path}:{number}: {len(fields)} fields, but the header has {len(header)}, with the separator "
                f"{dialect.separator!r}. Quote cells that hold it or a line break"
                + ("." if given else ", or give another one under 'separator'.")
            )
    if n_rows == 0:
        raise DataError(f"{path}: has a header but no rows.")
    return header


def _records(path: Path, text: str, dialect: Fields) -> Iterator[tuple[int, list[str]]]:
    """Yield (line number, fields) of every record that is not blank."""
    limit = csv.field_size_limit(sys.maxsize)
    try:
        reader = dialect.records(io.StringIO(text, newline=""))
        for fields in reader:
            if len(fields) > 1 or "".join(fields).strip():
                yield reader.line_num, fields
    except csv.Error as error:
        raise DataError(f"{path}: cannot be read as a table ({error}).") from error
    finally:
        csv.field_size_limit(limit)


def check_names(path: Path, names: Sequence[str]) -> None:
    """Refuse columns of one name, and columns without."""
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        columns = [str(i + 1) for i, name in enumerate(names) if name == twice[0]]
        raise DataError(f"{path}: column name '{twice[0]}' stands over columns {', '.join(columns)}. Rename one.")
    if "" in names:
        raise DataError(f"{path}: column {list(names).index('') + 1} has no name. Give it one.")


def _read_parquet(path: Path, ignore: Collection[str]) -> RawTable:
    try:
        file = pq.ParquetFile(pa.BufferReader(_bytes(path)))
        names = [name for name in file.schema_arrow.names if not _PANDAS_INDEX.fullmatch(name)]
        check_names(path, names)
        wanted = [name for name in names if name not in ignore]
        table = file.read(columns=wanted).select(wanted)
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path}: damaged or not a Parquet file ({error}).") from error
    if table.num_rows == 0:
        raise DataError(f"{path}: has columns but no rows.")
    for field in table.schema:
        if not is_single(field.type):
            raise DataError(
                f"{path}: column '{field.name}' holds {field.type}, not single values. Ignore or flatten it."
            )
    frame = pd.DataFrame({field.name: cells_of(table[field.name], field.type) for field in table.schema})
    return RawTable(frame, row_ids(frame), left_out=tuple(name for name in names if name in ignore))


def is_single(kind: pa.DataType) -> bool:
    """Tell whether cells of a type are numbers, text or times."""
    if isinstance(kind, pa.UuidType):
        return True
    stored = kind.storage_type if isinstance(kind, pa.BaseExtensionType) else kind
    binary = (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_binary_view, pa.types.is_fixed_size_binary)
    return not (pa.types.is_nested(stored) or any(test(stored) for test in binary))


def cells_of(column: pa.ChunkedArray, kind: pa.DataType) -> pd.Series:
    """Return a column in a type the preprocessing knows: number, bool, datetime or text."""
    if pa.types.is_dictionary(kind):
        return cells_of(column.cast(kind.value_type), kind.value_type)
    if isinstance(kind, pa.UuidType):
        return pd.Series(column.to_pylist(), dtype=object).map(str, na_action="ignore")
    if isinstance(kind, pa.BaseExtensionType):
        return cells_of(column.cast(kind.storage_type), kind.storage_type)
    if pa.types.is_date(kind):
        column = column.cast(pa.timestamp("ms"))
    elif pa.types.is_decimal(kind):
        column = column.cast(pa.float64())
    elif pa.types.is_time(kind):
        column = column.cast(pa.string())
    series: pd.Series = column.to_pandas()
    return series.dt.total_seconds() if pa.types.is_duration(kind) else series


def _text(path: Path, data: bytes, encoding: str) -> str:
    if data.startswith(GZIP_MAGIC):
        raise DataError(f"{path}: is packed by gzip. Name it {path.name}.gz.")
    try:
        text = data.decode(unicode_of(data) if encoding == "utf-8" else encoding)
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise DataError(
            f"{path}:{line}: not {encoding.upper()} (byte {data[error.start]:#04x}). Save the file as UTF-8, or give "
            "its 'encoding' (often cp1252 or latin-1)."
        ) from error
    if not text.strip():
        raise DataError(f"{path}: is empty. A table needs a header line and rows.")
    return text.replace("\0", " ")  # pandas ends a cell there


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
