"""Scores equal scikit-learn's, which the official package takes, too, and are NaN where they are undefined."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sklearn.metrics import r2_score, roc_auc_score

from tabstar_lit.metrics.scores import area_under_roc, r_squared, roc_auc


def official_score(targets: NDArray[np.int64], scores: NDArray[np.float64]) -> float:
    """Return the mean of scikit-learn's scores of each class that occurs against the rest; of two, the second's."""
    classes = [1] if scores.shape[1] == 2 else np.unique(targets)
    return float(np.mean([roc_auc_score(targets == own, scores[:, own]) for own in classes]))


@pytest.mark.parametrize("n_classes", [2, 3, 7])
def test_roc_auc_equals_the_official_score(n_classes: int) -> None:
    torch.manual_seed(0)
    targets = torch.arange(60) % n_classes
    scores = (torch.randn(60, n_classes) + torch.nn.functional.one_hot(targets, n_classes)).softmax(dim=-1)
    expected = official_score(targets.numpy(), scores.double().numpy())
    assert roc_auc(scores, targets) == pytest.approx(expected, abs=1e-12)


def test_absent_classes_are_left_out_as_in_the_official_score() -> None:
    torch.manual_seed(0)
    targets = torch.tensor([0, 2, 0, 2, 4, 4])
    scores = torch.randn(6, 5).softmax(dim=-1)
    expected = official_score(targets.numpy(), scores.double().numpy())
    assert roc_auc(scores, targets) == pytest.approx(expected, abs=1e-12)


def test_of_two_classes_the_second_score_counts() -> None:
    targets, second = torch.tensor([0, 1, 0, 1, 1]), torch.tensor([0.1, 0.9, 0.4, 0.3, 0.8])
    scores = torch.stack([torch.zeros(5), second], dim=1)
    assert roc_auc(scores, targets) == pytest.approx(roc_auc_score(targets, second), abs=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("steps", [3, 1000, None])
@pytest.mark.parametrize("scale", [1.0, 200.0])
def test_the_area_equals_scikit_learns_with_ties_and_scores_of_any_size(
    dtype: torch.dtype, steps: int | None, scale: float
) -> None:
    generator = torch.Generator().manual_seed(0)
    positive = torch.rand(5000, generator=generator) < 0.3
    scores = torch.randn(5000, generator=generator, dtype=dtype) + 0.8 * positive
    scores = scale * (scores if steps is None else (scores * steps).round() / steps)
    assert area_under_roc(scores, positive) == pytest.approx(roc_auc_score(positive, scores), abs=1e-12)
    assert torch.get_default_dtype() == torch.float32


def test_sure_scores_are_told_apart() -> None:
    """The sigmoid of both of them is 1, even in double precision."""
    assert area_under_roc(torch.tensor([800.0, 900.0, 800.0]), torch.tensor([False, True, True])) == 0.75


def test_r_squared_equals_scikit_learn() -> None:
    torch.manual_seed(0)
    targets = torch.randn(50, dtype=torch.float64)
    predictions = targets + 0.3 * torch.randn(50, dtype=torch.float64)
    assert r_squared(predictions, targets) == pytest.approx(r2_score(targets, predictions), abs=1e-12)
    far, near = (1000 + targets).float(), (1000 + predictions).float()
    assert r_squared(near, far) == pytest.approx(r2_score(far.double(), near.double()), abs=1e-9)


def test_undefined_scores_are_nan() -> None:
    assert math.isnan(roc_auc(torch.rand(4, 3), torch.tensor([1, 1, 1, 1])))
    assert math.isnan(r_squared(torch.rand(1), torch.rand(1)))
    assert math.isnan(r_squared(torch.rand(3), torch.ones(3)))
