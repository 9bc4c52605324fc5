"""UniFrac without a given tree and without a network: on a tree that average linkage makes of the sequences."""

from __future__ import annotations

import numpy as np
from scipy import sparse
from scipy.cluster.hierarchy import average, to_tree
from scipy.spatial.distance import pdist

from tabstar_lit.arrays import Float64, Int64
from tabstar_lit.families.microbes.study.study import Study
from tabstar_lit.families.microbes.tables.tree import parse_newick
from tabstar_lit.families.microbes.unifrac.branches import Branches
from tabstar_lit.families.microbes.unifrac.distances import unifrac


def linkage_distances(study: Study) -> Float64:
    """Return unweighted UniFrac ``[N, N]`` on a tree of the shares of letters in which sequences differ."""
    longest = max(map(len, study.sequences))
    letters = np.array([list(text.ljust(longest).encode()) for text in study.sequences], dtype=np.uint8)
    root, nodes = to_tree(average(pdist(letters, "hamming")), rd=True)
    texts: dict[int, str] = {}
    for node in nodes:  # leaves first, every joint after what it joins
        if node.is_leaf():
            texts[node.id] = f"t{node.id}"
        else:
            texts[node.id] = "({},{})".format(
                *(f"{texts.pop(own.id)}:{(node.dist - own.dist) / 2:.9f}" for own in (node.left, node.right))
            )
    ids = tuple(f"t{number}" for number in range(len(letters)))
    counts = sparse.csr_matrix(
        (study.counts, study.members.flat, study.members.offsets), shape=(len(study), len(letters))
    )
    return unifrac(Branches.of(counts, ids, parse_newick(f"{texts[root.id]};")))


def fitted_errors(distances: Float64, true: Float64, training: Int64, held_out: Int64) -> Float64:
    """Return squared errors ``[P]`` on pairs of held-out samples, of a parabola fitted to pairs of training samples."""
    parabola = np.polyfit(*(own[_pairs(training)] for own in (distances, true)), 2)
    pairs = _pairs(held_out)
    return np.asarray(np.polyval(parabola, distances[pairs]) - true[pairs]) ** 2


def _pairs(rows: Int64) -> tuple[Int64, Int64]:
    first, second = np.triu_indices(len(rows), 1)
    return rows[first], rows[second]
