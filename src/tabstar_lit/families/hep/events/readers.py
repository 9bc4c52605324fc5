"""Read events from CSV, Parquet, ROOT and HDF5 in chunks, all in one form: flat columns and jagged ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from tabstar_lit.arrays import Array
from tabstar_lit.config.tree import suggestion
from tabstar_lit.errors import DataError
from tabstar_lit.families.hep.events.expressions import Jagged

Value = Array | Jagged

FORMATS = {
    ".csv": "csv",
    ".csv.gz": "csv",
    ".tsv": "csv",
    ".tsv.gz": "csv",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".root": "root",
    ".h5": "hdf5",
    ".hdf5": "hdf5",
}
"""Format of a file by the end of its name."""
MISSING_NUMBERS = [
    *("", "nan", "NaN", "-nan", "-NaN", "NA", "N/A", "n/a", "<NA>", "null", "NULL", "None"),
    *("#N/A", "#NA", "#N/A N/A", "1.#IND", "-1.#IND", "1.#QNAN", "-1.#QNAN"),
]
"""Cells of a CSV file that stand for a number that is missing: pandas' own list, which it applies to texts as well."""


class Chunk(NamedTuple):
    """``n`` events from row ``start`` of a file on."""

    start: int
    n: int
    columns: dict[str, Value]


@dataclass(frozen=True)
class Reader:
    """A file that was opened once to see what is in it.

    Attributes
    ----------
    names : tuple of str
        Its columns.
    n_events : int or None
        How many events it has, where the format says so.
    chunks : callable
        ``chunks(names, texts, rows)`` yields the columns ``names``, at most ``rows`` events at a time; those also in
        ``texts`` as text even where they look like numbers.
    guesses_types : bool
        Whether what a column holds is guessed from the cells of each chunk, not said by the file.
    """

    names: tuple[str, ...]
    n_events: int | None
    chunks: Callable[[Sequence[str], Sequence[str], int], Iterator[Chunk]]
    guesses_types: bool = False


def open_reader(
    path: Path, format_: str | None = None, *, tree: str | None = None, separator: str | None = None
) -> Reader:
    """Open a file of events.

    Parameters
    ----------
    path : Path
        The file.
    format_ : str, optional
        One of the values of :data:`FORMATS`; by default what the name ends with.
    tree : str, optional
        For ROOT, name of the tree; may be left out when there is only one.
    separator : str, optional
        For CSV, what separates cells; by default a comma, or a tab in files called ``.tsv``.

    Returns
    -------
    Reader
        Its columns, and how to read them.

    Raises
    ------
    DataError
        If the file is missing, damaged, of an unknown format, lacks the tree, or needs a package that is missing.
    """
    if not path.is_file():
        raise DataError(f"{path}: no such file")
    endings = [end for end in FORMATS if path.name.lower().endswith(end)]
    if format_ is None and not endings:
        raise DataError(
            f"{path}: unknown kind of file; give 'format', one of {', '.join(sorted(set(FORMATS.values())))}"
        )
    with _reported(path):
        match format_ or FORMATS[endings[0]]:
            case "csv":
                return _csv(path, separator or ("\t" if ".tsv" in path.name.lower() else ","))
            case "parquet":
                return _parquet(path)
            case "root":
                return _root(path, tree)
            case _:
                return _hdf5(path)


def _csv(path: Path, separator: str) -> Reader:
    header = pd.read_csv(path, sep=separator, nrows=0)

    def chunks(names: Sequence[str], texts: Sequence[str], rows: int) -> Iterator[Chunk]:
        start = 0
        # Of texts only empty cells are missing: None, NA and null may be categories.
        missing = {name: [""] if name in texts else MISSING_NUMBERS for name in names}
        with (
            _reported(path),
            pd.read_csv(
                path,
                sep=separator,
                usecols=list(names),
                dtype=dict.fromkeys(texts, str),
                keep_default_na=False,
                na_values=missing,
                chunksize=rows,
            ) as frames,
        ):
            for frame in frames:
                yield Chunk(start, len(frame), {str(name): _from_series(frame[name]) for name in names})
                start += len(frame)

    return Reader(tuple(map(str, header.columns)), None, chunks, guesses_types=True)


