"""Principal coordinates: samples as points whose Euclidean distances are as near as possible to given ones."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.linalg import eigh

from tabstar_lit.arrays import Float64


class Ordination(NamedTuple):
    """Coordinates ``[n, k]`` of samples, the axis of most variance first, and the share of variance ``[k]`` of each."""

    coordinates: Float64
    shares: Float64


def pcoa(distances: Float64, axes: int = 2) -> Ordination:
    """Do a principal coordinates analysis (Gower 1966), as scikit-bio does.

    Parameters
    ----------
    distances : ndarray
        ``[n, n]`` symmetric, all known.
    axes : int
        Number ``k`` of axes, less where there are fewer samples.
    """
    centred = -0.5 * distances**2
    centred -= centred.mean(axis=0)
    centred -= centred.mean(axis=1, keepdims=True)
    n = len(centred)
    total = np.trace(centred)
    values, vectors = eigh(centred, subset_by_index=[max(n - axes, 0), n - 1])
    values, vectors = values[::-1].clip(min=0), vectors[:, ::-1]
    return Ordination(vectors * np.sqrt(values), values / total if total > 0 else np.zeros_like(values))


def aligned(points: Float64, reference: Float64) -> Float64:
    """Turn and mirror ``points`` ``[n, k]`` to lie as near as possible to ``reference``: axes have no sign."""
    left, _, right = np.linalg.svd(points.T @ reference)
    return np.asarray(points @ (left @ right))
