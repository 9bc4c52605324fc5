"""UniFrac distances between all samples of a table, block by block, in double precision.

- ``unweighted``: share of the branch length below which only one of two samples has reads, of that below which any has
  (Lozupone and Knight, Appl. Environ. Microbiol. 71 (2005) 8228).
- ``weighted``: branch lengths weighted by the difference of shares of reads (Lozupone et al., AEM 73 (2007) 1576);
  ``weighted_normalized``: divided by its largest possible value, which makes it lie between 0 and 1.
- ``generalized``: between the two by an exponent ``alpha`` (Chen et al., Bioinformatics 28 (2012) 2106); alpha 1 is
  ``weighted_normalized``.

Two samples without reads have the distance 0.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache, partial
from itertools import combinations_with_replacement
from typing import Literal, NamedTuple, get_args

import numpy as np
from threadpoolctl import threadpool_limits

from tabstar_lit.arrays import Float64
from tabstar_lit.data.progress import Progress, no_progress
from tabstar_lit.errors import DataError
from tabstar_lit.families.microbes.unifrac.branches import Branches

Metric = Literal["unweighted", "weighted", "weighted_normalized", "generalized"]
METRICS: tuple[Metric, ...] = get_args(Metric)

KEPT_BYTES = 1 << 30
"""Blocks of samples are computed once, rather than once for each block they meet, up to this much memory."""


class _Block(NamedTuple):
    """Some samples: a value at each branch ``[M, B]``, and a sum over branches ``[B]``.

    Values are shares of reads; sums are those of lengths times shares, to the power ``alpha`` where that is asked for.
    """

    values: Float64
    sums: Float64


def unifrac(
    branches: Branches,
    metric: Metric = "unweighted",
    *,
    alpha: float = 0.5,
    threads: int | None = None,
    progress: Progress = no_progress,
) -> Float64:
    """Return the distances between all samples.

    Parameters
    ----------
    branches : Branches
        The samples on their tree.
    metric : str
        One of :data:`METRICS`.
    alpha : float
        Of ``generalized``: 0 weighs rare and abundant lineages alike, 1 by their shares.
    threads : int, optional
        Blocks computed at a time; None: as many as this process may use processors.
    progress : callable
        For a bar over pairs.

    Returns
    -------
    NDArray of float64
        ``[N, N]``, symmetric, with zeros on the diagonal.

    Raises
    ------
    DataError
        There is no such metric, or ``alpha`` is not between 0 and 1.
    """
    if metric not in METRICS:
        raise DataError(f"there is no UniFrac metric {metric!r}; there are {', '.join(METRICS)}.")
    if not 0 <= alpha <= 1:
        raise DataError(f"alpha is {alpha:g}; generalized UniFrac has an alpha between 0 and 1.")
    out = np.zeros((branches.n_samples, branches.n_samples))
    threads = threads or len(os.sched_getaffinity(0))
    tasks: list[Callable[[], int]]
    if metric == "unweighted":
        lengths = branches.paths.lengths()
        tasks = [partial(_fill_unweighted, out, branches, lengths, block) for block in branches.blocks()]
    else:
        get, compute = _getter(branches, metric, alpha, threads), partial(_PAIRS[metric], alpha=alpha)
        fill = partial(_fill, out, get, partial(compute, lengths=branches.lengths))
        tasks = [partial(fill, pair) for pair in combinations_with_replacement(branches.blocks(), 2)]
    with threadpool_limits(1), ThreadPoolExecutor(threads) as pool, progress(out.size) as advance:
        for n_cells in pool.map(lambda task: task(), tasks):
            advance(n_cells)
    return out


def _fill_unweighted(out: Float64, branches: Branches, lengths: Float64, samples: slice) -> int:
    """Put the distances of some samples, to each other and to all after them, at both of their places."""
    shared = branches.paths.shared(samples)
    either = lengths[samples.start :, None] + lengths[samples]
    distances = _ratio(np.maximum(either - 2 * shared, 0.0), either - shared)
    n_own = distances.shape[1]
    distances[:n_own] = _mirrored(distances[:n_own])
    out[samples.start :, samples] = distances
    out[samples, samples.start :] = distances.T
    return int(n_own * (2 * len(distances) - n_own))


def _fill(
    out: Float64, get: Callable[[slice], _Block], compute: Callable[..., Float64], pair: tuple[slice, slice]
) -> int:
    """Put the distances of two blocks at both of their places, and return how many cells that are."""
    rows, columns = pair
    distances = compute(get(rows), get(columns))
    if rows == columns:
        distances = _mirrored(distances)
    out[rows, columns] = distances
    out[columns, rows] = distances.T
    return distances.size * (1 if rows == columns else 2)


def _mirrored(distances: Float64) -> Float64:
    """Take the upper triangle for the lower one: sums of a pair and its mirror image may differ in their last digit."""
    upper = np.triu(distances, 1)
    return upper + upper.T


def _getter(branches: Branches, metric: Metric, alpha: float, threads: int) -> Callable[[slice], _Block]:
    """Return what computes the values of some samples, or looks them up where all fit into memory."""

    def computed(start: int, stop: int) -> _Block:
        shares = branches.shares(slice(start, stop))
        return _Block(shares, branches.lengths @ (_power(shares, alpha) if metric == "generalized" else shares))

    all_fit = 8 * branches.n_samples * len(branches.lengths) <= KEPT_BYTES
    cached = lru_cache(None if all_fit else 2 * threads)(computed)
    return lambda samples: cached(samples.start, samples.stop)


def _weighted(left: _Block, right: _Block, *, lengths: Float64, alpha: float) -> Float64:
    # |p - q| is p + q - 2 min(p, q), and the minimum is 0 but where both samples have reads.
    shared = np.empty((left.values.shape[1], right.values.shape[1]))
    room = np.empty_like(right.values)
    for sample, own in enumerate(np.ascontiguousarray(left.values.T)):
        where = np.flatnonzero(own)
        smaller = np.take(right.values, where, axis=0, out=room[: len(where)], mode="clip")
        np.minimum(own[where, None], smaller, out=smaller)
        np.matmul(lengths[where], smaller, out=shared[sample])
    return np.maximum(left.sums[:, None] + right.sums - 2 * shared, 0.0)


def _weighted_normalized(left: _Block, right: _Block, *, lengths: Float64, alpha: float) -> Float64:
    unlike = _weighted(left, right, lengths=lengths, alpha=alpha)
    return _ratio(unlike, left.sums[:, None] + right.sums)


def _generalized(left: _Block, right: _Block, *, lengths: Float64, alpha: float) -> Float64:
    unlike, total = np.empty((2, left.values.shape[1], right.values.shape[1]))
    for sample, own in enumerate(left.values.T):
        where = np.flatnonzero(own)
        mine, other, length = own[where, None], right.values[where], lengths[where]
        elsewhere = right.sums - length @ _power(other, alpha)  # branches that only the others have reads below
        both = mine + other
        total[sample] = length @ both**alpha + elsewhere
        unlike[sample] = length @ (both ** (alpha - 1) * np.abs(mine - other)) + elsewhere
    return _ratio(unlike, total)


def _power(shares: Float64, alpha: float) -> Float64:
    """Return shares to a power, and 0 where there is no share, for an ``alpha`` of 0 too."""
    return np.power(shares, alpha, out=np.zeros_like(shares), where=shares > 0)


def _ratio(part: Float64, whole: Float64) -> Float64:
    return np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)


_PAIRS: dict[str, Callable[..., Float64]] = {
    "weighted": _weighted,
    "weighted_normalized": _weighted_normalized,
    "generalized": _generalized,
}
