"""Permutation importance, against scikit-learn's and closed forms."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch
from sklearn.inspection import permutation_importance
from sklearn.linear_model import LinearRegression
from torch import Tensor

from tabstar_lit.metrics.importance import importances

GENERATOR = torch.Generator().manual_seed(0)
X = torch.randn(4000, 3, generator=GENERATOR, dtype=torch.float64)
Y = 2 * X[:, 0] - X[:, 1] + 0.1 * torch.randn(4000, generator=GENERATOR, dtype=torch.float64)
MODEL = LinearRegression().fit(X.numpy(), Y.numpy())

Batch = tuple[Tensor, Tensor, Tensor]


def losses(batch: Batch) -> tuple[Tensor, Tensor]:
    x, y, weights = batch
    return (torch.from_numpy(MODEL.predict(x.numpy())) - y).square(), weights


def shuffled(batch: Batch, order: Tensor, column: int) -> Batch:
    x = batch[0].clone()
    x[:, column] = x[order, column]
    return x, *batch[1:]


INPUTS = {name: partial(shuffled, column=column) for column, name in enumerate(("second", "first", "none"))}


def test_the_rise_of_a_squared_error_is_that_of_scikit_learn_and_of_the_formula() -> None:
    torch.manual_seed(0)
    found = importances(losses, [(X, Y, torch.ones(4000))], INPUTS)
    judged = permutation_importance(MODEL, X.numpy(), Y.numpy(), scoring="neg_mean_squared_error", random_state=0)
    for name, expected in zip(INPUTS, judged.importances_mean, strict=True):
        assert found[name].rise == pytest.approx(expected, abs=4 * found[name].error + 1e-3)
    assert found["second"].rise == pytest.approx(2 * 4 * float(X[:, 0].var()), rel=0.1)
    assert list(found) == ["second", "first", "none"]


def test_batches_count_by_their_rows_and_rows_by_their_weights() -> None:
    torch.manual_seed(0)
    weights = torch.zeros(4000).index_fill(0, torch.arange(1000), 1.0)
    whole = importances(losses, [(X, Y, weights)], INPUTS)
    torch.manual_seed(0)
    parts = [(X[rows], Y[rows], weights[rows]) for rows in (slice(0, 1500), slice(1500, None))]
    split = importances(losses, parts, INPUTS)
    for name, own in whole.items():
        assert split[name].rise == pytest.approx(own.rise, abs=4 * np.hypot(own.error, split[name].error) + 1e-6)
        assert own.error > 1.5 * importances(losses, [(X, Y, torch.ones(4000))], INPUTS)[name].error


@pytest.mark.parametrize("batches", [[], [(X, Y, torch.zeros(4000))]])
def test_nothing_to_judge_by_has_no_importance(batches: list[Batch]) -> None:
    assert importances(losses, batches, INPUTS) == {}
