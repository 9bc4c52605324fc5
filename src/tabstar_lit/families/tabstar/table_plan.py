"""Which rows of which tables an epoch of multi-table training sees, and in what order."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import NamedTuple, cast

import numpy as np

from tabstar_lit.arrays import Int64
from tabstar_lit.data.plans import RowBatch, RowPlan, cut, source_rng
from tabstar_lit.data.quotas import apportion
from tabstar_lit.families.tabstar.config import TabstarDataset


class WindowRows(NamedTuple):
    """Rows of one table that form a batch, among those of the window that it is part of.

    Attributes
    ----------
    source : int
        Position of the table.
    rows : NDArray of int64
        ``[B]`` row numbers of the batch.
    window : NDArray of int64
        Row numbers of all batches of the window.
    is_first, is_last : bool
        Whether it is the first of them, and the last.
    """

    source: int
    rows: Int64
    window: Int64
    is_first: bool
    is_last: bool


def windows(keys: Sequence[RowBatch], length: int) -> list[RowBatch | WindowRows]:
    """Join neighbours of one table to windows, which lie within ``length`` batches each, from the first on.

    Parameters
    ----------
    keys : sequence of RowBatch
        In the order in which one process serves them.
    length : int
        Batches of a window at most.

    Returns
    -------
    list of RowBatch or WindowRows
        The same batches in the same order; one that has no neighbours stays as it is.
    """
    joined: list[RowBatch | WindowRows] = []
    for _, numbered in groupby(enumerate(keys), lambda item: (item[0] // length, item[1].source)):
        own = [key for _, key in numbered]
        if len(own) == 1:
            joined += own
            continue
        rows, last = np.concatenate([key.rows for key in own]), len(own) - 1
        joined += [WindowRows(*key, rows, is_first=i == 0, is_last=i == last) for i, key in enumerate(own)]
    return joined


class TablePlan(RowPlan):
    """Draw rows from every table, cut them into batches of one table each, and shuffle all batches.

    With windows, what is shuffled are blocks of as many batches: of one table, or of what is left of several. The last
    block may have fewer batches, so that windows begin where accumulated steps do.

    An epoch draws without replacement within a table, afresh each epoch. Every draw is a function of (seed,
    epoch, name of the table), so adding a table leaves the rows of the others as they were.

    Parameters
    ----------
    names : sequence of str
        Names of the tables.
    rows : sequence of NDArray of int64
        The training rows of each table.
    config : TabstarDataset
        ``rows_per_dataset``, ``batch_size``, ``window``, ``strategy`` and ``temperature``.
    seed : int
        Seed of the experiment.
    """

    def __init__(self, names: Sequence[str], rows: Sequence[Int64], config: TabstarDataset, seed: int) -> None:
        self._names = names
        self._rows = rows
        self._seed = seed
        self._batch_size, self._window = config.batch_size, config.window
        self.quotas = table_quotas([len(own) for own in rows], config)

    def batches(self, epoch: int) -> list[RowBatch]:
        """Return the batches of ``epoch`` in the order they are served."""
        blocks, left = list[list[RowBatch]](), list[list[RowBatch]]()
        for source, (name, own, quota) in enumerate(zip(self._names, self._rows, self.quotas, strict=True)):
            drawn = own[source_rng(self._seed, name, epoch).permutation(len(own))[:quota]]
            keys = [RowBatch(source, part) for part in cut(drawn, self._batch_size)]
            whole = len(keys) - len(keys) % self._window
            blocks += [keys[first : first + self._window] for first in range(0, whole, self._window)]
            left.append(keys[whole:])
        rng = np.random.default_rng([self._seed, epoch])
        mixed, last = self._mixed(left, rng)
        blocks += mixed
        return [key for i in rng.permutation(len(blocks)) for key in blocks[i]] + last

    def _mixed(
        self, left: list[list[RowBatch]], rng: np.random.Generator
    ) -> tuple[list[list[RowBatch]], list[RowBatch]]:
        """Return blocks of what is left of the tables, those of one next to one another, and what fills no block."""
        if self._window == 1:
            return [], []
        rest = [key for i in rng.permutation(len(left)) for key in left[i]]
        whole = len(rest) - len(rest) % self._window
        return [rest[first : first + self._window] for first in range(0, whole, self._window)], rest[whole:]

    def dealt(self, keys: list[RowBatch]) -> list[RowBatch]:
        """Return the keys of a rank with the window of each."""
        return keys if self._window == 1 else cast(list[RowBatch], windows(keys, self._window))

    def __len__(self) -> int:
        """Return the number of batches in an epoch, over all ranks."""
        return int(sum(-(-quota // self._batch_size) for quota in self.quotas))


def table_quotas(sizes: Sequence[int], config: TabstarDataset) -> Int64:
    """Return how many rows of each table an epoch draws.

    ``uniform``: min(n, ``rows_per_dataset``), as the official recipe has it. ``proportional`` and
    ``temperature`` share out the same total in proportion to n and to n^(1/temperature); no table gives more
    rows than it has, nor none at all.

    Parameters
    ----------
    sizes : sequence of int
        Training rows n of each table, all positive.
    config : TabstarDataset
        ``rows_per_dataset``, ``strategy`` and ``temperature``.
    """
    rows = np.asarray(sizes, dtype=np.int64)
    uniform = np.minimum(rows, config.rows_per_dataset)
    if config.strategy == "uniform":
        return uniform
    exponent = 1.0 if config.strategy == "proportional" else 1.0 / config.temperature
    quotas = apportion(int(uniform.sum()), rows.astype(np.float64) ** exponent, rows)
    return np.maximum(quotas, 1)
