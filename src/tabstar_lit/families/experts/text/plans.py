"""Where the rows of an endless text begin: elsewhere in each epoch."""

from __future__ import annotations

import numpy as np

from tabstar_lit.data.mixing import MixedBatch
from tabstar_lit.data.plans import BatchPlan, RowBatch

_SHIFT = 7
"""Third number of the generator of shifts, which keeps it apart from the one that shuffles."""


class ShiftedPlan(BatchPlan[MixedBatch]):
    """Move all rows of an epoch by the same number of tokens, drawn anew for each epoch.

    So a text is not always cut at the same places, and every token is still seen once an epoch, but for some at its
    ends.

    Parameters
    ----------
    plan : BatchPlan
        Its rows are places in a text.
    width : int
        Tokens in a row; the text goes on for as many after the last place.
    seed : int
        Seed of the experiment.
    """

    def __init__(self, plan: BatchPlan[MixedBatch], width: int, seed: int) -> None:
        self._plan, self._width, self._seed = plan, width, seed

    def batches(self, epoch: int) -> list[MixedBatch]:
        """Return the batches of ``epoch`` in the order they are served."""
        shift = int(np.random.default_rng([self._seed, epoch, _SHIFT]).integers(self._width))
        return [tuple(RowBatch(part.source, part.rows + shift) for part in key) for key in self._plan.batches(epoch)]

    def size(self, key: MixedBatch) -> int:
        """Return the number of rows in the batch ``key``."""
        return self._plan.size(key)

    def split(self, key: MixedBatch) -> tuple[MixedBatch, MixedBatch]:
        """Return two batches that together hold the rows of ``key``."""
        return self._plan.split(key)

    def __len__(self) -> int:
        """Return the number of batches in an epoch, over all ranks."""
        return len(self._plan)
