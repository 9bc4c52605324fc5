"""Classification losses against torch, and what weights do to their mean."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from tabstar_lit.errors import ConfigError
from tabstar_lit.losses.classification import (
    BCEWithLogitsLoss,
    CrossEntropyLoss,
    EventLoss,
    MSELoss,
    weighted_mean,
)
from tabstar_lit.losses.focal import MulticlassFocalLoss, SigmoidFocalLoss

ALL: list[tuple[type[EventLoss], int]] = [
    (BCEWithLogitsLoss, 1),
    (CrossEntropyLoss, 1),
    (CrossEntropyLoss, 4),
    (MSELoss, 1),
    (MSELoss, 4),
    (SigmoidFocalLoss, 1),
    (MulticlassFocalLoss, 1),
    (MulticlassFocalLoss, 4),
]


def batch(outputs: int, size: int = 9) -> tuple[Tensor, Tensor]:
    torch.manual_seed(0)
    logits = torch.randn(size, outputs, dtype=torch.float64, requires_grad=True)
    targets = torch.randint(0, max(2, outputs), (size,))
    return logits, targets.double() if outputs == 1 else targets


def test_binary_cross_entropy_equals_torch() -> None:
    logits, targets = batch(1)
    expected = F.binary_cross_entropy_with_logits(logits[:, 0], targets)
    torch.testing.assert_close(BCEWithLogitsLoss()(logits, targets), expected)
    torch.testing.assert_close(CrossEntropyLoss()(logits, targets), expected)


def test_pos_weight_and_smoothing_equal_torch() -> None:
    logits, targets = batch(1)
    smooth = targets * 0.8 + 0.1
    expected = F.binary_cross_entropy_with_logits(logits[:, 0], smooth, pos_weight=torch.tensor(3.0).double())
    seen = BCEWithLogitsLoss(pos_weight=3.0, label_smoothing=0.2)(logits, targets)
    torch.testing.assert_close(seen, expected)


def test_smoothing_means_the_same_with_one_logit_and_two() -> None:
    logits, targets = batch(1)
    one, two = BCEWithLogitsLoss(label_smoothing=0.3), CrossEntropyLoss(label_smoothing=0.3)
    torch.testing.assert_close(one(logits, targets), two(logits, targets))


def test_cross_entropy_equals_torch() -> None:
    logits, targets = batch(4)
    expected = F.cross_entropy(logits, targets, label_smoothing=0.1)
    torch.testing.assert_close(CrossEntropyLoss(label_smoothing=0.1)(logits, targets), expected)


def test_squared_error_is_of_probabilities() -> None:
    logits, targets = batch(1)
    torch.testing.assert_close(MSELoss()(logits, targets), F.mse_loss(logits[:, 0].sigmoid(), targets))
    logits, classes = batch(4)
    expected = F.mse_loss(logits.softmax(1), F.one_hot(classes, 4).double())
    torch.testing.assert_close(MSELoss()(logits, classes), expected)


@pytest.mark.parametrize(("kind", "outputs"), ALL)
def test_integer_weights_count_as_repeated_events(kind: type[EventLoss], outputs: int) -> None:
    logits, targets = batch(outputs)
    times = torch.tensor([0, 1, 2, 3, 1, 0, 5, 1, 2])
    weighted = kind()(logits, targets, times.float())
    repeated = kind()(logits.repeat_interleave(times, 0), targets.repeat_interleave(times, 0))
    torch.testing.assert_close(weighted, repeated)
    torch.testing.assert_close(kind()(logits, targets, times.double() * 1e-9), weighted)


@pytest.mark.parametrize(("kind", "outputs"), ALL)
def test_a_batch_without_weight_gives_no_loss_and_no_gradient(kind: type[EventLoss], outputs: int) -> None:
    logits, targets = batch(outputs)
    loss = kind()(logits, targets, torch.zeros(len(logits)))
    loss.backward()
    assert loss.item() == 0.0
    assert logits.grad is not None
    assert logits.grad.abs().max() == 0.0


@pytest.mark.parametrize(("kind", "outputs"), ALL)
@pytest.mark.parametrize("size", [1, 7])
def test_extreme_logits_stay_finite(kind: type[EventLoss], outputs: int, size: int) -> None:
    _, targets = batch(outputs, size)
    logits = torch.full((size, outputs), 300.0)
    logits[:, 0] *= -1
    logits.requires_grad_(True)
    kind()(logits, targets).backward()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()


@pytest.mark.parametrize(("kind", "outputs"), ALL)
def test_half_precision_is_averaged_in_single(kind: type[EventLoss], outputs: int) -> None:
    logits, targets = batch(outputs)
    assert kind()(logits.half(), targets.float() if outputs == 1 else targets).dtype == torch.float32


def test_weighted_mean_divides_by_the_sum_of_weights() -> None:
    assert weighted_mean(torch.tensor([1.0, 4.0]), torch.tensor([3.0, 1.0])).item() == pytest.approx(7 / 4)


@pytest.mark.parametrize(
    ("kind", "params", "message"),
    [
        (BCEWithLogitsLoss, {"label_smoothing": 1.0}, r"label_smoothing: 1.0 is not in \[0, 1\)"),
        (BCEWithLogitsLoss, {"pos_weight": 0.0}, "pos_weight: 0.0 is not positive"),
        (SigmoidFocalLoss, {"alpha": 1.5}, "alpha: 1.5 is not between 0 and 1"),
        (MulticlassFocalLoss, {"gamma": -1.0}, "gamma: -1.0 is negative"),
    ],
)
def test_parameters_out_of_range_are_refused(kind: type[EventLoss], params: dict[str, float], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        kind(**params)
