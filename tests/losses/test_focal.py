"""Focal losses against their formulas in NumPy, one event at a time."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from tabstar_lit.losses.classification import BCEWithLogitsLoss, CrossEntropyLoss
from tabstar_lit.losses.focal import MulticlassFocalLoss, SigmoidFocalLoss


def sigmoid_focal(z: float, t: float, gamma: float, alpha: float | None) -> float:
    """The published formula of one event with probability p of the target's side."""
    p = 1 / (1 + math.exp(-z))
    entropy = -(t * math.log(p) + (1 - t) * math.log(1 - p))
    focus = (1 - (p * t + (1 - p) * (1 - t))) ** gamma
    return focus * entropy * (1.0 if alpha is None else alpha * t + (1 - alpha) * (1 - t))


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
@pytest.mark.parametrize("alpha", [None, 0.25])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_sigmoid_focal_loss(gamma: float, alpha: float | None, smoothing: float) -> None:
    logits = torch.linspace(-4, 4, 9, dtype=torch.float64)
    targets = torch.tensor([0, 1] * 4 + [1]).double()
    loss = SigmoidFocalLoss(gamma=gamma, alpha=alpha, label_smoothing=smoothing)
    seen = loss.per_event(logits[:, None], targets)
    pairs = zip(logits.tolist(), targets.tolist(), strict=True)
    expected = [sigmoid_focal(z, t * (1 - smoothing) + smoothing / 2, gamma, alpha) for z, t in pairs]
    np.testing.assert_allclose(seen, expected, rtol=1e-12)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
@pytest.mark.parametrize("smoothing", [0.0, 0.3])
def test_multiclass_focal_loss(gamma: float, smoothing: float) -> None:
    rng = np.random.default_rng(0)
    logits, targets = rng.normal(size=(6, 3)), np.array([0, 1, 2, 2, 1, 0])
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    q = (1 - smoothing) * np.eye(3)[targets] + smoothing / 3
    expected = -(q * (1 - p) ** gamma * np.log(p)).sum(1)
    loss = MulticlassFocalLoss(gamma=gamma, label_smoothing=smoothing)
    np.testing.assert_allclose(
        loss.per_event(torch.from_numpy(logits), torch.from_numpy(targets)), expected, rtol=1e-12
    )


def test_focus_zero_is_cross_entropy() -> None:
    logits, targets = torch.randn(5, 1).double(), torch.tensor([0.0, 1, 1, 0, 1]).double()
    torch.testing.assert_close(SigmoidFocalLoss(gamma=0)(logits, targets), BCEWithLogitsLoss()(logits, targets))
    logits, classes = torch.randn(5, 3), torch.tensor([0, 1, 2, 0, 1])
    torch.testing.assert_close(MulticlassFocalLoss(gamma=0)(logits, classes), CrossEntropyLoss()(logits, classes))


def test_events_do_not_change_each_other() -> None:
    loss, logits = MulticlassFocalLoss(), torch.randn(4, 3, dtype=torch.float64, requires_grad=True)
    targets = torch.tensor([0, 1, 2, 0])
    (alone,) = torch.autograd.grad(loss.per_event(logits, targets)[0], logits)
    assert alone[1:].abs().max() == 0.0
    torch.testing.assert_close(loss.per_event(logits[:1], targets[:1]), loss.per_event(logits, targets)[:1])