def _parquet(path: Path) -> Reader:
    with pq.ParquetFile(path) as file:
        names, n_events = tuple(file.schema_arrow.names), file.metadata.num_rows

    def chunks(names: Sequence[str], texts: Sequence[str], rows: int) -> Iterator[Chunk]:
        start = 0
        with _reported(path), pq.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=rows, columns=list(names)):
                columns = {name: _from_arrow(batch.column(name), name, name in texts) for name in names}
                yield Chunk(start, len(batch), columns)
                start += len(batch)

    return Reader(names, n_events, chunks)


def _root(path: Path, tree: str | None) -> Reader:
    uproot = _uproot(path)
    name = _tree_name(path, tree)
    with uproot.open(path) as file:
        branches = tuple(dict.fromkeys(file[name].keys()))
        n_events = int(file[name].num_entries)

    def chunks(names: Sequence[str], texts: Sequence[str], rows: int) -> Iterator[Chunk]:
        start, wanted = 0, set(names)
        with _reported(path), uproot.open(path) as file:
            options = {"filter_name": wanted.__contains__, "library": "ak"}
            for events in file[name].iterate(step_size=rows, **options):
                columns = {column: _from_awkward(events[column], column, column in texts) for column in names}
                yield Chunk(start, len(events), columns)
                start += len(events)

    return Reader(branches, n_events, chunks)


def _uproot(path: Path) -> Any:
    try:
        import awkward  # noqa: F401  uproot asks for it only once it meets a jagged branch
        import uproot
    except ImportError as error:
        raise DataError(
            f"{path}: reading ROOT files needs uproot and awkward: pip install 'tabstar_lit[root]'"
        ) from error
    return uproot


def _tree_name(path: Path, tree: str | None) -> str:
    """Find the tree that is meant among those of the file."""
    with _uproot(path).open(path) as file:
        kinds = file.classnames(cycle=False)
    trees = [name for name, kind in kinds.items() if kind in {"TTree", "TNtuple", "TNtupleD", "ROOT::RNTuple"}]
    if not trees:
        raise DataError(f"{path}: holds no tree, but {', '.join(kinds) or 'nothing'}")
    if tree is None and len(trees) > 1:
        raise DataError(f"{path}: holds several trees; give 'tree', one of: {', '.join(trees)}")
    if tree is not None and tree not in trees:
        raise DataError(f"{path}: no tree '{tree}'.{suggestion(tree, trees)}")
    return tree or trees[0]


class _Place(NamedTuple):
    """Where a column of an HDF5 file is: a dataset, one of its fields, and the offsets of its events."""

    dataset: str
    field: str | None
    offsets: str | None


def _hdf5(path: Path) -> Reader:
    """Open arrays with one entry an event, and those whose group has ``offsets`` as jagged ones.

    ``jets/pt`` is the column ``jets.pt``, and so is the field ``pt`` of a structured array ``jets``. A row of a
    two-dimensional array is a list of as many objects in each event.
    """
    columns: dict[str, _Place] = {}
    lengths: dict[str, int] = {}

    def visit(name: str, item: object) -> None:
        if not isinstance(item, h5py.Dataset) or item.ndim not in (1, 2) or name.rpartition("/")[2] == "offsets":
            return
        offsets = f"{item.parent.name}/offsets" if "offsets" in item.parent and item.ndim == 1 else None
        for field in item.dtype.names or (None,):
            column = ".".join([*name.split("/"), *([field] if field else [])])
            columns[column] = _Place(name, field, offsets)
            lengths[column] = len(item.parent["offsets"]) - 1 if offsets else len(item)

    with h5py.File(path, "r", locking="best-effort") as file:
        file.visititems(visit)
    if not columns:
        raise DataError(f"{path}: holds no arrays of one or two dimensions")

    def chunks(names: Sequence[str], texts: Sequence[str], rows: int) -> Iterator[Chunk]:
        sizes = {name: lengths[name] for name in names}
        n_events = next(iter(sizes.values()), 0)
        if set(sizes.values()) - {n_events}:
            shown = ", ".join(f"{name} {size}" for name, size in sizes.items())
            raise DataError(f"{path}: columns have different numbers of events: {shown}")
        with _reported(path), h5py.File(path, "r", locking="best-effort") as file:
            for start in range(0, n_events, rows):
                stop = min(start + rows, n_events)
                read = {name: _from_hdf5(file, columns[name], start, stop, name in texts) for name in names}
                yield Chunk(start, stop - start, read)

    sizes = set(lengths.values())
    return Reader(tuple(columns), sizes.pop() if len(sizes) == 1 else None, chunks)


