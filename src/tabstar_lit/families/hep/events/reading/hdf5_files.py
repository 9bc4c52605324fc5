"""Events of HDF5 files: arrays with one entry an event, tables of records, jagged arrays, and piles of SeeSawML."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np

from tabstar_lit.arrays import Array, Bool
from tabstar_lit.data import hdf5
from tabstar_lit.errors import DataError
from tabstar_lit.families.hep.events.jagged import Jagged
from tabstar_lit.families.hep.events.reading.piles import pile_facts
from tabstar_lit.families.hep.events.reading.reader import Chunk, Reader, Value, reported

MAX_EXPANSION = 1_000_000
"""Other programs compress in other ways; but a file of a few kB that declares 1e11 events is none."""

PILE = re.compile(r"(?P<table>.+)/(?P<pile>p\d+)")
"""A table of a file into which several piles were merged."""


class _Place(NamedTuple):
    """Where a column of an HDF5 file is: a dataset, one of its fields, and the offsets of its events."""

    dataset: str
    field: str | None
    offsets: str | None

    def of(self, pile: str) -> _Place:
        """Return the same column of a pile; the name of no pile is empty."""
        return self._replace(dataset=f"{self.dataset}/{pile}") if pile else self


def hdf5_reader(path: Path) -> Reader:
    """Open arrays with one entry an event, and those whose group has ``offsets`` as jagged ones.

    ``jets/pt`` is the column ``jets.pt``, and so is the field ``pt`` of a structured array ``jets``. A row of a
    two-dimensional array is a list of as many objects in each event, but for those that are padding, where the
    ``metadata`` of the file name its value. Tables ``jets/p0``, ``jets/p1``, ... are one after the other.
    """
    columns: dict[str, _Place] = {}
    lengths: dict[str, dict[str, int]] = {}

    def visit(name: str, item: object) -> None:
        if not isinstance(item, h5py.Dataset) or item.ndim not in (1, 2) or name.rpartition("/")[2] == "offsets":
            return
        merged = PILE.fullmatch(name) if item.dtype.names else None
        table, pile = (merged["table"], merged["pile"]) if merged else (name, "")
        group = item.parent
        own = item.ndim == 1 and isinstance(group.get("offsets", getlink=True), h5py.HardLink)
        offsets = f"{group.name}/offsets" if own else None
        for field in item.dtype.names or (None,):
            column = ".".join([*table.split("/"), *([field] if field else [])])
            columns[column] = _Place(table, field, offsets)
            lengths.setdefault(column, {})[pile] = len(group["offsets"]) - 1 if offsets else len(item)

    with h5py.File(path, "r", locking="best-effort") as file:
        file.visititems(visit)  # links to elsewhere are not visited
        facts = pile_facts(file, path)
    if not columns:
        raise DataError(f"{path}: holds no arrays of one or two dimensions")

    def read(names: Sequence[str], texts: Sequence[str], rows: int) -> Iterator[Chunk]:
        piles, first = _piles(path, {name: lengths[name] for name in names}), 0
        with reported(path), h5py.File(path, "r", locking="best-effort") as file:
            for pile, n_events in piles.items():
                places = {name: columns[name].of(pile) for name in names}
                for place in set(places.values()):
                    for own in filter(None, (place.dataset, place.offsets)):
                        hdf5.require_stored(file, own, expansion=MAX_EXPANSION)
                for start in range(0, n_events, rows):
                    stop = min(start + rows, n_events)
                    part = _Part(file, start, stop, facts.pads)
                    found = {name: part.values(place, name in texts) for name, place in places.items()}
                    yield Chunk(first + start, stop - start, found)
                first += n_events

    sizes = {sum(piles.values()) for piles in lengths.values()}
    return Reader(tuple(columns), sizes.pop() if len(sizes) == 1 else None, read, codes=facts.labels, notes=facts.notes)


def _piles(path: Path, sizes: dict[str, dict[str, int]]) -> dict[str, int]:
    """Return the piles that some columns are in, in the order of their numbers, and how many events each has."""
    piles = next(iter(sizes.values()), {"": 0})
    for name, own in sizes.items():
        if own != piles:
            first = next(iter(sizes))
            shown = f"{first} {_shown(piles)}, {name} {_shown(own)}"
            raise DataError(f"{path}: columns have different numbers of events: {shown}")
    return {pile: piles[pile] for pile in sorted(piles, key=lambda name: int(name[1:] or 0))}


def _shown(piles: dict[str, int]) -> str:
    total = str(sum(piles.values()))
    return total if "" in piles else f"{total} in {len(piles)} piles"


class _Part:
    """Events ``start:stop`` of an HDF5 file, or of one pile of it.

    Parameters
    ----------
    file : h5py.File
        Open.
    start, stop : int
        Which.
    pads : dict of str to float
        Value of padding by table.
    """

    def __init__(self, file: h5py.File, start: int, stop: int, pads: dict[str, float]) -> None:
        self.file, self.start, self.stop, self.pads = file, start, stop, pads
        self._tables: dict[str, tuple[Array, Bool]] = {}

    def values(self, place: _Place, as_text: bool) -> Value:
        """Return a column."""
        dataset, counts = self.file[place.dataset], None
        if dataset.ndim == 2 and place.field and _table_of(place.dataset) in self.pads:
            table, keep = self._unpadded(place.dataset)
            values, counts = table[place.field][keep], keep.sum(axis=1)
        elif place.offsets:
            counts, rows = _extent(self.file, place, self.start, self.stop)
            values = _stored(dataset, place.field, rows)
        else:
            counts = np.full(self.stop - self.start, dataset.shape[1]) if dataset.ndim == 2 else None
            values = _stored(dataset, place.field, slice(self.start, self.stop))
        if values.dtype.kind not in "iufbO":
            held = f"{values.dtype}; only numbers, texts and truth values can be used"
            raise DataError(f"column '{place.dataset}' holds {held}")
        if as_text and values.dtype != object:
            values = values.astype(str).astype(object)
        return values if counts is None else Jagged(values, counts)

    def _unpadded(self, dataset: str) -> tuple[Array, Bool]:
        """Return a padded table ``[n, P]``, and which of its slots hold an object: padding is so in all numbers."""
        if dataset not in self._tables:
            table, pad = self.file[dataset][self.start : self.stop], self.pads[_table_of(dataset)]
            kinds = {name: table.dtype[name].kind for name in table.dtype.names}
            numbers = [name for name, kind in kinds.items() if kind == "f"] or [
                n for n, k in kinds.items() if k in "iu"
            ]
            is_pad = [np.isclose(table[name].astype(np.float64), pad) for name in numbers]
            self._tables[dataset] = table, ~np.all(is_pad, axis=0) if numbers else np.ones(table.shape, dtype=bool)
        return self._tables[dataset]


def _table_of(dataset: str) -> str:
    merged = PILE.fullmatch(dataset)
    return merged["table"] if merged else dataset


def _stored(dataset: h5py.Dataset, field: str | None, rows: slice) -> Array:
    """Return rows of a dataset, or of one of its fields, as one array; texts as objects."""
    text = h5py.check_string_dtype(dataset.dtype[field] if field else dataset.dtype) is not None
    source = dataset.fields(field) if field else dataset
    values: Array = np.ravel(dataset.asstr()[rows] if text and not field else source[rows])
    if text and field:
        values = np.array([cell.decode() if isinstance(cell, bytes) else cell for cell in values], dtype=object)
    return values


def _extent(file: h5py.File, place: _Place, start: int, stop: int) -> tuple[Array, slice]:
    """Return the objects of each of some events, and where all of them are."""
    offsets, n_values = file[place.offsets][start : stop + 1].astype(np.int64), len(file[place.dataset])
    counts, rows = np.diff(offsets), slice(int(offsets[0]), int(offsets[-1]))
    if np.any(counts < 0) or rows.start < 0 or rows.stop > n_values:
        problem = f"does not rise within the {n_values} values of '{place.dataset}'"
        raise DataError(f"{file.filename}: '{place.offsets}' {problem}")
    return counts, rows
