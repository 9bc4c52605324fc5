"""How many rows each source gives: in proportion to its size, alike for all, or anything between."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tabstar_lit.arrays import Float64, Int64
from tabstar_lit.errors import DataError


def row_quotas(sizes: Sequence[int], total: int, *, alpha: float = 1.0, repeat: bool = False) -> Int64:
    """Return how many rows of each source an epoch, or a batch, of ``total`` rows gets.

    Source s gets a share p_s in proportion to n_s^alpha (arXiv 1911.02116 has it for languages, with alpha 0.3; the
    temperature of arXiv 1910.10683 is 1/alpha). Shares become whole rows by largest remainder, of equal ones the first.

    Parameters
    ----------
    sizes : sequence of int
        Rows n_s of each source. One without rows gets none.
    total : int
        Rows to share out.
    alpha : float, default 1.0
        1 is proportional to size, 0 uniform.
    repeat : bool, default False
        Give a source more rows than it has, so that some repeat. Otherwise what it lacks goes to the others.

    Returns
    -------
    NDArray of int64
        ``[S]``; they sum to ``total``, or without ``repeat`` to the number of rows there are if that is less.

    Raises
    ------
    DataError
        ``alpha`` is not within 0 and 1, ``total`` is negative, or no source has a row.
    """
    if not 0 <= alpha <= 1:
        raise DataError(f"alpha is {alpha}, but it lies between 0 (all sources alike) and 1 (in proportion to size).")
    rows = np.asarray(sizes, dtype=np.int64)
    if total < 0 or not rows.any():
        raise DataError(f"cannot share {total} rows among sources of {rows.tolist()} rows.")
    # Python's power, not NumPy's, whose last bit depends on the processor: quotas must be the same on every machine.
    weights = np.array([float(n) ** alpha if n else 0.0 for n in rows.tolist()])
    return apportion(total, weights, np.where(rows > 0, total, 0) if repeat else rows)


def apportion(total: int, weights: Float64, limits: Int64) -> Int64:
    """Share ``total`` in proportion to ``weights``, by largest remainder; above no limit, others take the rest.

    Parameters
    ----------
    total : int
        Whole things to share out.
    weights : NDArray of float64
        ``[S]``, not negative.
    limits : NDArray of int64
        ``[S]`` the most that each may get.

    Returns
    -------
    NDArray of int64
        ``[S]``; they sum to ``total``, or to the sum of the limits if that is less.
    """
    full = np.zeros(len(limits), dtype=np.bool_)
    while True:
        others = np.where(full, 0.0, weights)
        share = np.where(full, limits, (total - limits[full].sum()) * others / (others.sum() or 1.0))
        over = ~full & (share > limits)
        if not over.any():
            break
        full |= over
    quotas = np.floor(share).astype(np.int64)
    for source in np.argsort(quotas - share, kind="stable")[: total - quotas.sum()]:
        quotas[source] += quotas[source] < limits[source]
    return quotas
