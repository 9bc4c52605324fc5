"""The loss of both tasks against torch's own and against closed formulas."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional

from tabstar_lit.errors import ConfigError
from tabstar_lit.families.tabstar.losses import LOSSES, HuberMultiTaskLoss, MultiTaskLoss, build_loss


@pytest.mark.parametrize("n_classes", [2, 3, 10])
def test_classification_is_learned_by_cross_entropy(n_classes: int) -> None:
    torch.manual_seed(0)
    logits, targets = torch.randn(8, n_classes), torch.randint(0, n_classes, (8,))
    expected = functional.cross_entropy(logits, targets)
    torch.testing.assert_close(MultiTaskLoss()(logits, targets), expected)


def test_regression_is_learned_by_squared_error() -> None:
    torch.manual_seed(0)
    predictions, targets = torch.randn(8, 1), torch.randn(8)
    torch.testing.assert_close(MultiTaskLoss()(predictions, targets), functional.mse_loss(predictions[:, 0], targets))


def test_label_smoothing_follows_its_formula() -> None:
    logits = torch.log(torch.tensor([[0.7, 0.2, 0.1]]))
    # The true class gets 1 - 0.3 + 0.1, each other class 0.1.
    expected = -(0.8 * math.log(0.7) + 0.1 * math.log(0.2) + 0.1 * math.log(0.1))
    seen = MultiTaskLoss(label_smoothing=0.3)(logits, torch.tensor([0]))
    assert seen.item() == pytest.approx(expected, rel=1e-6)


def test_regression_weight_scales_regression_only() -> None:
    half, whole = MultiTaskLoss(regression_weight=0.5), MultiTaskLoss()
    predictions, values = torch.tensor([[1.0], [3.0]]), torch.tensor([0.0, 0.0])
    assert half(predictions, values).item() == pytest.approx(2.5)
    classes = torch.tensor([0, 1])
    logits = torch.randn(2, 2)
    assert half(logits, classes) == whole(logits, classes)


def test_huber_is_linear_beyond_delta() -> None:
    loss = HuberMultiTaskLoss(delta=1.0)
    small, large = loss(torch.tensor([[0.5]]), torch.zeros(1)), loss(torch.tensor([[3.0]]), torch.zeros(1))
    assert small.item() == pytest.approx(0.125)
    assert large.item() == pytest.approx(2.5)


def test_half_precision_is_summed_in_single() -> None:
    logits = torch.randn(4, 3).bfloat16()
    assert MultiTaskLoss()(logits, torch.tensor([0, 1, 2, 0])).dtype == torch.float32


def test_losses_are_found_by_name() -> None:
    assert type(build_loss(None)) is MultiTaskLoss
    assert build_loss("multitask_huber", {"delta": 2.0}).delta == 2.0
    assert all(loss.__doc__ for loss in LOSSES.values())


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"no loss is called 'mse'\. Allowed: multitask, multitask_huber"):
        build_loss("mse")


@pytest.mark.parametrize(
    ("name", "params", "message"),
    [
        ("multitask", {"label_smoothing": 1.0}, r"label_smoothing: 1.0 is not in \[0, 1\)"),
        ("multitask", {"regression_weight": 0}, "regression_weight: 0 is not positive"),
        ("multitask_huber", {"delta": -1}, "delta: -1 is not positive"),
    ],
)
def test_parameters_out_of_range_are_refused(name: str, params: dict[str, float], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build_loss(name, params)
