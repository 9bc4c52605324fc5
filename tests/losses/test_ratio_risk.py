"""The weighted risk: what weights mean, and what policies do with negative ones.

The default is tested in test_bounded_ratio.py.
"""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from tabstar_lit.errors import ConfigError
from tabstar_lit.losses.density_ratio import RATIO_LOSSES, ratio_loss
from tabstar_lit.losses.ratio_risk import NegativeWeights, RatioRisk

POLICIES: tuple[NegativeWeights, ...] = ("plain", "correction", "bounded")
"""What is the plain risk as long as no bound is met."""


def events() -> tuple[Tensor, Tensor, Tensor]:
    """Return the bin, class and weight of 16 events: each bin and class has one of either sign, and a positive sum."""
    bins = torch.arange(4).repeat(4)
    targets = torch.arange(2).repeat_interleave(4).repeat(2).double()
    sizes = torch.linspace(1, 4, 8, dtype=torch.float64) * (1 + bins[:8] * targets[:8])
    return bins, targets, torch.cat([1.5 * sizes, -0.5 * sizes])


def with_a_negative_bin(target: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return the same, but the last bin has negative weight only, of one class: a density that cannot be."""
    bins, targets, weights = events()
    own = bins == 3
    return bins, torch.where(own, float(target), targets), torch.where(own, -weights.abs(), weights)


def descend(risk: RatioRisk, bins: Tensor, targets: Tensor, weights: Tensor, steps: int) -> tuple[Tensor, Tensor]:
    """Return the free output of every bin and the last risk, after descent by Adam."""
    outputs = torch.zeros(4, dtype=weights.dtype, requires_grad=True)
    optimizer = torch.optim.Adam([outputs], lr=0.3)
    value = torch.zeros(())
    for _ in range(steps):
        optimizer.zero_grad()
        value = risk(outputs[bins], targets, weights)
        value.backward()
        optimizer.step()
    return outputs.detach(), value.detach()


def yields(bins: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
    above = torch.zeros(4, dtype=weights.dtype).index_add(0, bins, weights * targets)
    return above / torch.zeros(4, dtype=weights.dtype).index_add(0, bins, weights * (1 - targets))


def test_weighted_cross_entropy_equals_torch() -> None:
    _, targets, weights = events()
    outputs = torch.randn(len(targets), dtype=torch.float64)
    expected = F.binary_cross_entropy_with_logits(outputs, targets, weights)
    for policy in POLICIES:
        torch.testing.assert_close(RatioRisk(ratio_loss("bce"), policy)(outputs, targets, weights), expected)
    torch.testing.assert_close(RatioRisk(ratio_loss("bce"), mean_weight=4.0)(outputs, targets, weights), expected / 4)
    unweighted = F.binary_cross_entropy_with_logits(outputs, targets)
    torch.testing.assert_close(RatioRisk(ratio_loss("bce"))(outputs, targets), unweighted)


@pytest.mark.parametrize("name", RATIO_LOSSES)
def test_signed_weights_of_positive_density_give_the_ratio_of_sums(name: str) -> None:
    """At the ratio no bound is met: either policy is the plain risk there, and level."""
    bins, targets, weights = events()
    loss = ratio_loss(name)
    outputs = loss.output(yields(bins, targets, weights).log()).requires_grad_(True)
    plain, *others = (RatioRisk(loss, policy)(outputs[bins], targets, weights) for policy in POLICIES)
    for other in others:
        torch.testing.assert_close(other, plain)
        (slope,) = torch.autograd.grad(other, outputs)
        torch.testing.assert_close(slope, torch.zeros_like(slope), atol=1e-12, rtol=0)


def test_descent_reaches_the_ratio_of_sums() -> None:
    bins, targets, weights = events()
    outputs, _ = descend(RatioRisk(ratio_loss("bce")), bins, targets, weights, 300)
    torch.testing.assert_close(outputs.exp(), yields(bins, targets, weights), rtol=1e-3, atol=0)


def test_absolute_and_zero_are_other_weights() -> None:
    _, targets, weights = events()
    outputs, plain = torch.randn(len(targets), dtype=torch.float64), RatioRisk(ratio_loss("bce"), "plain")
    absolute, zero = (RatioRisk(ratio_loss("bce"), policy) for policy in ("absolute", "zero"))
    torch.testing.assert_close(absolute(outputs, targets, weights), plain(outputs, targets, weights.abs()))
    torch.testing.assert_close(zero(outputs, targets, weights), plain(outputs, targets, weights.clamp(min=0)))


def least(risk: RatioRisk, targets: Tensor, weights: Tensor) -> float:
    """Return what the documentation says the corrected risk cannot fall below, whatever the outputs are."""
    above, below = float((weights * targets).sum()), float((weights * (1 - targets)).sum())
    c, (first, second) = risk.mixing, risk.floors
    return (first * (above - c * below) + second * (below - c * above)) / (1 - c**2) / len(weights)


@pytest.mark.parametrize("name", RATIO_LOSSES)
def test_the_bounds_are_the_least_that_any_allowed_ratio_costs(name: str) -> None:
    loss = ratio_loss(name)
    risk = RatioRisk(loss, "correction", max_ratio=50.0)
    outputs = loss.output(torch.linspace(-1, 1, 2001, dtype=torch.float64) * math.log(50.0))
    parts = loss.numerator(outputs), loss.denominator(outputs)
    costs = [own + risk.mixing * other for own, other in (parts, parts[::-1])]
    if loss.nonnegative:
        assert risk.floors == (0.0, 0.0)
        assert all((cost >= 0).all() for cost in costs)
    else:
        assert risk.floors == pytest.approx([cost.min().item() for cost in costs], rel=1e-9)


@pytest.mark.parametrize("target", [0, 1])
@pytest.mark.parametrize("name", RATIO_LOSSES)
def test_the_correction_is_bounded_below(name: str, target: int) -> None:
    bins, targets, weights = with_a_negative_bin(target)
    corrected = RatioRisk(ratio_loss(name), "correction")
    bound = least(corrected, targets, weights) - 1e-9
    for reach in (-80.0, -20.0, 20.0, 80.0):
        outputs = torch.tensor([0.0, 0, 0, reach], dtype=torch.float64, requires_grad=True)
        value = corrected(outputs[bins], targets, weights)
        (slope,) = torch.autograd.grad(value, outputs)
        assert value.item() >= bound
        assert slope.isfinite().all()
    outputs, last = descend(corrected, bins, targets, weights, 60)
    assert last.item() >= bound
    assert outputs.isfinite().all()


@pytest.mark.parametrize("name", ["bce", "logistic", "exp", "lsif", "kliep", "bregman", "gaussian_nll"])
def test_the_plain_risk_falls_without_end(name: str) -> None:
    """The others charge an event at most a constant, so that they alone need no correction."""
    bins, targets, weights = with_a_negative_bin(0)
    plain, corrected = (RatioRisk(ratio_loss(name), policy) for policy in POLICIES[:2])
    far = [torch.tensor([0.0, 0, 0, reach], dtype=torch.float64)[bins] for reach in (40.0, 80.0, 160.0, 640.0)]
    falls = [before - after for before, after in pairwise(plain(outputs, targets, weights).item() for outputs in far)]
    assert falls == sorted(falls)
    assert falls[0] > 1
    bound = least(corrected, targets, weights)
    assert plain(far[-1], targets, weights).item() < bound - 1
    assert corrected(far[-1], targets, weights).item() >= bound - 1e-9


def test_no_gradient_pushes_a_part_below_its_bound() -> None:
    outputs = torch.tensor([0.0, 5.0], requires_grad=True)
    targets, weights = torch.tensor([1.0, 0.0]), torch.tensor([1.0, -1.0])
    RatioRisk(ratio_loss("bce"), "correction")(outputs, targets, weights).backward()
    assert outputs.grad is not None
    assert outputs.grad[0] < 0
    assert outputs.grad[1] == 0


def test_heads_are_averaged_each_with_its_own_weights_and_bounds() -> None:
    _, targets, weights = events()
    generator = torch.Generator().manual_seed(2)
    outputs = torch.randn(len(targets), 3, generator=generator, dtype=torch.float64)
    own = torch.stack([weights, weights * 2, weights - 3], dim=1)
    risk = RatioRisk(ratio_loss("bce"))
    alone = torch.stack([risk(outputs[:, i], targets, own[:, i]) for i in range(3)])
    torch.testing.assert_close(risk(outputs, targets, own), alone.mean())
    shared = torch.stack([risk(outputs[:, i], targets, weights) for i in range(3)])
    torch.testing.assert_close(risk(outputs, targets, weights), shared.mean())


def test_half_precision_is_summed_in_single() -> None:
    targets = torch.ones(8)
    assert RatioRisk(ratio_loss("bce"))(torch.zeros(8, dtype=torch.half), targets).dtype == torch.float32


def test_parameters_out_of_range_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"weights is 0.0; it must be positive"):
        RatioRisk(ratio_loss("bce"), mean_weight=0.0)
    with pytest.raises(ConfigError, match=r"max_ratio: 1.0 is not above 1"):
        RatioRisk(ratio_loss("bce"), max_ratio=1.0)
