"""Predicted distances and their loss against loops over pairs, in one process and in two."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hand_made_samples import a_batch
from pairs_across_processes import linear, vectors

from tabstar_lit.families.microbes.distances import predicted_distances, unifrac_loss

SCRIPT = Path(__file__).parents[2] / "support" / "pairs_across_processes.py"


def by_loop(embeddings: torch.Tensor, distances: torch.Tensor, scale: float) -> float:
    errors = []
    for i in range(len(embeddings)):
        for j in range(i):
            if not math.isnan(distances[i, j]):
                predicted = math.tanh(math.dist(embeddings[i].tolist(), embeddings[j].tolist()) / scale)
                errors.append((predicted - float(distances[i, j])) ** 2)
    return sum(errors) / len(errors)


@pytest.mark.parametrize("n_samples", [2, 5, 8])
def test_the_loss_is_a_mean_over_all_known_pairs(n_samples: int) -> None:
    batch = a_batch(n_samples)
    embeddings = torch.randn(n_samples, 16, generator=torch.Generator().manual_seed(n_samples))
    found = unifrac_loss(embeddings, batch.distances, 10.0)
    assert float(found) == pytest.approx(by_loop(embeddings, batch.distances, 10.0), rel=1e-5)


def test_equal_samples_have_no_distance_and_a_finite_gradient() -> None:
    embeddings = torch.ones(3, 4, requires_grad=True)
    predicted = predicted_distances(embeddings, 10.0)
    assert not predicted.any()
    unifrac_loss(embeddings, torch.full((3, 3), 0.5), 10.0).backward()
    assert embeddings.grad is not None
    assert torch.isfinite(embeddings.grad).all()


def test_near_samples_keep_their_digits() -> None:
    embeddings = 1000 + torch.tensor([[0.0, 0.0], [0.0, 0.01]], dtype=torch.float64).float()
    true = float((embeddings[0].double() - embeddings[1].double()).norm())
    assert float(predicted_distances(embeddings, 1.0)[0, 1]) == pytest.approx(math.tanh(true), rel=1e-5)


def test_without_a_known_pair_the_loss_is_zero() -> None:
    embeddings = torch.randn(3, 4, requires_grad=True)
    for distances in (torch.full((3, 3), math.nan), torch.zeros(1, 1)):
        loss = unifrac_loss(embeddings[: len(distances)], distances, 10.0)
        assert float(loss.detach()) == 0
        loss.backward()
    assert embeddings.grad is not None
    assert not embeddings.grad.any()


def test_pairs_of_different_processes_count_as_in_one(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(SCRIPT), str(tmp_path)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    found = torch.load(tmp_path / "found.pt")
    layer = linear()
    loss = unifrac_loss(layer(vectors()), a_batch(7).distances, 2.0)
    loss.backward()
    torch.testing.assert_close(found["loss"], loss.detach())
    for parameter, gradient in zip(layer.parameters(), found["gradients"], strict=True):
        torch.testing.assert_close(gradient, parameter.grad)
