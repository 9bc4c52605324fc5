"""The order of training events: all shuffled, or chunk by chunk; a pure function of (seed, epoch)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tabstar_lit.arrays import Int64
from tabstar_lit.data.plans import RowBatch, RowPlan, cut
from tabstar_lit.errors import DataError
from tabstar_lit.families.hep.preparation.resampling import Resampler
from tabstar_lit.families.hep.preparation.trimming import Multiplicities

_ORDER = 1
"""Third number of the generator of the order, which keeps it apart from the one that resamples."""


class Buckets(NamedTuple):
    """Events of like multiplicity in one batch, among so many batches that follow one another."""

    of: Multiplicities
    batches: int


class ShuffledPlan(RowPlan):
    """Every training event once an epoch, or as often as the resampler says, in random order.

    Parameters
    ----------
    rows : ndarray of int64 [n]
        The training events, as row numbers of the file.
    batch_size : int
        Events in a batch.
    seed : int
        Of the experiment.
    drop_last : bool, default False
        Leave out a short last batch.
    resampler : Resampler, optional
        Draws the events of an epoch.
    buckets : Buckets, optional
        Put events of like multiplicity into one batch.

    Raises
    ------
    DataError
        ``drop_last`` leaves no batch at all.
    """

    def __init__(
        self,
        rows: Int64,
        batch_size: int,
        *,
        seed: int,
        drop_last: bool = False,
        resampler: Resampler | None = None,
        buckets: Buckets | None = None,
    ) -> None:
        self._rows = rows
        self._batch_size = batch_size
        self._seed = seed
        self._resampler, self._buckets = resampler, buckets
        n_events = len(rows) if resampler is None else resampler.n_events
        self._n_batches = n_events // batch_size if drop_last else -(-n_events // batch_size)
        if self._n_batches == 0:
            raise DataError(
                f"an epoch has {n_events} training events, less than one batch of {batch_size}: lower "
                "dataloader_kwargs.batch_size, or set dataset_kwargs.drop_last: false."
            )

    def batches(self, epoch: int) -> list[RowBatch]:
        """Return the batches of ``epoch``; their rows are views of one array."""
        rows = self._rows if self._resampler is None else self._resampler.draw(epoch)
        rng = np.random.default_rng([self._seed, epoch, _ORDER])
        order = self._arrange(rows, rng)
        if self._buckets is not None:
            order = self._buckets.of.grouped(order, self._batch_size, self._buckets.batches, rng)
        return [RowBatch(0, part) for part in cut(order, self._batch_size)[: self._n_batches]]

    def __len__(self) -> int:
        """Return the number of batches in an epoch, over all ranks."""
        return self._n_batches

    def _arrange(self, rows: Int64, rng: np.random.Generator) -> Int64:
        return rng.permutation(rows)


class ChunkShuffledPlan(ShuffledPlan):
    """The same events in an order that reads the file in chunks, several of which are mixed at a time.

    The chunks of the file are put in random order; each run of ``mixed`` of them forms a pool whose events are
    shuffled. A batch holds events of one pool, or of two where one ends.

    Parameters
    ----------
    rows, batch_size, seed, drop_last, resampler, buckets
        As for :class:`ShuffledPlan`.
    chunk_rows : int
        Rows of the file in a chunk.
    mixed : int
        Chunks in a pool.
    """

    def __init__(
        self,
        rows: Int64,
        batch_size: int,
        *,
        seed: int,
        chunk_rows: int,
        mixed: int,
        drop_last: bool = False,
        resampler: Resampler | None = None,
        buckets: Buckets | None = None,
    ) -> None:
        super().__init__(rows, batch_size, seed=seed, drop_last=drop_last, resampler=resampler, buckets=buckets)
        self._chunk_rows = chunk_rows
        self._mixed = mixed

    def _arrange(self, rows: Int64, rng: np.random.Generator) -> Int64:
        chunks = rows // self._chunk_rows
        place = rng.permutation(int(chunks.max()) + 1)  # of each chunk in the order of reading
        shuffled = rng.permutation(len(rows))
        pools = place[chunks[shuffled]] // self._mixed
        return rows[shuffled[np.argsort(pools, kind="stable")]]
