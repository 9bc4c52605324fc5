"""Which rows of which tables an epoch of multi-table training sees, and in what order."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tabstar_lit.arrays import Int64
from tabstar_lit.data.plans import RowBatch, RowPlan, cut, source_rng
from tabstar_lit.data.quotas import apportion
from tabstar_lit.families.tabstar.config import TabstarDataset


class TablePlan(RowPlan):
    """Draw rows from every table, cut them into batches of one table each, and shuffle all batches.

    An epoch draws without replacement within a table, afresh each epoch. Every draw is a function of (seed,
    epoch, name of the table), so adding a table leaves the rows of the others as they were.

    Parameters
    ----------
    names : sequence of str
        Names of the tables.
    rows : sequence of NDArray of int64
        The training rows of each table.
    config : TabstarDataset
        ``rows_per_dataset``, ``batch_size``, ``strategy`` and ``temperature``.
    seed : int
        Seed of the experiment.
    """

    def __init__(self, names: Sequence[str], rows: Sequence[Int64], config: TabstarDataset, seed: int) -> None:
        self._names = names
        self._rows = rows
        self._seed = seed
        self._batch_size = config.batch_size
        self.quotas = table_quotas([len(own) for own in rows], config)

    def batches(self, epoch: int) -> list[RowBatch]:
        """Return the batches of ``epoch`` in the order they are served."""
        keys = []
        for source, (name, own, quota) in enumerate(zip(self._names, self._rows, self.quotas, strict=True)):
            drawn = own[source_rng(self._seed, name, epoch).permutation(len(own))[:quota]]
            keys += [RowBatch(source, part) for part in cut(drawn, self._batch_size)]
        order = np.random.default_rng([self._seed, epoch]).permutation(len(keys))
        return [keys[i] for i in order]

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
