"""Where parameters of losses end, what gradients reach, and laws of distance correlation."""

from __future__ import annotations

import math
from typing import Any

import dcor
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from tabstar_lit.errors import ConfigError
from tabstar_lit.losses.classification import BCEWithLogitsLoss, CrossEntropyLoss, EventLoss, weighted_mean
from tabstar_lit.losses.disco import DisCo, distance_correlation
from tabstar_lit.losses.focal import MulticlassFocalLoss, SigmoidFocalLoss
from tabstar_lit.losses.library import LibraryLoss, needs_no_weights


@pytest.mark.parametrize(
    ("kind", "params"),
    [
        (BCEWithLogitsLoss, {"label_smoothing": -0.01}),
        (CrossEntropyLoss, {"label_smoothing": 1.0}),
        (MulticlassFocalLoss, {"label_smoothing": 1.0}),
        (SigmoidFocalLoss, {"label_smoothing": math.nan}),
        (BCEWithLogitsLoss, {"pos_weight": -1.0}),
        (BCEWithLogitsLoss, {"pos_weight": math.nan}),
        (BCEWithLogitsLoss, {"pos_weight": math.inf}),
        (SigmoidFocalLoss, {"alpha": 0.0}),
        (SigmoidFocalLoss, {"alpha": 1.0}),
        (SigmoidFocalLoss, {"gamma": -0.01}),
        (SigmoidFocalLoss, {"gamma": math.nan}),
        (MulticlassFocalLoss, {"gamma": math.inf}),
    ],
)
def test_a_parameter_outside_its_range_is_named_with_its_value(kind: type[EventLoss], params: dict[str, Any]) -> None:
    ((name, value),) = params.items()
    with pytest.raises(ConfigError, match=rf"^loss_params\.{name}: {value} is "):
        kind(**params)


@pytest.mark.parametrize(
    ("kind", "params"),
    [
        (BCEWithLogitsLoss, {"label_smoothing": 0.0, "pos_weight": 1e-3}),
        (CrossEntropyLoss, {"label_smoothing": 0.999}),
        (SigmoidFocalLoss, {"gamma": 0.0, "alpha": 1e-3}),
        (MulticlassFocalLoss, {"gamma": 0.0}),
    ],
)
def test_the_ends_of_a_range_are_taken(kind: type[EventLoss], params: dict[str, Any]) -> None:
    assert kind(**params)(torch.randn(4, 1), torch.tensor([0.0, 1, 1, 0])).isfinite()


def test_the_weight_of_signal_is_not_divided_out() -> None:
    logits, targets = torch.zeros(2, 1), torch.tensor([0.0, 1.0])
    assert BCEWithLogitsLoss(pos_weight=3.0)(logits, targets).item() == pytest.approx(2 * math.log(2))


def test_an_event_without_weight_gets_no_gradient_and_others_their_share() -> None:
    logits = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    targets, weights = torch.tensor([0, 3, 1]), torch.tensor([0.0, 1.0, 3.0])
    (gradient,) = torch.autograd.grad(CrossEntropyLoss()(logits, targets, weights), logits)
    residual = logits.softmax(1) - functional.one_hot(targets, 4)
    torch.testing.assert_close(gradient, (residual * weights[:, None] / 4).detach())


def test_weights_take_the_precision_of_the_losses() -> None:
    assert weighted_mean(torch.ones(2), torch.ones(2).double()).dtype == torch.float32
    assert weighted_mean(torch.ones(2).double(), torch.ones(2)).dtype == torch.float64


@pytest.mark.parametrize("loss", [SigmoidFocalLoss(gamma=0.5), MulticlassFocalLoss(gamma=0.5)])
def test_what_is_known_for_sure_has_a_finite_gradient_below_a_focus_of_one(loss: EventLoss) -> None:
    logits = torch.tensor([[200.0], [-200.0]], requires_grad=True)
    loss(logits, torch.tensor([1.0, 0.0])).backward()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()


def test_a_focal_loss_of_two_classes_is_the_same_by_one_logit_and_by_softmax() -> None:
    logits, targets = torch.randn(8, 1).double(), (torch.arange(8) % 2).double()
    both = torch.cat([0.7 - logits / 2, 0.7 + logits / 2], dim=1)
    expected = SigmoidFocalLoss(gamma=1.5)(logits, targets)
    torch.testing.assert_close(MulticlassFocalLoss(gamma=1.5)(logits, targets), expected)
    torch.testing.assert_close(MulticlassFocalLoss(gamma=1.5)(both, targets.long()), expected)


