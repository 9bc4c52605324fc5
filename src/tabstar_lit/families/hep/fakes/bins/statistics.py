"""Numbers of weighted events in bins: agreement of two samples, errors of sums, and where bins begin.

Weights are physical and may be negative; every sum is signed, and every error is ``sqrt(sum w^2)``.
"""

from __future__ import annotations

import math

import numpy as np

from tabstar_lit.arrays import Bool, Float64, UInt64
from tabstar_lit.plots.histograms import binned

FEWEST = 10
"""Events of either sample that a bin of chi2 holds at least, so that its error can be taken from them."""


def chi2_per_bin(values: Float64, weights: Float64, reference: Bool, bins: int) -> float:
    """Return ``sum((a - b)^2 / (var a + var b))`` over its number of bins, for two weighted samples.

    Nothing is fitted to these events, so that each bin is a degree of freedom. Both samples enter with their
    statistical errors, ``sum w^2``, and bins are merged until both have events enough to tell these by.

    Parameters
    ----------
    values, weights : ndarray
        ``[N]`` of both samples.
    reference : ndarray of bool
        ``[N]`` whether an event is of the first sample, whose quantiles are the bins.
    bins : int
        Their number, less where a bin would hold fewer than :data:`FEWEST` events of either sample.

    Returns
    -------
    float
        About 1 if the samples agree; NaN where there is nothing to compare.
    """
    if not reference.any() or reference.all():
        return math.nan
    edges = comparable_edges(values[reference], values[~reference], bins)
    a, b = (binned(values[own], weights[own], edges) for own in (reference, ~reference))
    return chi2_of(a.heights - b.heights, a.errors**2 + b.errors**2)


def chi2_of(differences: Float64, variances: Float64) -> float:
    """Return ``sum(d^2 / v)`` over the number of bins whose variance is known; NaN without any."""
    used = np.isfinite(differences) & (variances > 0)
    return float(np.mean(differences[used] ** 2 / variances[used])) if used.any() else math.nan


def grouped_variance(weights: Float64, groups: UInt64) -> float:
    """Return the variance of a sum of weights, where events come in independent groups: the events of one vary as one.

    Parameters
    ----------
    weights : ndarray
        ``[N]``.
    groups : ndarray of uint64
        ``[N]`` group of each event. Where each has its own this is ``sum w^2``.
    """
    sums = np.bincount(np.unique(groups, return_inverse=True)[1], weights=weights)
    return float(sums @ sums)


def grouped_variances(values: Float64, weights: Float64, groups: UInt64, edges: Float64) -> Float64:
    """Return that of the sum in each bin, ``[bins]``.

    Parameters
    ----------
    values, weights, groups : ndarray
        ``[N]``; values outside ``edges`` are counted in the first and last bin.
    edges : ndarray
        ``[bins + 1]``.
    """
    bins = np.clip(np.searchsorted(edges, values, side="right") - 1, 0, len(edges) - 2)
    pairs, index = np.unique(np.stack([groups, bins.astype(np.uint64)]), axis=1, return_inverse=True)
    sums = np.bincount(index, weights=weights)
    variances = np.bincount(pairs[1].astype(np.int64), weights=sums**2, minlength=len(edges) - 1)
    return np.asarray(variances, dtype=np.float64)


def quantile_edges(values: Float64, bins: int) -> Float64:
    """Return bin edges between which equal shares of ``values [N]`` lie, at least :data:`FEWEST` in each.

    A variable of few values has fewer bins, one that is constant a single one.
    """
    bins = max(1, min(bins, len(values) // FEWEST))
    edges = np.unique(np.quantile(values, np.linspace(0, 1, bins + 1)))
    return edges if len(edges) > 1 else edges[0] + np.array([-0.5, 0.5])


def comparable_edges(reference: Float64, sample: Float64, bins: int) -> Float64:
    """Return edges of bins in which two samples can be compared: each holds :data:`FEWEST` events of either.

    Fewer events cannot tell their own error; with none it would be 0. Neighbours are merged until they hold enough,
    from below; what is left above joins the last.

    Parameters
    ----------
    reference : ndarray
        ``[N]`` values of the first sample, whose quantiles are the edges.
    sample : ndarray
        ``[M]`` values of the other one; those outside are counted in the first and last bin.
    bins : int
        Of the first sample, before any are merged.
    """
    edges = quantile_edges(reference, bins)
    seen = np.histogram(reference, edges)[0]
    other = np.histogram(np.clip(sample, edges[0], edges[-1]), edges)[0]
    kept = [0]
    for end in range(1, len(edges)):
        if min(seen[kept[-1] : end].sum(), other[kept[-1] : end].sum()) >= FEWEST:
            kept.append(end)
    return edges[[*(kept[:-1] or [0]), len(edges) - 1]]
