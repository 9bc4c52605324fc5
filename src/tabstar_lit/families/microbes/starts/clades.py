"""Clades of the training sequences, and a half-space of letters around each: lineages before any training.

Average linkage (UPGMA; Sokal and Michener 1958) of the shares of letters in which sequences differ makes a tree of the
sequences alone. Half-spaces tell sequences that the tree does not have, so that none is needed later.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.cluster.hierarchy import average
from scipy.spatial.distance import pdist

from tabstar_lit.arrays import Bool, Float32, Float64, Int64

MOST_SEQUENCES = 5000
"""Sequences in the tree, those that most samples have: memory and time of linkage grow with their square."""
RIDGE = 1e4
"""Penalty of half-spaces, in sequences: so strong that points are nearly the difference of the shares of letters within
and without, which holds for sequences of other samples, too."""
SURE = 4.0
"""Logit of the nearest sequence on either side of a half-space's border."""


@dataclass(frozen=True, eq=False)
class Clades:
    """Clades of a tree of ``U`` sequences.

    Attributes
    ----------
    members : NDArray of bool
        ``[U, K]`` whether a sequence lies in a clade.
    lengths : NDArray of float64
        ``[K]`` of the branch above each, in shares of letters.
    """

    members: Bool
    lengths: Float64


def common(presence: Bool) -> Int64:
    """Return the columns of ``presence`` ``[N, U]`` that most samples have: MOST_SEQUENCES at most, ascending."""
    order = np.argsort(-presence.sum(axis=0), kind="stable")
    return np.sort(order[:MOST_SEQUENCES])


def find_clades(sequences: Int64, presence: Bool, most: int) -> Clades:
    """Return the clades that tell most of the distances between samples.

    A clade adds its branch to the distance of two samples where one of them has it: the longer the branch, and the
    nearer to half the share of samples that have it, the more it tells.

    Parameters
    ----------
    sequences : NDArray of int64
        ``[U, L]`` letters.
    presence : NDArray of bool
        ``[N, U]`` which sequences a sample has.
    most : int
        Number of clades; a tree of U sequences has 2 U - 2.
    """
    tips = len(sequences)
    joints = average(pdist(sequences, "hamming"))
    heights, parents = np.concatenate([np.zeros(tips), joints[:, 2]]), np.full(2 * tips - 1, 2 * tips - 2)
    # Of each clade, its sequences and after them the samples that have it.
    held = np.zeros((2 * tips - 1, tips + len(presence)), dtype=bool)
    held[:tips] = np.concatenate([np.eye(tips, dtype=bool), presence.T], axis=1)
    for joint, pair in enumerate(joints[:, :2].astype(np.int64), start=tips):
        held[joint] = held[pair[0]] | held[pair[1]]
        parents[pair] = joint
    lengths = (heights[parents] - heights) / 2
    shares = held[:, tips:].mean(axis=1)
    chosen = np.argsort(-lengths * shares * (1 - shares), kind="stable")[:most]
    chosen = chosen[lengths[chosen] > 0]
    return Clades(held[chosen, :tips].T, lengths[chosen])


def half_spaces(letters: Float32, members: Bool) -> tuple[Float64, Float64]:
    """Fit points for letters, whose sum is above 0 within a clade and below elsewhere, by ridge regression.

    Parameters
    ----------
    letters : NDArray of float32
        ``[U, F]`` 1 where a letter is at a place.
    members : NDArray of bool
        ``[U, K]``.

    Returns
    -------
    NDArray of float64
        ``[K, F]`` points.
    NDArray of float64
        ``[K]`` what is added to their sum. The border stands midway between the sequences of either side that are
        nearest to it, which are SURE, or where they overlap as a clade has no half-space, between the means.
    """
    flat = letters.astype(np.float64)
    centred = flat - flat.mean(axis=0)
    gram = centred.T @ centred + RIDGE * np.eye(flat.shape[1])
    points = np.linalg.solve(gram, centred.T @ members)
    sums = flat @ points
    lowest = np.where(members, sums, np.inf).min(axis=0)
    highest = np.where(members, -np.inf, sums).max(axis=0)
    parted = lowest > highest
    inner = np.where(parted, lowest, _mean(sums, members))
    outer = np.where(parted, highest, _mean(sums, ~members))
    slopes = 2 * SURE / np.maximum(inner - outer, np.finfo(np.float32).eps)
    return (points * slopes).T, -slopes * (inner + outer) / 2


def _mean(sums: Float64, where: Bool) -> Float64:
    return np.asarray((sums * where).sum(axis=0) / np.maximum(where.sum(axis=0), 1))
