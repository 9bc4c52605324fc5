"""Events ready for batching, as a few contiguous tensors: a batch is an index_select of each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any

import torch
from torch import Tensor

from tabstar_lit.families.hep.batch import EventBatch, Features, Objects


@dataclass(frozen=True, slots=True)
class ObjectBlock:
    """The ``M`` objects of one type of ``N`` events, end to end, with a row of zeros after them for padding.

    Attributes
    ----------
    numerical, categorical, momenta : Tensor
        ``[M + 1, F]`` float32, ``[M + 1, C]`` int64, ``[M + 1, 4 or 0]`` float32.
    starts, counts : Tensor
        ``[N]`` int64 first object of each event, and how many it has.
    slots : int
        ``P``, at least any of ``counts``: every batch is padded to it, unless it is asked for with fewer.
    """

    numerical: Tensor
    categorical: Tensor
    momenta: Tensor
    starts: Tensor
    counts: Tensor
    slots: int

    def select(self, index: Tensor, slots: int | None = None) -> Objects:
        """Return the objects of the events ``index``, padded to ``slots``, which is at least any of their counts."""
        slot = torch.arange(slots or self.slots, device=index.device)
        mask = slot < self.counts.index_select(0, index).unsqueeze(1)
        rows = self.starts.index_select(0, index).unsqueeze(1) + slot
        rows = torch.where(mask, rows, len(self.numerical) - 1).flatten()
        shape = (len(index), len(slot), -1)
        return Objects(
            numerical=_wide(self.numerical, rows, shape),
            categorical=_wide(self.categorical, rows, shape),
            mask=mask,
            momenta=_wide(self.momenta, rows, shape),
        )


@dataclass(frozen=True, slots=True)
class PaddedBlock:
    """The same, padded once: several times faster to select from, for more memory.

    Attributes
    ----------
    objects : Objects
        Of all ``N`` events.
    """

    objects: Objects

    def select(self, index: Tensor, slots: int | None = None) -> Objects:
        """Return the objects of the events ``index``, padded to ``slots``, which is at least any of their counts."""
        return Objects(*(_rows(table[:, :slots], index) for table in self.objects))


@dataclass(frozen=True, slots=True)
class EventBlock:
    """``N`` neighbouring events of a file, prepared.

    Attributes
    ----------
    first : int
        Row of the first one in the file.
    numerical, categorical, targets, loss_weights, event_weights, spectators : Tensor
        As in :class:`~tabstar_lit.families.hep.batch.EventBatch`, with ``N`` rows.
    objects : dict of str to ObjectBlock or PaddedBlock
        By type.
    """

    first: int

    numerical: Tensor
    categorical: Tensor
    targets: Tensor
    loss_weights: Tensor
    event_weights: Tensor
    spectators: Tensor
    objects: dict[str, ObjectBlock | PaddedBlock]

    @property
    def device(self) -> torch.device:
        """Where the events are."""
        return self.targets.device

    @property
    def nbytes(self) -> int:
        """Memory of all tensors."""
        return sum(tensor.nbytes for tensor in _tensors(self))

    def to(self, device: torch.device) -> EventBlock:
        """Return this block on ``device``."""
        moved: EventBlock = _moved(self, device)
        return moved

    def padded(self) -> EventBlock:
        """Return this block with its objects padded once and for all."""
        everything = torch.arange(len(self.targets), device=self.device)
        return replace(self, objects={name: PaddedBlock(own.select(everything)) for name, own in self.objects.items()})

    def select(self, index: Tensor, slots: Mapping[str, int] | None = None) -> EventBatch:
        """Return the events at the positions ``index`` as a batch.

        Parameters
        ----------
        index : Tensor
            ``[B]`` int64.
        slots : mapping of str to int, optional
            By type, what objects are padded to, where that is less than usual.
        """
        features = Features(
            numerical=_rows(self.numerical, index),
            categorical=_rows(self.categorical, index),
            objects={name: own.select(index, slots[name] if slots else None) for name, own in self.objects.items()},
        )
        return EventBatch(
            features,
            targets=self.targets.index_select(0, index),
            loss_weights=self.loss_weights.index_select(0, index),
            event_weights=self.event_weights.index_select(0, index),
            spectators=_rows(self.spectators, index),
            rows=index + self.first,
        )


def merge(parts: Sequence[EventBatch], order: Tensor) -> EventBatch:
    """Join batches end to end and put their events in another order.

    Parameters
    ----------
    parts : sequence of EventBatch
        With ``B`` events together.
    order : Tensor
        ``[B]`` int64: which of them comes first, second, ….
    """
    merged: EventBatch = _merge(parts, order)
    return merged


def _merge(parts: Sequence[Any], order: Tensor) -> Any:
    first = parts[0]
    if isinstance(first, Tensor):
        return torch.cat(list(parts)).index_select(0, order)
    if isinstance(first, dict):
        return {key: _merge([part[key] for part in parts], order) for key in first}
    return type(first)(*(_merge(fields, order) for fields in zip(*parts, strict=True)))


def _tensors(value: Any) -> Iterator[Tensor]:
    """Give the tensors anywhere in a block."""
    if isinstance(value, Tensor):
        yield value
    elif is_dataclass(value):
        for field in fields(value):
            yield from _tensors(getattr(value, field.name))
    elif isinstance(value, dict | tuple):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _tensors(part)


def _moved(value: Any, device: torch.device) -> Any:
    """Return a block, or a part of one, with its tensors on ``device``."""
    if isinstance(value, Tensor):
        return value.to(device)
    if isinstance(value, dict):
        return {name: _moved(part, device) for name, part in value.items()}
    if isinstance(value, Objects):
        return Objects(*(_moved(part, device) for part in value))
    if is_dataclass(value) and not isinstance(value, type):
        return replace(value, **{field.name: _moved(getattr(value, field.name), device) for field in fields(value)})
    return value


def _rows(table: Tensor, index: Tensor) -> Tensor:
    """Return some rows of a table; of one without columns, at the price of none."""
    return table.index_select(0, index) if table.shape[-1] else table.new_empty((len(index), *table.shape[1:]))


def _wide(table: Tensor, rows: Tensor, shape: tuple[int, int, int]) -> Tensor:
    if table.shape[1] == 0:
        return table.new_empty((*shape[:2], 0))
    return table.index_select(0, rows).view(shape)
