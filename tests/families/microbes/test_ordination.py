"""Principal coordinates against scikit-bio's, and their alignment."""

from __future__ import annotations

import numpy as np
import pytest

from tabstar_lit.families.microbes.ordination import aligned, pcoa

RNG = np.random.default_rng(4)


def some_distances(n: int = 9) -> np.ndarray:
    own = RNG.uniform(0.1, 0.9, (n, n))
    return np.triu(own, 1) + np.triu(own, 1).T


def test_coordinates_are_scikit_bios_up_to_their_signs() -> None:
    skbio = pytest.importorskip("skbio")
    distances = some_distances()
    expected = skbio.stats.ordination.pcoa(skbio.DistanceMatrix(distances))
    ours = pcoa(distances, axes=3)
    np.testing.assert_allclose(np.abs(ours.coordinates), np.abs(expected.samples.to_numpy()[:, :3]), atol=1e-10)


def test_distances_of_points_give_back_the_points() -> None:
    points = RNG.normal(size=(12, 2))
    found = pcoa(np.linalg.norm(points[:, None] - points, axis=-1))
    np.testing.assert_allclose(aligned(found.coordinates, points - points.mean(0)), points - points.mean(0), atol=1e-9)
    assert found.shares.sum() == pytest.approx(1)


def test_alignment_turns_and_mirrors_only() -> None:
    points = RNG.normal(size=(6, 2))
    turn = np.array([[0.0, -1.0], [-1.0, 0.0]])
    np.testing.assert_allclose(aligned(points @ turn, points), points, atol=1e-12)
