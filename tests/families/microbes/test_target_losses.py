"""Losses of targets against torch's and scikit-learn's; missing targets leave no trace."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import mean_pinball_loss
from sklearn.utils.class_weight import compute_class_weight
from torch.nn import functional

from tabstar_lit.errors import ConfigError
from tabstar_lit.families.microbes.target_losses import TargetLoss, class_weights, loss_problems
from tabstar_lit.families.microbes.training_config import MicrobesTraining

PREDICTED, TRUE = torch.randn(6, 2, generator=torch.Generator().manual_seed(0)), torch.arange(12.0).view(6, 2) / 6


def training(loss: Any = None, **changes: Any) -> MicrobesTraining:
    return MicrobesTraining.model_validate({"loss": loss, **changes})


@pytest.mark.parametrize(
    ("loss", "expected"),
    [
        (None, functional.smooth_l1_loss(PREDICTED, TRUE)),
        (
            {"loss_name": "smooth_l1", "loss_params": {"beta": 0.5}},
            functional.smooth_l1_loss(PREDICTED, TRUE, beta=0.5),
        ),
        ("mse", functional.mse_loss(PREDICTED, TRUE)),
        ("mae", functional.l1_loss(PREDICTED, TRUE)),
        ({"loss_name": "asymmetric", "loss_params": {"low": 1.0, "high": 1.0}}, functional.l1_loss(PREDICTED, TRUE)),
    ],
)
def test_losses_of_numbers_are_torchs(loss: Any, expected: torch.Tensor) -> None:
    torch.testing.assert_close(TargetLoss(training(loss), "regression")(PREDICTED, TRUE), expected)


def test_pinball_is_scikit_learns() -> None:
    levels = (0.1, 0.5, 0.9)
    predicted = torch.randn(6, 2, 3)
    expected = np.mean(
        [mean_pinball_loss(TRUE, predicted[..., place], alpha=level) for place, level in enumerate(levels)]
    )
    assert float(TargetLoss(training(), "regression", levels)(predicted, TRUE)) == pytest.approx(expected, rel=1e-6)


def test_too_low_and_too_high_have_factors_of_their_own() -> None:
    loss = TargetLoss(training({"loss_name": "asymmetric", "loss_params": {"low": 3.0, "high": 1.0}}), "regression")
    true, predicted = torch.tensor([[2.0], [2.0]]), torch.tensor([[1.0], [4.0]])
    assert float(loss(predicted, true)) == (3 * 1 + 1 * 2) / 2


@pytest.mark.parametrize("kind", ["regression", "classification"])
def test_missing_targets_leave_no_trace(kind: str) -> None:
    predicted = torch.randn(6, 2, requires_grad=True)
    loss = TargetLoss(training(), kind)
    if kind == "regression":
        true = TRUE.clone()
        true[:3] = math.nan
        rest = loss(predicted[3:], TRUE[3:])
    else:
        true = torch.tensor([-1, -1, -1, 0, 1, 1])
        rest = loss(predicted[3:], true[3:])
    found = loss(predicted, true)
    torch.testing.assert_close(found, rest)
    found.backward()
    assert predicted.grad is not None
    assert not predicted.grad[:3].any()
    assert torch.isfinite(predicted.grad).all()


def test_nothing_known_is_a_loss_of_zero() -> None:
    predicted = torch.randn(3, 2, requires_grad=True)
    for kind, true in (("regression", torch.full((3, 2), math.nan)), ("classification", torch.full((3,), -1))):
        loss = TargetLoss(training(), kind)(predicted, true)
        loss.backward()
        assert float(loss) == 0
    assert predicted.grad is not None
    assert not predicted.grad.any()


def test_class_weights_are_scikit_learns() -> None:
    classes = torch.tensor([0, 0, 0, 1, 2, 2, -1])
    expected = compute_class_weight("balanced", classes=np.arange(3), y=classes[:-1].numpy())
    found = class_weights(classes, 3)
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    logits = torch.randn(7, 3)
    loss = TargetLoss(training(), "classification", class_weights=found)(logits, classes)
    torch.testing.assert_close(loss, functional.cross_entropy(logits[:-1], classes[:-1], weight=found))
    assert float(class_weights(classes, 4)[3]) == 0


@pytest.mark.parametrize(
    ("loss", "kind", "quantiles", "message"),
    [
        ("mse", "classification", (), "mse is no loss for classification"),
        ("focal", "regression", (), "focal is no loss for regression"),
        ("pinball", "regression", (), "pinball goes with"),
        ("mse", "regression", (0.5,), "pinball goes with"),
        ({"loss_name": "smooth_l1", "loss_params": {"beta": 0.0}}, "regression", (), "beta"),
    ],
)
def test_losses_that_do_not_fit_are_refused(loss: Any, kind: str, quantiles: tuple[float, ...], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        TargetLoss(training(loss), kind, quantiles)


def test_unknown_losses_and_parameters_are_found_before_data_is_read() -> None:
    (unknown,) = loss_problems(training("smoth_l1"))
    assert "smooth_l1" in unknown.allowed
    (parameter,) = loss_problems(training({"loss_name": "smooth_l1", "loss_params": {"gamma": 1}}))
    assert "gamma" in parameter.message
    assert not loss_problems(training())
