"""Batch plans: which rows form which batch, as a pure function of (seed, epoch).

Nothing here holds a random generator that advances. A run that stops anywhere and resumes asks the same plan
for the same epoch and goes on at the next batch, with any number of loader workers.
"""

from __future__ import annotations

import zlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Generic, NamedTuple, TypeVar

import numpy as np
from torch.utils.data import Sampler

from tabstar_lit.arrays import Int64
from tabstar_lit.errors import DataError

K = TypeVar("K")


class RowBatch(NamedTuple):
    """Rows of one source that form a batch.

    Attributes
    ----------
    source : int
        Position of the source (a table, a process, a text domain) in its family's list.
    rows : NDArray of int64
        ``[B]`` row numbers inside that source.
    """

    source: int
    rows: Int64


class BatchPlan(ABC, Generic[K]):
    """The batches of every epoch, each named by a key that a dataset turns into tensors.

    Subclasses must return equal keys for equal ``epoch`` and as many of them in every epoch.
    """

    @abstractmethod
    def batches(self, epoch: int) -> list[K]:
        """Return the keys of ``epoch`` in the order they are served."""

    @abstractmethod
    def size(self, key: K) -> int:
        """Return the number of rows in the batch ``key``."""

    @abstractmethod
    def split(self, key: K) -> tuple[K, K]:
        """Return two keys that together hold the rows of ``key``, which has at least two."""

    def dealt(self, keys: list[K]) -> list[K]:
        """Return the keys that a rank is dealt, in order; a plan may tell each of those that follow one another."""
        return keys

    def __len__(self) -> int:
        """Return the number of batches in an epoch, over all ranks."""
        return len(self.batches(0))


class RowPlan(BatchPlan[RowBatch]):
    """A plan whose keys are :class:`RowBatch`; subclasses say only which rows and in what order."""

    def size(self, key: RowBatch) -> int:
        """Return the number of rows in the batch ``key``."""
        return len(key.rows)

    def split(self, key: RowBatch) -> tuple[RowBatch, RowBatch]:
        """Return the first and the second half of the rows of ``key``."""
        half = (len(key.rows) + 1) // 2
        return RowBatch(key.source, key.rows[:half]), RowBatch(key.source, key.rows[half:])


class SequentialPlan(RowPlan):
    """Every row of every source exactly once, in order: for validation and prediction.

    Parameters
    ----------
    rows : sequence of NDArray of int64
        The rows of each source.
    batch_size : int
        Rows in a batch; the last batch of a source may have fewer. A batch holds rows of one source.
    """

    def __init__(self, rows: Sequence[Int64], batch_size: int) -> None:
        self._batches = [RowBatch(source, part) for source, own in enumerate(rows) for part in cut(own, batch_size)]

    def batches(self, epoch: int) -> list[RowBatch]:
        """Return the same batches whatever the epoch."""
        return list(self._batches)


class PlanSampler(Sampler[K], Generic[K]):
    """Deal the batches of a plan to the ranks of a run, from any batch on.

    Whole batches are dealt like cards, so ranks never share a row and no row is lost. Where the number of
    batches does not divide by the number of ranks, the largest ones are split until it does: all ranks make
    equally many steps.

    Parameters
    ----------
    plan : BatchPlan
        What is dealt.
    rank, world_size : int
        This process among all.

    Raises
    ------
    DataError
        There are too few rows to give every rank as many batches.
    """

    def __init__(self, plan: BatchPlan[K], rank: int = 0, world_size: int = 1) -> None:
        self.plan = plan
        self.rank = rank
        self.world_size = world_size
        self.epoch = 0
        self._start: tuple[int, int] | None = None

    def set_epoch(self, epoch: int) -> None:
        """Serve the batches of ``epoch`` from the next iteration on."""
        self.epoch = epoch

    def start_at(self, epoch: int, batch: int) -> None:
        """Go to ``epoch`` and leave out this rank's first ``batch`` batches of it; later epochs are whole."""
        self.set_epoch(epoch)
        self._start = (epoch, batch)

    def __iter__(self) -> Iterator[K]:
        """Yield the keys of this rank."""
        own = self.plan.dealt(self._even(self.plan.batches(self.epoch))[self.rank :: self.world_size])
        skip = self._start[1] if self._start is not None and self._start[0] == self.epoch else 0
        yield from own[skip:]

    def __len__(self) -> int:
        """Return the number of batches this rank serves in a whole epoch."""
        return -(-len(self.plan) // self.world_size)

    def _even(self, keys: list[K]) -> list[K]:
        for _ in range(-len(keys) % self.world_size):
            largest = max(range(len(keys)), key=lambda i: self.plan.size(keys[i]))
            if self.plan.size(keys[largest]) < 2:
                raise DataError(
                    f"cannot share {len(keys)} batches of one row each among {self.world_size} processes. "
                    "Train with fewer devices, or with more rows in an epoch."
                )
            keys[largest : largest + 1] = self.plan.split(keys[largest])
        return keys


def source_rng(seed: int, name: str, *more: int) -> np.random.Generator:
    """Return a generator that depends on the seed, a source's name, further numbers, and nothing else."""
    return np.random.default_rng([seed, zlib.crc32(name.encode()), *more])


def cut(rows: Int64, batch_size: int) -> list[Int64]:
    """Return ``rows`` in pieces of ``batch_size``, the last one perhaps shorter; none for no rows."""
    return [rows[start : start + batch_size] for start in range(0, len(rows), batch_size)]
