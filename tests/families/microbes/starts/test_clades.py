"""Clades of sequences by average linkage, and half-spaces around them."""

from __future__ import annotations

import numpy as np
import pytest

from tabstar_lit.families.microbes.starts import clades
from tabstar_lit.families.microbes.starts.clades import SURE, common, find_clades, half_spaces

# Two pairs: within one letter of four differs, between them three or all do.
FOUR = np.array([[1, 1, 1, 1], [1, 1, 1, 2], [3, 3, 3, 1], [3, 3, 3, 3]])


def test_clades_have_the_branches_of_the_tree_of_average_linkage() -> None:
    presence = np.array([[1, 1, 0, 0], [0, 0, 1, 1], [1, 0, 0, 0], [0, 0, 0, 1]], dtype=bool)
    found = find_clades(FOUR, presence, 6)
    lengths = dict(zip((tuple(np.flatnonzero(own).tolist()) for own in found.members.T), found.lengths, strict=True))
    between = np.mean([3 / 4, 4 / 4, 4 / 4, 4 / 4])
    tips = dict.fromkeys([(0,), (1,), (2,), (3,)], 1 / 8)
    assert lengths == pytest.approx(tips | {(0, 1): between / 2 - 1 / 8, (2, 3): between / 2 - 1 / 8})


def test_the_clades_that_tell_most_come_first() -> None:
    # Every sample has the first pair, so that its branch is in no distance.
    presence = np.array([[1, 1, 0, 0], [1, 0, 1, 1], [1, 1, 0, 0], [0, 1, 0, 1]], dtype=bool)
    found = find_clades(FOUR, presence, 1)
    assert found.members[:, 0].tolist() == [False, False, True, True]


def test_sequences_that_are_alike_have_no_branch_between_them() -> None:
    found = find_clades(np.array([[1, 2], [1, 2], [3, 4]]), np.eye(3, dtype=bool), 9)
    assert (found.lengths > 0).all()
    assert sorted(found.members.sum(axis=0).tolist()) == [1, 2]


def test_only_what_most_samples_have_is_in_a_large_tree(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clades, "MOST_SEQUENCES", 2)
    assert common(np.array([[1, 0, 1], [1, 0, 0], [1, 1, 1]], dtype=bool)).tolist() == [0, 2]


def test_half_spaces_hold_their_clade_and_nothing_else() -> None:
    rng = np.random.default_rng(0)
    ancestors = rng.integers(0, 4, (6, 40))
    sequences = np.where(rng.random((120, 40)) < 0.1, rng.integers(0, 4, (120, 40)), np.repeat(ancestors, 20, axis=0))
    letters = (sequences[:, :, None] == np.arange(4)).reshape(120, -1).astype(np.float32)
    members = np.repeat(np.eye(6, dtype=bool), 20, axis=0)
    points, added = half_spaces(letters, members)
    logits = letters @ points.T + added
    np.testing.assert_array_equal(logits > 0, members)
    np.testing.assert_allclose(np.where(members, logits, np.inf).min(axis=0), SURE, rtol=1e-4)
    np.testing.assert_allclose(np.where(members, -np.inf, logits).max(axis=0), -SURE, rtol=1e-4)


def test_a_clade_that_no_half_space_holds_has_its_border_between_the_means() -> None:
    letters = np.array([[0, 0], [1, 1], [0, 1], [1, 0]], dtype=np.float32)
    members = np.array([[True], [True], [False], [False]])  # as in exclusive or
    points, added = half_spaces(np.concatenate([letters, letters[:, :1] * letters[:, 1:] * 0.01], axis=1), members)
    assert np.isfinite(points).all()
    assert np.isfinite(added).all()
