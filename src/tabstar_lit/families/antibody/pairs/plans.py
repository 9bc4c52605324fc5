"""Batches of pairs of similar length, in an order that is a pure function of (seed, epoch)."""

from __future__ import annotations

import numpy as np

from tabstar_lit.arrays import Int64
from tabstar_lit.data.plans import RowBatch, RowPlan, cut

_ORDER = 1
"""Third number of the generator of the order."""


class BucketPlan(RowPlan):
    """Every training pair once an epoch, beside others of about its length.

    The pairs are shuffled and cut into pools of ``pool`` batches. Within a pool they are sorted by length and cut into
    batches, so that little of a batch is padding; the batches of the epoch are then shuffled.

    Parameters
    ----------
    rows : NDArray of int64
        ``[n]`` the training pairs.
    lengths : NDArray of int64
        ``[n]`` how long each is.
    batch_size : int
        Pairs in a batch; the last one of the last pool may have fewer.
    pool : int
        Batches that are sorted together.
    seed : int
        Of the experiment.
    """

    def __init__(self, rows: Int64, lengths: Int64, batch_size: int, *, pool: int, seed: int) -> None:
        self._rows, self._lengths = rows, lengths
        self._batch_size, self._pool, self._seed = batch_size, pool, seed

    def batches(self, epoch: int) -> list[RowBatch]:
        """Return the batches of ``epoch``."""
        rng = np.random.default_rng([self._seed, epoch, _ORDER])
        pools = cut(rng.permutation(len(self._rows)), self._batch_size * self._pool)
        parts = [part for own in pools for part in cut(self._sorted(own), self._batch_size)]
        return [RowBatch(0, self._rows[parts[number]]) for number in rng.permutation(len(parts))]

    def __len__(self) -> int:
        """Return the number of batches in an epoch, over all ranks."""
        return -(-len(self._rows) // self._batch_size)

    def _sorted(self, places: Int64) -> Int64:
        return places[np.argsort(self._lengths[places], kind="stable")]
