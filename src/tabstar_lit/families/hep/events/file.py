"""The event file: weighted collision events with flat columns and jagged objects, read on demand.

Layout (version 1)::

    /                        attributes kind, schema_version, fingerprint
    /events/<column>         [N]    float32 numbers, or int32 codes of categories; attribute unit
    /objects/<type>/offsets  [N+1]  int64; the objects of event i are rows offsets[i]:offsets[i+1]
    /objects/<type>/<column> [M]    the same, one value an object
    /weights/<name>          [N]    float64, signed: further weights, such as variations, where there are some
    /label                   [N]    int16 number of the class; -1 in a file without classes
    /weight                  [N]    float64, signed; ones where there are none
    /event_id, /group_id     [N]    uint64; event ids are unique
    /metadata                JSON: classes, columns with kind, unit and missing code, checksums, sources
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import h5py
import numpy as np

from tabstar_lit.arrays import Array, Float64, Int64, UInt64
from tabstar_lit.config.tree import suggestion
from tabstar_lit.data import hdf5
from tabstar_lit.errors import DataError
from tabstar_lit.families.hep.events.schema import (
    KIND,
    REMEDY,
    SCHEMA_VERSION,
    ColumnInfo,
    EventSchema,
    ObjectInfo,
    column_path,
    object_path,
    variation_path,
)
from tabstar_lit.families.hep.events.writer import EVENT_ARRAYS, EventChunk, EventWriter, ObjectChunk, fingerprint

__all__ = ["ColumnInfo", "EventChunk", "EventFile", "EventSchema", "EventWriter", "ObjectChunk", "ObjectInfo"]


@dataclass(frozen=True)
class EventFile:
    """A verified event file. Holds no open handle, so it may cross a fork; arrays are read when asked for.

    Attributes
    ----------
    path : Path
        The file.
    n_events : int
        Number of events N.
    classes : tuple of str
        Names of the classes in the order of their numbers.
    columns : dict of str to ColumnInfo
        Columns with one value an event.
    objects : dict of str to ObjectInfo
        Types of objects.
    fingerprint : str
        SHA-256 of the contents: equal contents, equal fingerprint.
    has_weights : bool
        False where all weights are ones because the source had none.
    sources : tuple of dict
        Where the events came from.
    conversion : str
        Fingerprint of the conversion that made the file; empty for a toy.
    variations : tuple of str
        Names of further weights.
    weight : str or None
        The one of them that :meth:`weights` returns; None for the events' own.
    """

    path: Path
    n_events: int
    classes: tuple[str, ...]
    columns: dict[str, ColumnInfo]
    objects: dict[str, ObjectInfo]
    fingerprint: str
    has_weights: bool
    sources: tuple[dict[str, Any], ...]
    conversion: str
    variations: tuple[str, ...] = ()
    weight: str | None = None

    @classmethod
    def open(cls, path: Path | str) -> EventFile:
        """Open an event file and verify its layout; values are checked against checksums as they are read.

        Parameters
        ----------
        path : Path or str
            A file made by ``tabstar_lit convert events``.

        Returns
        -------
        EventFile
            What is in it.

        Raises
        ------
        DataError
            If the file is missing, truncated, foreign, of another version, or lacks a column.
        """
        path = Path(path)
        with _open(path) as file:
            metadata = hdf5.read_json(file, "metadata", remedy=REMEDY)
            if not isinstance(metadata, dict) or not {"columns", "checksums"} <= metadata.keys():
                raise DataError(f"{path}: its metadata are not those of an event file. {REMEDY}")
            found = fingerprint(metadata)
            if found != hdf5.read_text(file, "fingerprint"):
                raise DataError(f"{path}: fingerprint and metadata disagree: the file was changed. {REMEDY}")
            try:
                opened = cls._described(path, metadata, found)
            except (AttributeError, KeyError, TypeError, ValueError) as error:
                raise DataError(f"{path}: its metadata are not those of an event file ({error!r}). {REMEDY}") from error
            opened._check_layout(file)
        return opened

    @classmethod
    def _described(cls, path: Path, metadata: Mapping[str, Any], found: str) -> EventFile:
        return cls(
            path=path,
            n_events=int(metadata["n_events"]),
            classes=tuple(metadata["classes"]),
            columns=_columns(metadata["columns"]),
            objects={
                name: ObjectInfo(_columns(plain["columns"]), int(plain["n_objects"]), int(plain["max_length"]))
                for name, plain in metadata["objects"].items()
            },
            fingerprint=found,
            has_weights=metadata["has_weights"],
            sources=tuple(metadata["sources"]),
            conversion=metadata["conversion"],
            variations=tuple(metadata.get("variations", ())),
        )

    @property
    def units(self) -> dict[str, str]:
        """Units of the event columns that have one."""
        return {name: info.unit for name, info in self.columns.items() if info.unit}

    def labels(self) -> Int64:
        """Return the class number of each event, ``[N]``."""
        labels = self._read("label").astype(np.int64)
        if np.any((labels < -1) | (labels >= len(self.classes))):
            raise DataError(f"{self.path}: labels are none of the {len(self.classes)} classes. {REMEDY}")
        return labels

    def weights(self) -> Float64:
        """Return the signed weight of each event, ``[N]``: its own, or the variation that was chosen."""
        return cast(Float64, self._read("weight" if self.weight is None else variation_path(self.weight)))

    def with_weight(self, name: str | None) -> EventFile:
        """Return the same events with another of their weights; None is their own.

        Raises
        ------
        DataError
            There is no such weight.
        """
        if name is not None:
            _known(name, dict.fromkeys(self.variations), f"{self.path}: the events have no weight")
        return replace(self, weight=name)

    def event_ids(self) -> UInt64:
        """Return the unique id of each event, ``[N]``."""
        return cast(UInt64, self._read("event_id"))

    def group_ids(self) -> UInt64:
        """Return for each event the id of the group it must not be split from, ``[N]``."""
        return cast(UInt64, self._read("group_id"))

    def column(self, name: str, start: int = 0, stop: int | None = None) -> Array:
        """Return events ``start:stop`` of a column with one value an event.

        Parameters
        ----------
        name : str
            One of :attr:`columns`.
        start, stop : int
            Range of events; all of them by default.

        Returns
        -------
        ndarray of float32 or int32 [n]
            Numbers with NaN for missing, or codes with -1 for missing.

        Raises
        ------
        DataError
            If there is no such column or its data are damaged.
        """
        return self.read([name], start, stop)[name]

    def read(self, names: Sequence[str], start: int = 0, stop: int | None = None) -> dict[str, Array]:
        """Return events ``start:stop`` of several columns; faster than one by one. See :meth:`column`."""
        for name in names:
            _known(name, self.columns, f"{self.path}: no column")
        with _open(self.path) as file:
            return {name: _dataset(file, column_path(name))[start:stop] for name in names}

    def offsets(self, objects: str) -> Int64:
        """Return where the objects of each event begin among all of their type, ``[N + 1]``.

        Raises
        ------
        DataError
            If there are no such objects or the offsets are damaged.
        """
        info = self._objects(objects)
        offsets = self._read(object_path(objects, "offsets"))
        if offsets[0] != 0 or offsets[-1] != info.n_objects or np.any(np.diff(offsets) < 0):
            raise DataError(f"{self.path}: offsets of '{objects}' do not rise from 0 to {info.n_objects}. {REMEDY}")
        return cast(Int64, offsets)

    def object_column(self, objects: str, name: str, start: int = 0, stop: int | None = None) -> Array:
        """Return objects ``start:stop`` (rows of the flat column, not events) of a column of one type.

        Raises
        ------
        DataError
            If there is no such column or its data are damaged.
        """
        return self.read_objects(objects, [name], start, stop)[name]

    def read_objects(
        self, objects: str, names: Sequence[str], start: int = 0, stop: int | None = None
    ) -> dict[str, Array]:
        """Return objects ``start:stop`` of several columns; faster than one by one. See :meth:`object_column`."""
        info = self._objects(objects)
        for name in names:
            _known(name, info.columns, f"{self.path}: '{objects}' have no column")
        with _open(self.path) as file:
            return {name: _dataset(file, object_path(objects, name))[start:stop] for name in names}

    def _objects(self, objects: str) -> ObjectInfo:
        _known(objects, self.objects, f"{self.path}: no objects")
        return self.objects[objects]

    def _read(self, name: str) -> Array:
        with _open(self.path) as file:
            return hdf5.read_array(file, name, remedy=REMEDY)

    def _check_layout(self, file: h5py.File) -> None:
        """Refuse a file whose datasets have not the length and the type they must have."""
        n, offsets = self.n_events, np.dtype(np.int64)
        wanted = {name: (n, np.dtype(kind)) for name, kind in EVENT_ARRAYS.items()}
        wanted |= {variation_path(name): (n, np.dtype(np.float64)) for name in self.variations}
        wanted |= {column_path(name): (n, info.dtype) for name, info in self.columns.items()}
        for objects, held in self.objects.items():
            wanted[object_path(objects, "offsets")] = (n + 1, offsets)
            wanted |= {object_path(objects, name): (held.n_objects, info.dtype) for name, info in held.columns.items()}
        for name, (size, kind) in wanted.items():
            found = _dataset(file, name)
            if found.shape != (size,):
                raise DataError(f"{self.path}: dataset '{name}' has not the {size} values it should have. {REMEDY}")
            if found.dtype != kind:
                raise DataError(f"{self.path}: dataset '{name}' holds {found.dtype}, not {kind}. {REMEDY}")


def _open(path: Path) -> AbstractContextManager[h5py.File]:
    return hdf5.open_file(path, kind=KIND, schema_version=SCHEMA_VERSION, remedy=REMEDY)


def _dataset(file: h5py.File, name: str) -> h5py.Dataset:
    return hdf5.require_stored(file, name, remedy=REMEDY)


def _columns(plain: Mapping[str, Mapping[str, Any]]) -> dict[str, ColumnInfo]:
    return {name: ColumnInfo.from_plain(name, info) for name, info in plain.items()}


def _known(name: str, names: Mapping[str, object], problem: str) -> None:
    if name not in names:
        raise DataError(f"{problem} '{name}'.{suggestion(name, names, listed='It has') or ' It has none.'}")
