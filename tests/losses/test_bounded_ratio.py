"""The default risk is least at the ratio of the densities, also beside regions whose density is negative."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from tabstar_lit.losses.bounded_ratio import BoundedRatio
from tabstar_lit.losses.density_ratio import RATIO_LOSSES, Inverse, ratio_loss
from tabstar_lit.losses.ratio_risk import RatioRisk

BOUND = 50.0
HEALTHY = ((1000.0, 1000.0), (40.0, 1000.0), (900.0, 30.0))
"""Summed weights of numerator and denominator in bins whose ratio lies between the bounds."""
BROKEN = {
    "one negative region above": ((-5.0, 1000.0),),
    "one negative region below": ((800.0, -5.0),),
    "negative regions of either side": ((-5.0, 1000.0), (-400.0, 300.0), (800.0, -5.0), (20.0, -900.0)),
    "empty ones, and ratios out of bounds": ((0.0, 500.0), (500.0, 0.0), (1.0, 1000.0), (1000.0, 1.0)),
}


def expected(bins: Tensor) -> Tensor:
    """Return the logarithm of the ratio in each bin, or of the bound that is nearer."""
    above, below = bins.clamp(min=0).T
    return (above / below).log().clamp(-math.log(BOUND), math.log(BOUND))


def events(bins: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return bin, target and weight of events of both signs: a positive and a negative one in each bin and class."""
    numbers = torch.arange(len(bins)).repeat(4)
    targets = torch.tensor([1.0, 0.0], dtype=torch.float64).repeat_interleave(len(bins)).repeat(2)
    sums = torch.cat([bins[:, 0], bins[:, 1]])
    return numbers, targets, torch.cat([sums.clamp(min=0) + 300, sums.clamp(max=0) - 300])


def newton(risk: RatioRisk, bins: Tensor, start: Tensor) -> Tensor:
    """Return the free output of each bin where the risk is least, by bounded steps of a Newton iteration."""
    numbers, targets, weights = events(bins)
    outputs = start.clone().requires_grad_(True)
    for _ in range(200):
        (slope,) = torch.autograd.grad(risk(outputs[numbers], targets, weights), outputs, create_graph=True)
        (curvature,) = torch.autograd.grad(slope.sum(), outputs)
        with torch.no_grad():
            step = slope / curvature.abs().clamp(min=1e-14)
            outputs -= step.clamp(-(1 + outputs.abs() / 4), 1 + outputs.abs() / 4)
    return outputs.detach()


def risk_of(name: str) -> RatioRisk:
    return RatioRisk(ratio_loss(name), max_ratio=BOUND)


@pytest.mark.parametrize("case", BROKEN)
@pytest.mark.parametrize("name", RATIO_LOSSES)
def test_free_bins_end_at_the_ratio_or_at_a_bound(name: str, case: str) -> None:
    bins, risk = torch.tensor([*HEALTHY, *BROKEN[case]], dtype=torch.float64), risk_of(name)
    found = risk.loss.log_ratio(newton(risk, bins, risk.loss.output(torch.zeros(len(bins), dtype=torch.float64))))
    torch.testing.assert_close(found, expected(bins), atol=1e-6, rtol=0)


@pytest.mark.parametrize("name", RATIO_LOSSES)
def test_descent_comes_back_from_far_beyond_the_bounds(name: str) -> None:
    bins, risk = (
        torch.tensor([*HEALTHY, *BROKEN["negative regions of either side"]], dtype=torch.float64),
        risk_of(name),
    )
    for reach in (-1000.0, 1000.0):
        outputs = newton(risk, bins, torch.full((len(bins),), reach, dtype=torch.float64))
        torch.testing.assert_close(risk.loss.log_ratio(outputs), expected(bins), atol=1e-6, rtol=0)
        low, high = risk.loss.output(torch.tensor([-1, 1], dtype=torch.float64) * math.log(BOUND))
        assert (outputs - outputs.clamp(low, high)).abs().max() <= 1.01


@pytest.mark.parametrize("name", RATIO_LOSSES)
def test_no_other_ratio_has_a_lower_risk(name: str) -> None:
    """In a bin of any two sums of weights that are not both negative, against all ratios between the bounds."""
    risk = risk_of(name)
    places = torch.linspace(-1, 1, 81, dtype=torch.float64) * math.log(BOUND)
    for above, below in (*HEALTHY, *(pair for case in BROKEN.values() for pair in case)):
        bins = torch.tensor([[above, below]], dtype=torch.float64)
        _, targets, weights = events(bins)
        best = risk(risk.loss.output(expected(bins)).expand(4), targets, weights)
        risks = torch.stack([risk(output.expand(4), targets, weights) for output in risk.loss.output(places)])
        assert (risks >= best - 1e-9 * best.abs() - 1e-12).all()


