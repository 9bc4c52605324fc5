"""Clusters of antigens that resemble each other, by the k-mers they share."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import sparse
from scipy.sparse.csgraph import connected_components

from tabstar_lit.arrays import Array, Int64
from tabstar_lit.families.antibody.conversion.config import Clustering


def cluster_antigens(antigens: Sequence[str], clustering: Clustering, shared: Int64 | None = None) -> Int64:
    """Return the cluster of each antigen: the number of the first antigen in it.

    Two antigens are joined if the Jaccard index of their k-mers, or the share of common ones among those of the one
    that has fewer, reaches the threshold; and so are those that are joined to the same one.

    Parameters
    ----------
    antigens : sequence of str
        M different antigens; one without k-mers is a cluster of its own.
    clustering : Clustering
        Length of k-mers, and thresholds.
    shared : NDArray of int64, optional
        ``[E, 2]`` antigens that are joined whatever their letters, since one antibody binds both.
    """
    count = len(antigens)
    one, two = _alike(antigens, clustering)
    if shared is not None and len(shared):
        one, two = np.concatenate([one, shared[:, 0]]), np.concatenate([two, shared[:, 1]])
    graph = sparse.coo_array((np.ones(len(one)), (one, two)), shape=(count, count))
    _, labels = connected_components(graph, directed=False)
    _, first = np.unique(labels, return_index=True)
    return np.asarray(first[labels], dtype=np.int64)


def _alike(antigens: Sequence[str], clustering: Clustering) -> tuple[Array, Array]:
    """Return the pairs of antigens that are joined for their k-mers."""
    kmers = [_kmers(text, clustering.k) for text in antigens]
    numbers = {own: number for number, own in enumerate(sorted(set().union(*kmers)))}
    sizes = np.array([len(own) for own in kmers], dtype=np.float64)
    columns = np.array([numbers[kmer] for own in kmers for kmer in own], dtype=np.int64)
    rows = np.repeat(np.arange(len(kmers)), sizes.astype(int))
    table = sparse.csr_array(
        (np.ones(len(rows), np.float32), (rows, columns)), shape=(len(kmers), max(1, len(numbers)))
    )
    common = sparse.coo_array(table @ table.T)
    one, two = common.coords
    jaccard = common.data / (sizes[one] + sizes[two] - common.data)
    contained = common.data / np.minimum(sizes[one], sizes[two])
    near = (jaccard >= clustering.jaccard) | (contained >= clustering.containment)
    return one[near], two[near]


def _kmers(text: str, k: int) -> set[str]:
    return {text[start : start + k] for start in range(len(text) - k + 1)}
