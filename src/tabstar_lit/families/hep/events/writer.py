"""Writes an event file chunk by chunk, so that memory holds one chunk however many events there are."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import h5py
import numpy as np
import numpy.typing as npt

from tabstar_lit.arrays import Array, Bool, Int32
from tabstar_lit.data import hdf5
from tabstar_lit.errors import DataError
from tabstar_lit.families.hep.events.schema import (
    KIND,
    SCHEMA_VERSION,
    ColumnInfo,
    EventSchema,
    column_path,
    object_path,
    variation_path,
)

EVENT_ARRAYS = {"label": np.int16, "weight": np.float64, "event_id": np.uint64, "group_id": np.uint64}
"""What every event has beside its columns."""
MAX_SHOWN = 5


@dataclass(frozen=True)
class ObjectChunk:
    """The objects of one type of ``n`` events.

    Attributes
    ----------
    counts : ndarray of int [n]
        Objects in each event.
    columns : dict of str to ndarray [m]
        Flat columns over the ``m = counts.sum()`` objects, event after event.
    """

    counts: Array
    columns: dict[str, Array]


@dataclass(frozen=True)
class EventChunk:
    """``n`` events to append.

    Attributes
    ----------
    columns : dict of str to ndarray [n]
        Numbers, or codes of categories with -1 for missing.
    objects : dict of str to ObjectChunk
        By type.
    labels : ndarray of int [n]
        Class numbers; -1 in a file without classes.
    weights : ndarray of float64 [n]
        Signed and finite.
    event_ids : ndarray of uint64 [n]
        Unique in the file.
    group_ids : ndarray of uint64 [n], optional
        Events that belong together in a split; the event ids where None.
    variations : dict of str to ndarray of float64 [n]
        Further weights by name, signed and finite.
    """

    columns: dict[str, Array]
    labels: Array
    weights: Array
    event_ids: Array
    objects: dict[str, ObjectChunk] = field(default_factory=dict)
    group_ids: Array | None = None
    variations: dict[str, Array] = field(default_factory=dict)

    def __len__(self) -> int:
        """Return the number of events."""
        return len(self.labels)


class EventWriter:
    """Writes an event file as a context manager; it appears under its name only when the block ends well.

    Parameters
    ----------
    path : Path
        The file to make or replace.
    schema : EventSchema
        What every chunk will hold. Categories may still be unknown: see :meth:`set_categories`.
    sources : sequence of mapping
        Plain descriptions of where the events come from, for readers.
    conversion : str
        Fingerprint of sources and configuration; equal ones need not be converted again.
    renumber : bool
        Event ids are hashes of contents: give equal events different ids. Otherwise equal ids are an error.

    Raises
    ------
    DataError
        If the file cannot be written, or what is appended does not fit the schema.
    """

    def __init__(
        self,
        path: Path,
        schema: EventSchema,
        *,
        sources: Sequence[Mapping[str, Any]] = (),
        conversion: str = "",
        renumber: bool = False,
    ) -> None:
        self.path, self.schema, self.n_events = path, schema, 0
        self._sources, self._conversion, self._renumber = list(sources), conversion, renumber
        self._stack = ExitStack()
        self._digests = {name: hashlib.sha256() for name in (*schema.stored(), *map(variation_path, schema.variations))}
        self._categories: dict[str, tuple[str, ...]] = {}
        self._longest = dict.fromkeys(schema.objects, 0)

    def __enter__(self) -> Self:
        """Create the file beside its target."""
        self._file: h5py.File = self._stack.enter_context(hdf5.atomic_file(self.path))
        for objects in self.schema.objects:
            self._extend(object_path(objects, "offsets"), np.zeros(1, np.int64))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Finish the file, or remove what there is of it."""
        with self._stack:
            if error is None:
                self._create_missing()
                self._settle_ids()
                self._finish()
            else:
                self._stack.__exit__(kind, error, trace)

    def append(self, chunk: EventChunk) -> None:
        """Add events to the end.

        Raises
        ------
        DataError
            If a column is missing, of another length, or holds what it must not: infinities, NaN without being
            nullable, codes or labels out of range, or weights that are not finite.
        """
        n_classes, n = len(self.schema.classes), len(chunk)
        _require((chunk.labels >= -1) & (chunk.labels < n_classes), "label", self.n_events, f"not one of {n_classes}")
        _require((chunk.labels >= 0) | (n_classes == 0), "label", self.n_events, "missing")
        _require(np.isfinite(chunk.weights), "weight", self.n_events, "not finite")
        groups = chunk.event_ids if chunk.group_ids is None else chunk.group_ids
        arrays = {"label": chunk.labels, "weight": chunk.weights, "event_id": chunk.event_ids, "group_id": groups}
        for name, values in arrays.items():
            self._extend(name, _of_length(values, n, name).astype(EVENT_ARRAYS[name]))
        for name in self.schema.variations:
            weights = _of_length(_part(chunk.variations, name), n, name).astype(np.float64)
            _require(np.isfinite(weights), name, self.n_events, "not finite")
            self._extend(variation_path(name), weights)
            self._digests[variation_path(name)].update(weights.tobytes())
        for name, info in self.schema.columns.items():
            self._append_column(column_path(name), info, _of_length(_part(chunk.columns, name), n, name), self.n_events)
        for objects in self.schema.objects:
            self._append_objects(objects, _part(chunk.objects, objects), n)
        self.n_events += n

    def set_categories(self, path: str, categories: Sequence[str], codes: Int32) -> None:
        """Name the categories of a column, once all is appended, and give them their final codes.

        Parameters
        ----------
        path : str
            The column's dataset, as in :meth:`EventSchema.stored`.
        categories : sequence of str
            Text of each final code.
        codes : ndarray of int32 [len(categories)]
            Final code of each code that was appended.
        """
        dataset, digest = self._file[path], hashlib.sha256()
        table = np.append(codes, np.int32(-1)).astype(np.int32)  # -1, missing, stays -1
        for start in range(0, len(dataset), 1 << 20):
            final = table[dataset[start : start + (1 << 20)]]
            dataset[start : start + len(final)] = final
            digest.update(final.tobytes())
        self._digests[path] = digest
        self._categories[path] = tuple(categories)

    def _create(self, name: str, first: Array) -> h5py.Dataset:
        """Make a dataset that holds nothing yet, for values such as the first ones; codes are given anew at the end."""
        rows, is_code = hdf5.CHUNK_BYTES // first.itemsize, first.dtype == np.int32
        filters = hdf5.FILTERS if is_code else hdf5.filters_for(first)
        return self._file.create_dataset(name, (0,), first.dtype, maxshape=(None,), chunks=(rows,), **filters)

    def _extend(self, name: str, values: Array) -> None:
        dataset = self._file[name] if name in self._file else self._create(name, values)
        size = len(dataset)
        dataset.resize(size + len(values), axis=0)
        dataset[size:] = values

    def _append_objects(self, objects: str, chunk: ObjectChunk, n: int) -> None:
        offsets = object_path(objects, "offsets")
        last = int(self._file[offsets][-1])
        counts = _of_length(chunk.counts, n, f"counts of {objects}").astype(np.int64)
        self._extend(offsets, last + np.cumsum(counts))
        self._longest[objects] = max(self._longest[objects], int(counts.max(initial=0)))
        for name, info in self.schema.objects[objects].items():
            values = _of_length(_part(chunk.columns, name), int(counts.sum()), f"{objects}.{name}")
            self._append_column(object_path(objects, name), info, values, last, f"{objects}.{name}")

    def _append_column(self, path: str, info: ColumnInfo, values: Array, first: int, name: str = "") -> None:
        name = name or info.name
        if info.kind == "numerical":
            with np.errstate(over="ignore"):  # what float32 cannot hold is reported as infinite just below
                values = values.astype(np.float32)
            _require(~np.isinf(values), name, first, "infinite")
            wanted = "missing (NaN), but the column does not say that values may be missing"
            _require(~np.isnan(values) | info.nullable, name, first, wanted)
        else:
            values = values.astype(np.int32)
            _require((values >= 0) | info.nullable, name, first, "missing, but the column is not nullable")
            known = len(info.categories) or np.iinfo(np.int32).max
            _require((values >= -1) & (values < known), name, first, f"no code of its {known} categories")
        self._extend(path, values)
        self._digests[path].update(values.tobytes())

    def _create_missing(self) -> None:
        """Make the datasets of a file to which nothing was appended."""
        wanted: dict[str, npt.DTypeLike] = {**EVENT_ARRAYS}
        wanted |= {variation_path(name): np.float64 for name in self.schema.variations}
        wanted |= {
            path: np.float32 if info.kind == "numerical" else np.int32 for path, info in self.schema.stored().items()
        }
        for name, dtype in wanted.items():
            if name not in self._file:
                self._create(name, np.empty(0, dtype))

    def _settle_ids(self) -> None:
        """Make hashed ids unique, or refuse ids that are not."""
        ids = self._file["event_id"][()]
        order = np.argsort(ids, kind="stable")
        repeats = np.flatnonzero(ids[order][1:] == ids[order][:-1]) + 1
        if not len(repeats):
            return
        if not self._renumber:
            rows = np.sort(order[repeats])[:MAX_SHOWN]
            raise DataError(
                f"{self.path}: event ids are not unique: {len(repeats)} repeat an earlier one, first "
                f"{ids[rows].tolist()} (events {rows.tolist()}, counted from 0). Add a column that tells such events "
                "apart, as in 'event_id: [run, event]'; give sources that number their events alike a "
                "tag: {sample: 1} and 'event_id: [sample, event]'; or leave event_id out: then contents are hashed."
            )
        groups = self._file["group_id"][()]
        own = groups == ids
        latest: dict[int, int] = {}
        for row in np.sort(order[repeats]).tolist():  # in the order of the file: the first keeps the hash
            content = int(ids[row])
            fresh = latest.get(content, content).to_bytes(8, "little")
            latest[content] = int.from_bytes(hashlib.sha256(fresh).digest()[:8], "little")
            ids[row] = latest[content]
        self._file["event_id"][...] = ids
        self._file["group_id"][...] = np.where(own, ids, groups)

    def _finish(self) -> None:
        stored = self.schema.stored()
        columns = {
            path: info.to_plain() | {"categories": list(self._categories.get(path, info.categories))}
            for path, info in stored.items()
        }
        for path, info in stored.items():
            if info.unit:
                hdf5.write_text(self._file[path], "unit", info.unit)
        ids = {name: hdf5.checksum({name: self._file[name][()]}) for name in EVENT_ARRAYS}
        offsets = [object_path(objects, "offsets") for objects in self.schema.objects]
        ids |= {path: hdf5.checksum({path: self._file[path][()]}) for path in offsets}
        metadata = {
            "classes": list(self.schema.classes),
            "columns": {name: columns[column_path(name)] for name in self.schema.columns},
            "objects": {
                objects: {
                    "columns": {name: columns[object_path(objects, name)] for name in infos},
                    "n_objects": int(self._file[object_path(objects, "offsets")][-1]),
                    "max_length": self._longest[objects],
                }
                for objects, infos in self.schema.objects.items()
            },
            "n_events": self.n_events,
            "has_weights": self.schema.has_weights,
            "variations": list(self.schema.variations),
            "checksums": ids | {path: digest.hexdigest() for path, digest in self._digests.items()},
            "sources": self._sources,
            "conversion": self._conversion,
        }
        hdf5.write_json(self._file, "metadata", metadata)
        hdf5.write_text(self._file, "kind", KIND)
        self._file.attrs["schema_version"] = SCHEMA_VERSION
        hdf5.write_text(self._file, "fingerprint", fingerprint(metadata))


def fingerprint(metadata: Mapping[str, Any]) -> str:
    """Return the SHA-256 over the contents that metadata describe: equal contents, equal fingerprint."""
    contents = {name: metadata[name] for name in ("classes", "columns", "objects", "has_weights", "checksums")}
    return hashlib.sha256(repr(sorted(contents.items())).encode()).hexdigest()


def _part(parts: Mapping[str, Any], name: str) -> Any:
    if name not in parts:
        raise DataError(f"the chunk lacks '{name}'; it has: {', '.join(parts) or 'nothing'}")
    return parts[name]


def _of_length(values: Array, n: int, name: str) -> Array:
    if np.shape(values) != (n,):
        raise DataError(f"'{name}' has shape {list(np.shape(values))}, expected [{n}]")
    return values


def _require(good: Bool, name: str, first: int, what: str) -> None:
    """Refuse a column whose values are not all good."""
    if not np.all(good):
        rows = np.flatnonzero(~good)
        shown = ", ".join(map(str, (first + rows[:MAX_SHOWN]).tolist()))
        raise DataError(f"column '{name}': {len(rows)} values are {what}, first in rows {shown} (counted from 0)")