def test_a_degenerate_ratio_costs_more_than_the_truth_and_is_left() -> None:
    """1000 events of either sample in A; in B 1000 of the denominator, and 100 of the numerator of weight -0.05."""
    targets = torch.cat([torch.ones(1100), torch.zeros(2000)]).double()
    weights = torch.cat([torch.ones(1000), torch.full((100,), -0.05), torch.ones(2000)]).double()
    in_a = torch.cat([torch.ones(1000), torch.zeros(100), torch.ones(1000), torch.zeros(1000)]).bool()
    zero = torch.zeros((), dtype=torch.float64)
    bounded, correction = (RatioRisk(ratio_loss("bce"), policy) for policy in ("bounded", "correction"))
    truth, degenerate = (torch.where(in_a, zero + a, zero + b) for a, b in ((0.0, -6.9), (-20.0, -50_000.0)))
    assert correction(degenerate, targets, weights) < correction(truth, targets, weights)
    assert bounded(degenerate, targets, weights) > bounded(truth, targets, weights)
    outputs = degenerate.requires_grad_(True)
    (slope,) = torch.autograd.grad(bounded(outputs, targets, weights), outputs)
    assert slope[in_a].sum() < -0.01  # upward, as is that in B
    assert slope[~in_a].sum() < 0


@pytest.mark.parametrize("name", RATIO_LOSSES)
def test_between_the_bounds_nothing_changes(name: str) -> None:
    for own in (ratio_loss(name), Inverse(ratio_loss(name))):
        bounded = BoundedRatio(own, 1000.0)
        outputs = own.output(torch.linspace(-6.9, 6.9, 139, dtype=torch.float64))
        for term in ("numerator", "denominator", "log_ratio", "ratio"):
            torch.testing.assert_close(getattr(bounded, term)(outputs), getattr(own, term)(outputs))
        ones = torch.ones_like(outputs)
        assert bounded.wall(outputs, ones, ones).abs().max() == 0


@pytest.mark.parametrize("name", RATIO_LOSSES)
def test_beyond_a_bound_each_term_is_its_tangent_there(name: str) -> None:
    for own in (ratio_loss(name), Inverse(ratio_loss(name))):
        bounded = BoundedRatio(own, BOUND)
        for end, step in ((bounded.low, -2.5), (bounded.high, 2.5)):
            at = torch.tensor(end, dtype=torch.float64, requires_grad=True)
            for term in ("numerator", "denominator"):
                value = getattr(own, term)(at)
                (slope,) = torch.autograd.grad(value, at)
                torch.testing.assert_close(getattr(bounded, term)(at + step), value + step * slope)


@pytest.mark.parametrize("name", RATIO_LOSSES)
def test_ratios_stay_within_the_bounds_and_terms_keep_their_direction(name: str) -> None:
    for own in (ratio_loss(name), Inverse(ratio_loss(name))):
        loss, outputs = BoundedRatio(own, BOUND), torch.linspace(-900, 900, 3601, dtype=torch.float64)
        assert loss.ratio(outputs).max().item() == pytest.approx(BOUND)
        assert loss.ratio(outputs).min().item() == pytest.approx(1 / BOUND)
        rising = loss.log_ratio(outputs)[-1] > loss.log_ratio(outputs)[0]
        for term, falls in ((loss.numerator, rising), (loss.denominator, not rising)):
            steps = term(outputs).diff()
            assert (steps < 0).all() if falls else (steps > 0).all()


@pytest.mark.parametrize("name", RATIO_LOSSES)
def test_all_is_finite_in_single_precision(name: str) -> None:
    risk, outputs = RatioRisk(ratio_loss(name)), torch.linspace(-3000, 3000, 301, requires_grad=True)
    for target in (0.0, 1.0):
        for weight in (-1.0, 1.0):
            value = risk(outputs, torch.full((301,), target), torch.full((301,), weight))
            (slope,) = torch.autograd.grad(value, outputs)
            assert value.isfinite()
            assert slope.isfinite().all()
