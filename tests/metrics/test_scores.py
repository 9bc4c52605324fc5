"""Scores equal scikit-learn's and the official package's, and are NaN where they are undefined."""

from __future__ import annotations

import math

import pytest
import torch
from sklearn.metrics import r2_score, roc_auc_score
from tabstar.training.metrics import calculate_metric

from tabstar_lit.metrics.scores import r_squared, roc_auc


@pytest.mark.parametrize("n_classes", [2, 3, 7])
def test_roc_auc_equals_the_official_score(n_classes: int) -> None:
    torch.manual_seed(0)
    targets = torch.arange(60) % n_classes
    scores = (torch.randn(60, n_classes) + torch.nn.functional.one_hot(targets, n_classes)).softmax(dim=-1)
    expected = calculate_metric(targets.numpy(), scores.double().numpy(), d_output=n_classes).score
    assert roc_auc(scores, targets) == pytest.approx(expected, abs=1e-12)


def test_absent_classes_are_left_out_as_in_the_official_score() -> None:
    torch.manual_seed(0)
    targets = torch.tensor([0, 2, 0, 2, 4, 4])
    scores = torch.randn(6, 5).softmax(dim=-1)
    expected = calculate_metric(targets.numpy(), scores.numpy(), d_output=5).score
    assert roc_auc(scores, targets) == pytest.approx(expected, abs=1e-12)


def test_weights_count_as_repeated_rows() -> None:
    torch.manual_seed(0)
    scores, targets = torch.randn(20, 3), torch.arange(20) % 3
    weights = torch.arange(20) % 4
    repeated = torch.repeat_interleave(torch.arange(20), weights)
    assert roc_auc(scores, targets, weights) == pytest.approx(roc_auc(scores[repeated], targets[repeated]))
    values = torch.randn(20)
    assert r_squared(scores[:, 0], values, weights) == pytest.approx(
        r_squared(scores[repeated, 0], values[repeated]), rel=1e-9
    )


def test_weighted_binary_roc_auc_equals_scikit_learn() -> None:
    torch.manual_seed(0)
    scores, targets, weights = torch.rand(30), torch.arange(30) % 2, torch.rand(30)
    both = torch.stack([1 - scores, scores], dim=1)
    expected = roc_auc_score(targets, scores, sample_weight=weights)
    assert roc_auc(both, targets, weights) == pytest.approx(expected, abs=1e-6)


def test_r_squared_equals_scikit_learn() -> None:
    torch.manual_seed(0)
    targets = torch.randn(50, dtype=torch.float64)
    predictions = targets + 0.3 * torch.randn(50, dtype=torch.float64)
    assert r_squared(predictions, targets) == pytest.approx(r2_score(targets, predictions), abs=1e-12)


def test_undefined_scores_are_nan() -> None:
    assert math.isnan(roc_auc(torch.rand(4, 3), torch.tensor([1, 1, 1, 1])))
    assert math.isnan(r_squared(torch.rand(1), torch.rand(1)))
    assert math.isnan(r_squared(torch.rand(3), torch.ones(3)))
