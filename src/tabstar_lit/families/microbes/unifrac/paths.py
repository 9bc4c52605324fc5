"""Branches that samples have, and those that two of them share, from the paths of their tips to the root.

Tips stand in the tree's order, so of all tips of a sample the one before leaves a tip's path last. Going through its
tips, a sample therefore adds at each the part of the path below that fork, and all parts together are its branches. Of
such a part, another sample has what lies above the deepest point that the path has in common with any of *its* tips.
Shared branches are a sum over the tips of one sample, however large the tree is.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from scipy import sparse

from tabstar_lit.arrays import Float64, Int64


class Walk(NamedTuple):
    """The tips ``[F]`` of a sample in the tree's order, and the depth ``[F]`` at which each leaves the one before."""

    tips: Int64
    forks: Float64


class Paths:
    """Depths of a tree, and the walks of samples through it.

    Parameters
    ----------
    counts : csr_matrix
        ``[N, T]`` reads at each tip, in the tree's order.
    lengths : NDArray of float64
        ``[M]`` of the branches.
    first, end : NDArray of int64
        ``[M]`` range of tips below each branch.

    Attributes
    ----------
    depths : NDArray of float64
        ``[T]`` length of all branches above each tip.
    forks : NDArray of float64
        ``[T]`` length of all branches above both a tip and the one before it in the tree; 0 for the first.
    walks : list of Walk
        Of each sample.
    """

    def __init__(self, counts: sparse.csr_matrix, lengths: Float64, first: Int64, end: Int64) -> None:
        self.depths, self.forks = _depths(int(counts.shape[1]), lengths, first, end)
        present = sparse.csr_matrix(counts > 0)
        present.sort_indices()
        rows = np.split(present.indices.astype(np.int64), present.indptr[1:-1])
        self.walks = [Walk(tips, self._forks_between(tips)) for tips in rows]

    def lengths(self) -> Float64:
        """Return the length of all branches that each sample has, ``[N]``."""
        return np.array([(self.depths[tips] - forks).sum() for tips, forks in self.walks])

    def meeting(self, samples: slice) -> Float64:
        """Return how deep the path to each tip goes along branches that a sample has: ``[T, B]`` of some samples."""
        walks = self.walks[samples]
        depths = np.zeros((len(self.depths), len(walks)))
        for sample, (tips, _) in enumerate(walks):
            depths[tips, sample] = self.depths[tips]
        rows, forks, room = list(depths), list(self.forks[:, None]), np.empty(len(walks))
        for tip in range(1, len(rows)):  # as deep as the neighbour's, but not below the fork of both
            np.maximum(rows[tip], np.minimum(rows[tip - 1], forks[tip], out=room), out=rows[tip])
        for tip in range(len(rows) - 1, 0, -1):
            np.maximum(rows[tip - 1], np.minimum(rows[tip], forks[tip], out=room), out=rows[tip - 1])
        return depths

    def shared(self, samples: slice) -> Float64:
        """Return the length of the branches that some samples share with each that is not before them, ``[N', B]``."""
        meeting, walks = self.meeting(samples), self.walks[samples.start :]
        out = np.zeros((len(walks), meeting.shape[1]))
        room = np.empty((max(len(tips) for tips, _ in walks), meeting.shape[1]))
        for row, (tips, forks) in zip(out, walks, strict=True):
            depths = np.take(meeting, tips, axis=0, out=room[: len(tips)], mode="clip")
            np.maximum(depths, forks[:, None], out=depths)
            depths.sum(axis=0, out=row)
            row -= forks.sum()
        return out

    def _forks_between(self, tips: Int64) -> Float64:
        """Return where each of some tips leaves the one before: the highest fork between them."""
        forks = np.zeros(len(tips))
        if len(tips) > 1:
            forks[1:] = np.minimum.reduceat(self.forks[1 : tips[-1] + 1], tips[:-1])
        return forks


def _depths(n_tips: int, lengths: Float64, first: Int64, end: Int64) -> tuple[Float64, Float64]:
    """Return how deep each tip lies, and how deep its fork with the tip before it, ``[T]`` each."""
    depths, forks = np.zeros(n_tips), np.full(n_tips, np.nan)
    above: list[tuple[int, float]] = []  # where the branches above end, and how deep
    order = np.lexsort((-end, first))  # from the root on
    for tip, stop, length in zip(first[order].tolist(), end[order].tolist(), lengths[order].tolist(), strict=True):
        while above and above[-1][0] <= tip:
            above.pop()
        depth = above[-1][1] if above else 0.0
        if math.isnan(forks[tip]):
            forks[tip] = depth
        depths[tip] = depth + length
        above.append((stop, depth + length))
    return depths, forks
