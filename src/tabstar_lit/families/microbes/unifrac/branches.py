"""What lies below each branch of a tree in each sample, in blocks of samples.

Tips stand in the tree's order, so the reads below a branch are the difference of two cumulative sums over tips: exact,
because they are sums of whole numbers, and as fast for a comb as for a balanced tree.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import sparse

from tabstar_lit.arrays import Float64, Int64
from tabstar_lit.errors import DataError
from tabstar_lit.families.microbes.tables.tree import Tree
from tabstar_lit.families.microbes.unifrac.paths import Paths

BLOCK_BYTES = 1 << 26
"""A block of samples takes at most about this much: 64 MiB."""
BLOCK_SAMPLES = 256
"""More samples in a block do not make the sums over pairs any faster."""


@dataclass(frozen=True, eq=False)
class Branches:
    """Samples of ``N`` over the ``M`` branches of a tree.

    Attributes
    ----------
    counts : csr_matrix
        ``[N, T]`` reads at each tip, in the tree's order.
    lengths : NDArray of float64
        ``[M]``.
    first, end : NDArray of int64
        ``[M]`` range of tips below each branch.
    """

    counts: sparse.csr_matrix
    lengths: Float64
    first: Int64
    end: Int64

    @classmethod
    def of(cls, counts: sparse.csr_matrix, ids: tuple[str, ...], tree: Tree) -> Branches:
        """Put the reads of a table onto a tree, without the branches that none of its features is below.

        Parameters
        ----------
        counts : csr_matrix
            ``[N, F]`` whole numbers.
        ids : tuple of str
            ``[F]`` names of the features, all of which are tips.
        tree : Tree
            With lengths; it may have further tips.

        Raises
        ------
        DataError
            A feature is no tip of the tree, or a branch has no length.
        """
        sheared = tree.require_lengths().sheared(ids)
        place = {name: tip for tip, name in enumerate(sheared.tips)}
        if absent := [name for name in ids if name not in place]:
            raise DataError(
                f"{tree.source}: {len(absent)} of {len(ids)} features of the table have no tip, such as "
                f"{absent[0]!r}. Leave them out of the table, or insert them into the tree."
            )
        columns = np.empty(len(ids), dtype=np.int64)
        columns[[place[name] for name in ids]] = np.arange(len(ids))
        return cls(sparse.csr_matrix(counts)[:, columns], sheared.lengths, sheared.first, sheared.end)

    @property
    def n_samples(self) -> int:
        """Number of samples ``N``."""
        return int(self.counts.shape[0])

    @cached_property
    def paths(self) -> Paths:
        """Walks of the samples through the tree."""
        return Paths(self.counts, self.lengths, self.first, self.end)

    def blocks(self) -> list[slice]:
        """Return consecutive samples in blocks."""
        size = int(np.clip(BLOCK_BYTES // (8 * max(1, len(self.lengths))), 16, BLOCK_SAMPLES))
        return [slice(start, min(start + size, self.n_samples)) for start in range(0, self.n_samples, size)]

    def reads(self, samples: slice) -> Float64:
        """Return the reads below each branch, ``[M, B]``, of some samples."""
        own, sums = self.counts[samples], np.zeros((self.counts.shape[1] + 1, samples.stop - samples.start))
        sums[own.indices + 1, np.repeat(np.arange(own.shape[0]), np.diff(own.indptr))] = own.data
        np.cumsum(sums, axis=0, out=sums)
        below = sums[self.end]
        below -= sums[self.first]
        return np.asarray(below)

    def shares(self, samples: slice) -> Float64:
        """Return the share of each sample's reads below each branch, ``[M, B]``; 0 in samples without reads."""
        reads = self.reads(samples)
        totals = np.asarray(self.counts[samples].sum(axis=1), dtype=np.float64).ravel()
        return np.divide(reads, totals, out=reads, where=totals > 0)

    def faith_pd(self) -> Float64:
        """Return Faith's phylogenetic diversity of each sample, ``[N]``: the length of all branches it has reads below.

        D. P. Faith, Biological Conservation 61 (1992) 1; the branches up to the root count.
        """
        return self.paths.lengths()
