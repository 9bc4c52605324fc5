"""Events of HDF5 files: arrays with one entry an event, tables of records, and jagged arrays with offsets."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np

from tabstar_lit.arrays import Array
from tabstar_lit.data import hdf5
from tabstar_lit.errors import DataError
from tabstar_lit.families.hep.events.jagged import Jagged
from tabstar_lit.families.hep.events.reading.reader import Chunk, Reader, Value, reported

MAX_EXPANSION = 1_000_000
"""Other programs compress in other ways; but a file of a few kB that declares 1e11 events is none."""


class _Place(NamedTuple):
    """Where a column of an HDF5 file is: a dataset, one of its fields, and the offsets of its events."""

    dataset: str
    field: str | None
    offsets: str | None


def hdf5_reader(path: Path) -> Reader:
    """Open arrays with one entry an event, and those whose group has ``offsets`` as jagged ones.

    ``jets/pt`` is the column ``jets.pt``, and so is the field ``pt`` of a structured array ``jets``. A row of a
    two-dimensional array is a list of as many objects in each event.
    """
    columns: dict[str, _Place] = {}
    lengths: dict[str, int] = {}

    def visit(name: str, item: object) -> None:
        if not isinstance(item, h5py.Dataset) or item.ndim not in (1, 2) or name.rpartition("/")[2] == "offsets":
            return
        group = item.parent
        own = item.ndim == 1 and isinstance(group.get("offsets", getlink=True), h5py.HardLink)
        offsets = f"{group.name}/offsets" if own else None
        for field in item.dtype.names or (None,):
            column = ".".join([*name.split("/"), *([field] if field else [])])
            columns[column] = _Place(name, field, offsets)
            lengths[column] = len(group["offsets"]) - 1 if offsets else len(item)

    with h5py.File(path, "r", locking="best-effort") as file:
        file.visititems(visit)  # links to elsewhere are not visited
    if not columns:
        raise DataError(f"{path}: holds no arrays of one or two dimensions")

    def read(names: Sequence[str], texts: Sequence[str], rows: int) -> Iterator[Chunk]:
        sizes = {name: lengths[name] for name in names}
        n_events = next(iter(sizes.values()), 0)
        if set(sizes.values()) - {n_events}:
            shown = ", ".join(f"{name} {size}" for name, size in sizes.items())
            raise DataError(f"{path}: columns have different numbers of events: {shown}")
        with reported(path), h5py.File(path, "r", locking="best-effort") as file:
            for place in {columns[name] for name in names}:
                for own in filter(None, (place.dataset, place.offsets)):
                    hdf5.require_stored(file, own, expansion=MAX_EXPANSION)
            for start in range(0, n_events, rows):
                stop = min(start + rows, n_events)
                found = {name: _values(file, columns[name], start, stop, name in texts) for name in names}
                yield Chunk(start, stop - start, found)

    sizes = set(lengths.values())
    return Reader(tuple(columns), sizes.pop() if len(sizes) == 1 else None, read)


def _values(file: h5py.File, place: _Place, start: int, stop: int, as_text: bool) -> Value:
    counts, rows = None, slice(start, stop)
    dataset = file[place.dataset]
    if place.offsets:
        counts, rows = _extent(file, place, start, stop)
    if dataset.ndim == 2:
        counts = np.full(stop - start, dataset.shape[1])
    source = dataset.fields(place.field) if place.field else dataset
    text = h5py.check_string_dtype(dataset.dtype[place.field] if place.field else dataset.dtype) is not None
    values: Array = np.ravel(dataset.asstr()[rows] if text and not place.field else source[rows])
    if text and place.field:
        values = np.array([cell.decode() if isinstance(cell, bytes) else cell for cell in values], dtype=object)
    if not text and values.dtype.kind not in "iufb":
        held = f"{values.dtype}; only numbers, texts and truth values can be used"
        raise DataError(f"column '{place.dataset}' holds {held}")
    if as_text and not text:
        values = values.astype(str).astype(object)
    return values if counts is None else Jagged(values, counts)


def _extent(file: h5py.File, place: _Place, start: int, stop: int) -> tuple[Array, slice]:
    """Return the objects of each of some events, and where all of them are."""
    offsets, n_values = file[place.offsets][start : stop + 1].astype(np.int64), len(file[place.dataset])
    counts, rows = np.diff(offsets), slice(int(offsets[0]), int(offsets[-1]))
    if np.any(counts < 0) or rows.start < 0 or rows.stop > n_values:
        problem = f"does not rise within the {n_values} values of '{place.dataset}'"
        raise DataError(f"{file.filename}: '{place.offsets}' {problem}")
    return counts, rows
