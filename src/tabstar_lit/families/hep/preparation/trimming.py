"""Batches of events of like multiplicity, padded to their own longest event: less padding, and the same results."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from tabstar_lit.arrays import Int64

SIZES = 8
"""Sizes of a batch at most, for each type of object: a compiled network shall meet few shapes."""


class Multiplicities:
    """How many objects of each type the ``N`` events of a file have.

    Known on the host, so that the length of a batch is not asked of the device that holds its events.

    Parameters
    ----------
    counts : mapping of str to ndarray of int64
        ``[N]`` by type.
    slots : mapping of str to int
        What a batch is padded to at most; an event has no more objects than that.
    """

    def __init__(self, counts: Mapping[str, Int64], slots: Mapping[str, int]) -> None:
        self._counts = {name: np.minimum(own, slots[name]) for name, own in counts.items()}
        self._slots = slots

    def slots(self, rows: Int64) -> dict[str, int]:
        """Return by type the slots that the events of these rows need."""
        return {name: _rounded(int(own[rows].max(initial=1)), self._slots[name]) for name, own in self._counts.items()}

    def grouped(self, rows: Int64, batch_size: int, batches: int, rng: np.random.Generator) -> Int64:
        """Put rows of like multiplicity into one batch, among each ``batches`` batches that follow one another.

        Parameters
        ----------
        rows : ndarray of int64
            Shuffled.
        batch_size, batches : int
            Rows in a batch, and batches within which rows change places.
        rng : Generator
            Draws the order of the batches anew, so that short events do not always come first.

        Returns
        -------
        ndarray of int64
            The same rows. Those behind the last whole batch stay there: were they the longest ones, a short batch that
            is left out would leave these out.
        """
        whole = len(rows) - len(rows) % batch_size
        totals = np.sum([own[rows[:whole]] for own in self._counts.values()], axis=0, dtype=np.int64)
        pools = np.arange(whole) // (batch_size * batches)
        groups = rows[:whole][np.lexsort((totals, pools))].reshape(-1, batch_size)
        drawn = rng.permutation(len(groups))
        order = drawn[np.argsort(drawn // batches, kind="stable")]
        return np.concatenate([groups[order].ravel(), rows[whole:]])


def _rounded(longest: int, most: int) -> int:
    step = -(-most // SIZES)
    return min(-(-longest // step) * step, most)
