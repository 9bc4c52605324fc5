"""Clusters of antigens against sets of k-mers, compared one by one."""

from __future__ import annotations

from itertools import combinations

import numpy as np

from tabstar_lit.families.antibody.conversion.clusters import cluster_antigens
from tabstar_lit.families.antibody.conversion.config import Clustering

LETTERS = list("ACDEFGHIKLMNPQRSTVWY")


def antigens(count: int) -> list[str]:
    """Return families of antigens: random ones, with mutated and shortened copies."""
    rng = np.random.default_rng(0)
    found = []
    for _ in range(count):
        parent = rng.choice(LETTERS, 60)
        copy = parent.copy()
        copy[rng.integers(0, 60, 6)] = "A"
        found += ["".join(parent), "".join(copy), "".join(parent[20:45])]
    return list(dict.fromkeys(found))


def alike(one: str, two: str, clustering: Clustering) -> bool:
    k = clustering.k
    a, b = ({text[start : start + k] for start in range(len(text) - k + 1)} for text in (one, two))
    common = len(a & b)
    return common >= clustering.jaccard * len(a | b) or common >= clustering.containment * min(len(a), len(b))


def test_clusters_are_the_components_of_what_is_alike() -> None:
    texts, clustering = antigens(12), Clustering()
    own = list(range(len(texts)))
    for one, two in combinations(range(len(texts)), 2):
        if alike(texts[one], texts[two], clustering):
            low, high = sorted((own[one], own[two]))
            own = [low if number == high else number for number in own]
    assert cluster_antigens(texts, clustering).tolist() == own
    assert len(set(own)) < len(texts)


def test_one_antibody_joins_its_antigens() -> None:
    texts = ["ACDEFGHIKL", "MNPQRSTVWY", "YWVTSRQPNM"]
    assert cluster_antigens(texts, Clustering()).tolist() == [0, 1, 2]
    assert cluster_antigens(texts, Clustering(), np.array([[0, 2]])).tolist() == [0, 1, 0]


def test_antigens_too_short_for_kmers_stand_alone() -> None:
    assert cluster_antigens(["", "AC", "CA", "ACDEFG"], Clustering()).tolist() == [0, 1, 2, 3]
