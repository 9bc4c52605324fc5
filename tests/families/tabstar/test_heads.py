"""Heads for regression: losses and readings are those of the package ``tabstar``, of scipy and of closed formulas."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from benchmarks.golden.tabstar_inputs import REGRESSION_TARGETS, head_outputs
from benchmarks.golden.tabstar_v1 import answers
from scipy.integrate import quad
from scipy.stats import norm

from tabstar_lit.families.tabstar.config import TabstarArchitecture
from tabstar_lit.families.tabstar.heads import (
    BinnedHead,
    BothHeads,
    RegressionHead,
    ScalarHead,
    ranked_probability_score,
    regression_head,
)
from tabstar_lit.families.tabstar.losses import HuberMultiTaskLoss, MultiTaskLoss
from tabstar_lit.nn.tabstar_config import TextEncoderConfig

TARGETS = torch.tensor(REGRESSION_TARGETS)


def head(kind: str, **sizes: Any) -> RegressionHead:
    text = TextEncoderConfig(name="random")
    made = TabstarArchitecture.model_validate(
        {"text_encoder": text, "regression_head": kind, "head_hidden": 8, **sizes}
    )
    return regression_head(made, 16)


def test_both_heads_learn_and_read_as_the_package_does() -> None:
    both = head("both", regression_bins=200, regression_limit=10.0)
    assert isinstance(both, BothHeads)
    outputs, theirs = torch.from_numpy(head_outputs()), answers()
    assert MultiTaskLoss()(outputs, TARGETS, head=both).item() == pytest.approx(theirs["mixed_loss"], rel=2e-6)
    torch.testing.assert_close(both.values(outputs), torch.tensor(theirs["head_values"]))
    assert both(torch.randn(5, 1, 16)).shape == (5, 1, 201)
    assert {name for name, _ in both.named_parameters()} == {
        f"{part}.layers.{layer}.{kind}"
        for part in ("scalar_head", "dist_head") for layer in (0, 2) for kind in ("weight", "bias")
    }  # fmt: skip


def test_the_ranked_probability_score_is_its_integral() -> None:
    torch.manual_seed(1)
    centers, shares = torch.linspace(-2, 2, 9).double(), torch.rand(3, 9).double().softmax(-1)
    targets = torch.tensor([-3.1, 0.21, 2.6]).double()
    seen = ranked_probability_score(shares, centers, targets)
    for row, (own, y) in enumerate(zip(shares.numpy(), targets.tolist(), strict=True)):
        total = np.cumsum(own)

        def squared(x: float, total: np.ndarray = total, y: float = y) -> float:
            place = np.searchsorted(centers.numpy(), x, side="right")
            return float(((total[place - 1] if place else 0.0) - (x >= y)) ** 2)

        breaks = sorted([*centers.tolist(), y])
        expected = sum(quad(squared, low, high)[0] for low, high in pairwise(breaks))
        assert seen[row].item() == pytest.approx(expected, rel=1e-9)


def test_bins_are_learned_as_a_normal_distribution_and_read_by_their_mean() -> None:
    torch.manual_seed(0)
    binned = head("binned", regression_bins=12, regression_limit=3.0)
    assert isinstance(binned, BinnedHead)
    outputs = torch.randn(len(TARGETS), 12)
    shares, edges = outputs.double().softmax(-1).numpy(), np.linspace(-3, 3, 13)
    centers = (edges[:-1] + edges[1:]) / 2
    np.testing.assert_allclose(binned.values(outputs), shares @ centers, rtol=1e-5, atol=1e-6)
    wanted = np.diff(norm.cdf(edges, np.clip(TARGETS.numpy(), -3, 3)[:, None], 0.5))
    expected = -(wanted / wanted.sum(1, keepdims=True) * np.log(shares)).sum(1).mean()
    assert MultiTaskLoss()(outputs, TARGETS, head=binned).item() == pytest.approx(expected, rel=1e-5)


def test_a_number_is_learned_up_to_the_limit_by_the_error_of_the_loss() -> None:
    scalar = head("scalar", regression_limit=3.0)
    assert isinstance(scalar, ScalarHead)
    outputs = torch.zeros(len(TARGETS), 1)
    clipped = TARGETS.clamp(-3, 3)
    assert MultiTaskLoss()(outputs, TARGETS, head=scalar).item() == pytest.approx(clipped.square().mean().item())
    huber = torch.nn.functional.huber_loss(outputs[:, 0], clipped, delta=0.5)
    torch.testing.assert_close(HuberMultiTaskLoss(delta=0.5)(outputs, TARGETS, head=scalar), huber)
    weights = torch.arange(8.0)
    weighted = (weights * clipped.square()).mean()
    torch.testing.assert_close(MultiTaskLoss()(outputs, TARGETS, weights, head=scalar), weighted)


@pytest.mark.parametrize("kind", ["scalar", "binned", "both"])
def test_every_head_finds_a_number(kind: str) -> None:
    torch.manual_seed(0)
    own = head(kind, regression_bins=40, regression_limit=5.0)
    elements, loss = torch.randn(64, 1, 16), MultiTaskLoss()
    targets = elements[:, 0, 0]
    optimizer = torch.optim.Adam(own.parameters(), lr=0.02)
    for _ in range(150):
        optimizer.zero_grad()
        loss(own(elements).squeeze(1), targets, head=own).backward()
        optimizer.step()
    residual = own.values(own(elements).squeeze(1)) - targets
    assert residual.var() < 0.03 * targets.var()
