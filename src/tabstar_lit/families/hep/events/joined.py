"""Several event files read as one: their events end to end, under one list of classes and of categories."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import numpy as np

from tabstar_lit.arrays import Array, Float64, Int64, UInt64
from tabstar_lit.config.tree import suggestion
from tabstar_lit.errors import DataError
from tabstar_lit.families.hep.events.file import ColumnInfo, EventFile, ObjectInfo


def joined(parts: Sequence[EventFile]) -> EventFile:
    """Return files as one.

    Parameters
    ----------
    parts : sequence of EventFile
        At least one. Their columns must be the same; classes and categories are those of all of them, and further
        weights those that all have.

    Raises
    ------
    DataError
        A file has other columns, kinds, units or objects than the first, or weights where others have none, or the
        same events as another.
    """
    if len(parts) == 1:
        return parts[0]
    first = parts[0]
    for part in parts[1:]:
        _require_alike(first, part)
    seen: dict[str, Path] = {}
    for part in parts:
        if (twin := seen.setdefault(part.fingerprint, part.path)) != part.path:
            raise DataError(f"{part.path}: holds the same events as {twin}; every event counts once.")
    return JoinedEvents(
        path=first.path.with_name(f"{first.path.name} and {len(parts) - 1} more"),
        n_events=sum(part.n_events for part in parts),
        classes=tuple(dict.fromkeys(name for part in parts for name in part.classes)),
        columns={name: _merged([part.columns[name] for part in parts]) for name in first.columns},
        objects={name: _merged_objects([part.objects[name] for part in parts]) for name in first.objects},
        fingerprint=hashlib.sha256("".join(part.fingerprint for part in parts).encode()).hexdigest(),
        has_weights=first.has_weights,
        sources=tuple(source for part in parts for source in part.sources),
        conversion="",
        variations=tuple(name for name in first.variations if all(name in part.variations for part in parts)),
        parts=tuple(parts),
    )


@dataclass(frozen=True)
class JoinedEvents(EventFile):
    """Files read as one; see :func:`joined`.

    Attributes
    ----------
    parts : tuple of EventFile
        The files, in order.
    """

    parts: tuple[EventFile, ...] = ()

    def labels(self) -> Int64:
        """Return the class number of each event, ``[N]``."""
        tables = [np.array([*map(self.classes.index, part.classes), -1]) for part in self.parts]
        return np.concatenate([table[part.labels()] for part, table in zip(self.parts, tables, strict=True)])

    def weights(self) -> Float64:
        """Return the signed weight of each event, ``[N]``."""
        return np.concatenate([part.weights() for part in self.parts])

    def with_weight(self, name: str | None) -> EventFile:
        """Return the same events with another of their weights; None is their own."""
        parts = tuple(part.with_weight(name) for part in self.parts)
        return replace(cast(JoinedEvents, super().with_weight(name)), parts=parts)

    def event_ids(self) -> UInt64:
        """Return the id of each event, ``[N]``; events of different files may share one, and a side of any split."""
        return np.concatenate([part.event_ids() for part in self.parts])

    def group_ids(self) -> UInt64:
        """Return for each event the id of the group it must not be split from, ``[N]``."""
        return np.concatenate([part.group_ids() for part in self.parts])

    def read(self, names: Sequence[str], start: int = 0, stop: int | None = None) -> dict[str, Array]:
        """Return events ``start:stop`` of several columns."""
        sizes = [part.n_events for part in self.parts]
        pieces = [part.read(names, *extent) for part, *extent in self._within(sizes, start, stop)]
        infos = [part.columns for part, *_ in self._within(sizes, start, stop)]
        return {
            name: _recoded([piece[name] for piece in pieces], [own[name] for own in infos], self.columns[name])
            for name in names
        }

    def offsets(self, objects: str) -> Int64:
        """Return where the objects of each event begin among all of their type, ``[N + 1]``."""
        counts = np.concatenate([np.diff(part.offsets(objects)) for part in self.parts])
        return np.concatenate([[0], np.cumsum(counts)])

    def read_objects(
        self, objects: str, names: Sequence[str], start: int = 0, stop: int | None = None
    ) -> dict[str, Array]:
        """Return objects ``start:stop`` of several columns."""
        sizes = [part.objects[objects].n_objects for part in self.parts]
        found = list(self._within(sizes, start, stop))
        pieces = [part.read_objects(objects, names, *extent) for part, *extent in found]
        infos = [part.objects[objects].columns for part, *_ in found]
        held = self.objects[objects].columns
        return {
            name: _recoded([piece[name] for piece in pieces], [own[name] for own in infos], held[name])
            for name in names
        }

    def _within(self, sizes: Sequence[int], start: int, stop: int | None) -> Iterator[tuple[EventFile, int, int]]:
        """Yield the files that rows ``start:stop`` of all lie in, and which of its own rows these are."""
        total = sum(sizes)
        start, stop, _ = slice(start, stop).indices(total)
        first, any_found = 0, False
        for part, size in zip(self.parts, sizes, strict=True):
            low, high = max(start - first, 0), min(stop - first, size)
            if low < high:
                any_found = True
                yield part, low, high
            first += size
        if not any_found:
            yield self.parts[0], 0, 0


def _require_alike(first: EventFile, part: EventFile) -> None:
    """Refuse a file that does not go with the first one."""
    where = f"{part.path} does not go with {first.path}"
    if bool(first.classes) != bool(part.classes):
        raise DataError(f"{where}: one of them has labels and the other none.")
    if first.has_weights != part.has_weights:
        raise DataError(f"{where}: one of them has weights and the other none.")
    _require_columns(first.columns, part.columns, where, "column")
    if list(first.objects) != list(part.objects):
        raise DataError(f"{where}: it has the objects {list(part.objects)}, not {list(first.objects)}.")
    for name, info in first.objects.items():
        _require_columns(info.columns, part.objects[name].columns, where, f"column of '{name}'")


def _require_columns(first: dict[str, ColumnInfo], other: dict[str, ColumnInfo], where: str, what: str) -> None:
    for name in first:
        if name not in other:
            raise DataError(f"{where}: it has no {what} '{name}'.{suggestion(name, list(other))}")
        told: list[Callable[[ColumnInfo], str | None]] = [lambda info: info.kind, lambda info: info.unit]
        for tell in told:
            if tell(first[name]) != tell(other[name]):
                seen = f"is {tell(other[name])}, not {tell(first[name])}"
                raise DataError(f"{where}: its {what} '{name}' {seen}. Convert both in the same way.")
    for name in other:
        if name not in first:
            raise DataError(f"{where}: only it has a {what} '{name}'. Convert both in the same way.")


def _merged(infos: Sequence[ColumnInfo]) -> ColumnInfo:
    categories = tuple(dict.fromkeys(text for info in infos for text in info.categories))
    return replace(infos[0], nullable=any(info.nullable for info in infos), categories=categories)


def _merged_objects(infos: Sequence[ObjectInfo]) -> ObjectInfo:
    columns = {name: _merged([info.columns[name] for info in infos]) for name in infos[0].columns}
    return ObjectInfo(columns, sum(info.n_objects for info in infos), max(info.max_length for info in infos))


def _recoded(pieces: Sequence[Array], own: Sequence[ColumnInfo], merged: ColumnInfo) -> Array:
    """Join values; codes are those of the categories of all files."""
    if merged.kind == "numerical":
        return np.concatenate(pieces)
    number = {text: code for code, text in enumerate(merged.categories)}
    tables = [np.array([*(number[text] for text in info.categories), -1], dtype=np.int32) for info in own]
    return np.concatenate([table[piece] for table, piece in zip(tables, pieces, strict=True)])