@contextmanager
def _reported(path: Path) -> Iterator[None]:
    """Turn whatever a damaged file makes a library raise into a message that names the file."""
    try:
        yield
    except MemoryError:
        raise
    except DataError as error:
        if str(path) in str(error):
            raise
        raise DataError(f"{path}: {error}") from error
    except Exception as error:  # uproot passes on what struct, zlib, lzma and its own parsers raise: no common base
        raise DataError(
            f"{path}: cannot be read: {type(error).__name__}: {' '.join(str(error).split())[:300]}"
        ) from error


def _from_series(series: pd.Series) -> Array:
    if pd.api.types.is_numeric_dtype(series.dtype):
        return series.to_numpy()
    return np.asarray(series.astype(object).where(series.notna(), None).to_numpy(dtype=object))


def _from_arrow(column: pa.Array, name: str, as_text: bool) -> Value:
    if pa.types.is_fixed_size_list(column.type):
        column = column.cast(pa.list_(column.type.value_type))
    if pa.types.is_list(column.type) or pa.types.is_large_list(column.type):
        filled = column.fill_null([]) if column.null_count else column
        counts = filled.value_lengths().to_numpy(zero_copy_only=False)
        return Jagged(_flat_arrow(filled.flatten(), name, as_text), counts)
    return _flat_arrow(column, name, as_text)


def _flat_arrow(column: pa.Array, name: str, as_text: bool) -> Array:
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    kind = column.type
    if as_text or pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return np.asarray(column.cast(pa.string()).to_numpy(zero_copy_only=False), dtype=object)
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind):
        values = column.cast(pa.float64()) if column.null_count and not pa.types.is_floating(kind) else column
        return np.asarray(values.to_numpy(zero_copy_only=False))
    raise DataError(f"column '{name}' holds {kind}; only numbers, texts, truth values and lists of them can be used")


def _from_awkward(column: Any, name: str, as_text: bool) -> Value:
    import awkward as ak

    kind = str(ak.type(column).content)
    if kind == "string":
        return np.array(ak.to_list(column), dtype=object)
    if column.ndim == 1:
        values: Array = ak.to_numpy(column)
        return values.astype(str).astype(object) if as_text else values
    if column.ndim == 2:
        return Jagged(ak.to_numpy(ak.flatten(column)), ak.to_numpy(ak.num(column)))
    raise DataError(f"branch '{name}' holds {kind}; only numbers, texts and one list of numbers an event can be used")


def _from_hdf5(file: h5py.File, place: _Place, start: int, stop: int, as_text: bool) -> Value:
    counts, rows = None, slice(start, stop)
    dataset = file[place.dataset]
    if place.offsets:
        offsets = file[place.offsets][start : stop + 1].astype(np.int64)
        counts, rows = np.diff(offsets), slice(int(offsets[0]), int(offsets[-1]))
        if np.any(counts < 0) or rows.start < 0 or rows.stop > len(dataset):
            problem = f"does not rise within the {len(dataset)} values of '{place.dataset}'"
            raise DataError(f"{file.filename}: '{place.offsets}' {problem}")
    if dataset.ndim == 2:
        counts = np.full(stop - start, dataset.shape[1])
    source = dataset.fields(place.field) if place.field else dataset
    text = h5py.check_string_dtype(dataset.dtype[place.field] if place.field else dataset.dtype) is not None
    values: Array = np.ravel(dataset.asstr()[rows] if text and not place.field else source[rows])
    if text and place.field:
        values = np.array([cell.decode() if isinstance(cell, bytes) else cell for cell in values], dtype=object)
    if as_text and not text:
        values = values.astype(str).astype(object)
    return values if counts is None else Jagged(values, counts)
