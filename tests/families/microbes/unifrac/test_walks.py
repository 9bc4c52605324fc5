"""Walks through a tree against sums over all of its branches."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse

from tabstar_lit.arrays import Bool
from tabstar_lit.families.microbes.tables.tree import parse_newick
from tabstar_lit.families.microbes.unifrac.branches import Branches

TREES = (
    "(((A:1,B:2):.5,C:.25):.125,(D:3,(E:1,F:.5,G:0):.75):2):10;",
    "(A:1,(B:1,(C:1,(D:1,(E:1,(F:1,G:1):1):1):1):1):1);",
    "(A:1,B:2,C:3,D:4,E:5,F:6,G:7);",
    "((A:0,B:0):0,((C:0,D:0):0,(E:0,(F:0,G:1):0):0):0);",
)
COUNTS = np.array(
    [
        [1, 0, 0, 0, 0, 0, 0],
        [0, 3, 0, 2, 0, 0, 1],
        [1, 1, 1, 1, 1, 1, 1],
        [0, 0, 0, 0, 0, 0, 0],
        [0, 0, 2, 0, 0, 9, 0],
        [0, 3, 0, 2, 0, 0, 1],
    ]
)


@pytest.fixture(params=TREES)
def branches(request: pytest.FixtureRequest) -> Branches:
    return Branches.of(sparse.csr_matrix(COUNTS), tuple("ABCDEFG"), parse_newick(request.param))


def present(branches: Branches) -> Bool:
    """Tell which branches each sample has, ``[N, M]``."""
    tips = branches.counts.toarray() > 0
    return np.array([[row[a:b].any() for a, b in zip(branches.first, branches.end, strict=True)] for row in tips])


def test_a_sample_has_the_branches_above_its_tips(branches: Branches) -> None:
    np.testing.assert_allclose(branches.paths.lengths(), present(branches) @ branches.lengths, atol=1e-15)


def test_shared_branches_are_those_that_both_samples_have(branches: Branches) -> None:
    own = present(branches)
    expected = np.einsum("m,im,jm->ij", branches.lengths, own, own)
    for samples in (slice(0, 6), slice(2, 4), slice(5, 6)):
        found = branches.paths.shared(samples)
        np.testing.assert_allclose(found, expected[samples.start :, samples], atol=1e-14)


def test_explicit_zeros_are_no_reads(branches: Branches) -> None:
    stored = branches.counts.copy()
    stored.data[0] = 0
    with_zero = Branches(stored, branches.lengths, branches.first, branches.end)
    assert with_zero.paths.lengths()[0] == 0
    assert (with_zero.paths.shared(slice(0, 6))[:, 0] == 0).all()


def test_the_smallest_lengths_beside_the_largest_keep_their_digits() -> None:
    tree = parse_newick("((C:1e6,D:1e6):1e6,(A:1e-9,B:3e-9):1e-9);")
    branches = Branches.of(sparse.csr_matrix([[1, 0, 0, 0], [0, 1, 0, 0]]), tuple("ABCD"), tree)
    np.testing.assert_allclose(branches.paths.lengths(), [2e-9, 4e-9], rtol=1e-12)
