"""Batches that hold rows of several sources, each in its share."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np

from tabstar_lit.arrays import Int64
from tabstar_lit.data.plans import BatchPlan, RowBatch, source_rng
from tabstar_lit.data.quotas import row_quotas
from tabstar_lit.errors import DataError

MixedBatch = tuple[RowBatch, ...]
"""The rows of each source that is in the batch, in the order of sources."""

logger = logging.getLogger(__name__)


class MixedPlan(BatchPlan[MixedBatch]):
    """Draw from all sources for every batch, in shares that hold over the epoch and nearly in each batch.

    Source s gives Q_s of the T rows of an epoch: :func:`~tabstar_lit.data.quotas.row_quotas`. Its i-th row stands at
    (i + 1/2) / Q_s of the epoch, so that with S sources a batch of B rows holds within 1 + S Q_s/T of B Q_s/T rows of
    it. Which rows these are goes on from epoch to epoch: all rows of a source are used, in random order, before one
    repeats. Their order is a function of (seed, name, how often the source has been gone through), so adding a source
    leaves it as it was.

    Parameters
    ----------
    names : sequence of str
        Names of the sources, all different.
    rows : sequence of NDArray of int64
        The training rows of each source.
    batch_size : int
        Rows in a batch.
    rows_per_epoch : int
        T. Without ``repeat`` no source gives more rows in an epoch than it has, and an epoch has fewer than T rows
        where all sources together do.
    seed : int
        Seed of the experiment.
    alpha : float, default 1.0
        Shares of sources: 1 in proportion to their size, 0 all alike.
    repeat : bool, default False
        Use rows of a source several times in an epoch where its share asks for more than it has; a warning says so.
    drop_last : bool, default False
        Leave out a short last batch; its rows come first in the next epoch.

    Raises
    ------
    DataError
        A source gets no row, or an epoch has no batch.
    """

    def __init__(
        self,
        names: Sequence[str],
        rows: Sequence[Int64],
        batch_size: int,
        *,
        rows_per_epoch: int,
        seed: int,
        alpha: float = 1.0,
        repeat: bool = False,
        drop_last: bool = False,
    ) -> None:
        self._names, self._rows, self._seed = names, rows, seed
        quotas = row_quotas([len(own) for own in rows], rows_per_epoch, alpha=alpha, repeat=repeat)
        counts = interleave(quotas, batch_size)
        self._counts = counts[: len(counts) - (drop_last and counts[-1:].sum() < batch_size)]
        self.quotas = self._counts.sum(axis=0)
        self._check(rows_per_epoch, batch_size)

    def batches(self, epoch: int) -> list[MixedBatch]:
        """Return the batches of ``epoch`` in the order they are served."""
        order = np.random.default_rng([self._seed, epoch]).permutation(len(self._counts))
        counts = self._counts[order]
        ends = np.cumsum(counts, axis=0)
        drawn = [self._drawn(source, epoch) for source in range(len(self._rows))]
        return [
            tuple(
                RowBatch(source, drawn[source][end - count : end])
                for source, (count, end) in enumerate(zip(own_counts, own_ends, strict=True))
                if count
            )
            for own_counts, own_ends in zip(counts.tolist(), ends.tolist(), strict=True)
        ]

    def size(self, key: MixedBatch) -> int:
        """Return the number of rows in the batch ``key``."""
        return sum(len(part.rows) for part in key)

    def split(self, key: MixedBatch) -> tuple[MixedBatch, MixedBatch]:
        """Return two batches of as many rows, each with half of every source, or one more or less."""
        halves: tuple[list[RowBatch], list[RowBatch]] = ([], [])
        before = 0
        for source, rows in key:
            for side, half in enumerate(halves):
                if len(own := rows[(before + side) % 2 :: 2]):
                    half.append(RowBatch(source, own))
            before += len(rows)
        return tuple(halves[0]), tuple(halves[1])

    def __len__(self) -> int:
        """Return the number of batches in an epoch, over all ranks."""
        return len(self._counts)

    def _drawn(self, source: int, epoch: int) -> Int64:
        """Return the rows of a source in an epoch: a stretch of its endless series of permutations."""
        own, quota = self._rows[source], int(self.quotas[source])
        if not quota:
            return own[:0]
        first, skipped = divmod(epoch * quota, len(own))
        rounds = range(first, first + -(-(skipped + quota) // len(own)))
        rngs = [source_rng(self._seed, self._names[source], number) for number in rounds]
        return np.concatenate([rng.permutation(own) for rng in rngs])[skipped : skipped + quota]

    def _check(self, rows_per_epoch: int, batch_size: int) -> None:
        if not len(self._counts):
            raise DataError(f"an epoch of {rows_per_epoch} rows has no batch of {batch_size}: ask for more rows.")
        for name, own, quota in zip(self._names, self._rows, self.quotas.tolist(), strict=True):
            if not quota:
                raise DataError(
                    f"source '{name}' ({len(own)} rows) gets none of the {rows_per_epoch} rows of an epoch. Ask for "
                    "more rows, make sources more alike by a smaller alpha, or leave it out."
                )
            if quota > len(own):
                logger.warning(
                    "Source '%s' has %d rows and gives %d in an epoch: each is used %.3g times.",
                    *(name, len(own), quota, quota / len(own)),
                )


def interleave(quotas: Int64, batch_size: int) -> Int64:
    """Spread the rows of every source evenly over an epoch that is cut into batches.

    Parameters
    ----------
    quotas : NDArray of int64
        ``[S]`` rows of each source in the epoch.
    batch_size : int
        Rows in a batch; the last one may have fewer.

    Returns
    -------
    NDArray of int64
        ``[batches, S]`` rows of each source in each batch.
    """
    n_sources, total = len(quotas), int(quotas.sum())
    sources = np.repeat(np.arange(n_sources), quotas)
    places = np.arange(total) - np.repeat(np.cumsum(quotas) - quotas, quotas)
    order = np.argsort((places + 0.5) / quotas[sources], kind="stable")
    batch = np.arange(total) // batch_size
    counts = np.bincount(batch * n_sources + sources[order], minlength=-(-total // batch_size) * n_sources)
    return counts.reshape(-1, n_sources)