def test_the_refusal_of_weights_says_what_to_do() -> None:
    loss = LibraryLoss("diceloss", 2, {})
    assert not loss.takes_weights
    with pytest.raises(ConfigError, match="Set use_mc_weights and use_class_weights to false, or take") as refused:
        loss(torch.randn(4, 1), torch.ones(4), torch.ones(4))
    assert str(refused.value) == needs_no_weights("diceloss")


seeds = st.integers(0, 2**20)


def pair(seed: int, rows: int = 25) -> tuple[Tensor, Tensor, Tensor]:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=rows)
    y = x * rng.normal() + rng.normal(size=rows) * rng.random()
    return torch.from_numpy(x), torch.from_numpy(y), torch.from_numpy(rng.exponential(size=rows))


@settings(max_examples=30)
@given(seeds, st.floats(-50, 50).filter(lambda scale: abs(scale) > 1e-3), st.floats(-1e3, 1e3))
def test_distance_correlation_has_no_unit_no_sign_and_no_side(seed: int, scale: float, shift: float) -> None:
    x, y, weights = pair(seed)
    seen = distance_correlation(x, y, weights)
    assert 0 <= seen.item() <= 1 + 1e-12
    torch.testing.assert_close(distance_correlation(y, scale * x + shift, 3 * weights), seen, atol=1e-8, rtol=1e-6)
    torch.testing.assert_close(distance_correlation(x, scale * x + shift, weights), torch.ones(()).double())


@settings(max_examples=20)
@given(seeds, st.sampled_from([0.5, 2.0]))
def test_the_power_is_that_of_the_squared_correlation(seed: int, power: float) -> None:
    x, y, _ = pair(seed)
    expected = dcor.distance_correlation_sqr(x.numpy(), y.numpy()) ** power
    assert distance_correlation(x, y, power=power).item() == pytest.approx(expected, abs=1e-10)
    seen = DisCo(power=power)(y[:, None], x[:, None], torch.ones(25, dtype=torch.bool))
    assert seen.item() == pytest.approx(expected, abs=1e-10)


def test_the_order_of_events_does_not_matter() -> None:
    x, y, weights = pair(0)
    order = torch.randperm(25)
    torch.testing.assert_close(
        distance_correlation(x[order], y[order], weights[order]), distance_correlation(x, y, weights)
    )


@pytest.mark.parametrize("hole", [math.nan, math.inf, -math.inf])
def test_one_missing_variable_leaves_the_event_out_of_all(hole: float) -> None:
    x, y, weights = pair(1)
    variables = torch.stack([x, x.square()], dim=1)
    variables[3, 0] = hole
    kept = torch.arange(25) != 3
    seen = DisCo(weighted=True)(y[:, None], variables, torch.ones(25, dtype=torch.bool), weights)
    torch.testing.assert_close(seen[1], distance_correlation(x[kept].square(), y[kept], weights[kept]))


def test_a_variable_made_by_a_network_gets_no_gradient_of_disco() -> None:
    x, y, _ = pair(2)
    x.requires_grad_(True)
    y.requires_grad_(True)
    DisCo()(y[:, None], x[:, None], torch.ones(25, dtype=torch.bool)).sum().backward()
    assert x.grad is None
    assert y.grad is not None
    assert y.grad.abs().max() > 0


def test_disco_is_computed_in_single_precision_from_half() -> None:
    x, y, _ = pair(3)
    seen = DisCo()(y.half()[:, None], x[:, None], torch.ones(25, dtype=torch.bool))
    assert seen.dtype == torch.float32
    assert seen.item() == pytest.approx(distance_correlation(x, y).item(), abs=1e-2)


def test_a_descent_on_disco_takes_the_variable_out_of_the_score() -> None:
    x, y, _ = pair(4, 60)
    share = torch.zeros((), dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.Adam([share], lr=0.1)
    disco, everything = DisCo(), torch.ones(60, dtype=torch.bool)
    losses = []
    for _ in range(60):
        loss = disco((y + 2 * x - share * x)[:, None], x[:, None], everything).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.3 * losses[0]
