"""Every density-ratio loss finds a known ratio, stays finite, and equals its textbook form where it has one."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from tabstar_lit.errors import ConfigError
from tabstar_lit.losses.density_ratio import RATIO_LOSSES, Inverse, RatioLoss, ratio_loss

RATIOS = (0.02, 0.1, 0.5, 1.0, 2.0, 5.0, 20.0, 60.0)


def minimised(risk: Callable[[Tensor], Tensor], size: int, dtype: torch.dtype) -> Tensor:
    """Return where a sum over independent bins is least, by Newton's method in steps of at most 1."""
    outputs = torch.zeros(size, dtype=dtype, requires_grad=True)
    for _ in range(150):
        (slope,) = torch.autograd.grad(risk(outputs), outputs, create_graph=True)
        (curvature,) = torch.autograd.grad(slope.sum(), outputs)
        with torch.no_grad():
            outputs -= (slope / curvature.abs().clamp(min=1e-12)).clamp(-1, 1)
    return outputs.detach()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", RATIO_LOSSES)
def test_free_bins_find_the_ratio_of_the_yields(name: str, dtype: torch.dtype) -> None:
    loss, below = ratio_loss(name), torch.tensor([3.0, 0.5, 1.0, 7.0, 1.0, 2.0, 0.1, 1.0], dtype=dtype)
    above = below * torch.tensor(RATIOS, dtype=dtype)

    def risk(outputs: Tensor) -> Tensor:
        return (above * loss.numerator(outputs) + below * loss.denominator(outputs)).sum()

    outputs = minimised(risk, len(RATIOS), dtype)
    torch.testing.assert_close(loss.ratio(outputs), above / below, rtol=1e-3, atol=0)


@pytest.mark.parametrize("name", RATIO_LOSSES)
def test_the_risk_rises_on_both_sides_of_the_ratio(name: str) -> None:
    """What a network descends leads to the ratio from everywhere: there is no second valley."""
    loss, outputs = ratio_loss(name), torch.linspace(-30, 30, 6001, dtype=torch.float64, requires_grad=True)
    for ratio in (0.1, 1.0, 4.0):
        risk = (ratio * loss.numerator(outputs) + loss.denominator(outputs)).sum()
        (slope,) = torch.autograd.grad(risk, outputs)
        away = (loss.log_ratio(outputs) - torch.tensor(ratio).log()).detach()
        assert (slope.sign() == away.sign())[away.abs() > 1e-3].all()


@pytest.mark.parametrize("name", RATIO_LOSSES)
def test_all_is_finite_in_single_precision(name: str) -> None:
    loss, outputs = ratio_loss(name), torch.linspace(-80, 80, 3201, requires_grad=True)
    for function in (loss.numerator, loss.denominator, loss.log_ratio, loss.ratio):
        values = function(outputs)
        (slopes,) = torch.autograd.grad(values.sum(), outputs)
        assert values.isfinite().all()
        assert slopes.isfinite().all()


@pytest.mark.parametrize("name", RATIO_LOSSES)
def test_single_precision_agrees_with_double(name: str) -> None:
    loss, outputs = ratio_loss(name), torch.linspace(-80, 80, 3201)
    for function in (loss.numerator, loss.denominator, loss.log_ratio):
        exact = function(outputs.double())
        torch.testing.assert_close(function(outputs).double(), exact, rtol=2e-5, atol=1e-5)


@pytest.mark.parametrize("name", RATIO_LOSSES)
def test_the_link_rises_and_has_its_inverse(name: str) -> None:
    loss, outputs = ratio_loss(name), torch.linspace(-80, 80, 3201, dtype=torch.float64)
    assert (loss.log_ratio(outputs).diff() > 0).all()
    log_ratios = torch.linspace(-5, 4, 91, dtype=torch.float64)
    torch.testing.assert_close(loss.log_ratio(loss.output(log_ratios)), log_ratios)
    torch.testing.assert_close(loss.ratio(outputs), loss.log_ratio(outputs).exp())


@pytest.mark.parametrize("name", [name for name, kind in RATIO_LOSSES.items() if kind.nonnegative])
def test_losses_said_to_be_nonnegative_are(name: str) -> None:
    loss, outputs = ratio_loss(name), torch.linspace(-80, 80, 3201)
    assert loss.numerator(outputs).min() >= 0
    assert loss.denominator(outputs).min() >= 0


def test_binary_cross_entropy_equals_torch() -> None:
    outputs = torch.linspace(-20, 20, 81)
    for name in ("bce", "logistic"):
        loss = ratio_loss(name)
        expected = F.binary_cross_entropy_with_logits(outputs, torch.ones_like(outputs), reduction="none")
        torch.testing.assert_close(loss.numerator(outputs), expected)
        expected = F.binary_cross_entropy_with_logits(outputs, torch.zeros_like(outputs), reduction="none")
        torch.testing.assert_close(loss.denominator(outputs), expected)


def test_the_gaussian_likelihood_equals_torch() -> None:
    loss, outputs = ratio_loss("gaussian_nll"), torch.linspace(-20, 20, 81, dtype=torch.float64)
    mean = loss.log_ratio(outputs).sigmoid()
    for label, term in ((1.0, loss.numerator), (0.0, loss.denominator)):
        target = torch.full_like(mean, label)
        expected = F.gaussian_nll_loss(mean, target, mean * (1 - mean), eps=0, reduction="none")
        torch.testing.assert_close(term(outputs), expected)


@pytest.mark.parametrize("name", ["mse", "savage", "square", "tangent"])
def test_squared_losses_are_squares_of_probabilities(name: str) -> None:
    loss, outputs = ratio_loss(name), torch.linspace(-20, 20, 81, dtype=torch.float64)
    probability = loss.log_ratio(outputs).sigmoid()
    scale = 4 if name in {"square", "tangent"} else 1
    torch.testing.assert_close(loss.numerator(outputs), scale * (1 - probability) ** 2)
    torch.testing.assert_close(loss.denominator(outputs), scale * probability**2)


@pytest.mark.parametrize(
    ("name", "numerator", "denominator"),
    [
        ("lsif", lambda r: -r, lambda r: r**2 / 2),
        ("kliep", lambda r: -r.log(), lambda r: r),
        ("bregman", lambda r: -(2 * r).exp() / 2, lambda r: (2 * r).exp() * (r / 2 - 1 / 4)),
        ("exp", lambda r: r**-0.5, lambda r: r**0.5),
    ],
)
def test_losses_of_the_ratio_equal_their_formulas(
    name: str, numerator: Callable[[Tensor], Tensor], denominator: Callable[[Tensor], Tensor]
) -> None:
    loss: RatioLoss = ratio_loss(name)
    ratios = torch.linspace(0.05, 2.0, 40, dtype=torch.float64)  # up to where bregman keeps its exponential
    outputs = loss.output(ratios.log())
    torch.testing.assert_close(loss.numerator(outputs), numerator(ratios))
    torch.testing.assert_close(loss.denominator(outputs), denominator(ratios))


def test_an_unknown_loss_is_refused_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"no density-ratio loss is called 'kleip'. Did you mean 'kliep'\?"):
        ratio_loss("kleip")


@pytest.mark.parametrize("name", RATIO_LOSSES)
def test_exchanged_samples_find_the_same_ratio(name: str) -> None:
    own = ratio_loss(name)
    loss = Inverse(own)
    ratios = torch.tensor([1.5, 4.0, 30.0, 200.0], dtype=torch.float64)

    def risk(outputs: Tensor) -> Tensor:
        return (loss.numerator(outputs) + loss.denominator(outputs) / ratios).sum()

    outputs = minimised(risk, len(ratios), torch.float64)
    torch.testing.assert_close(loss.ratio(outputs), ratios, rtol=1e-3, atol=0)
    torch.testing.assert_close(own.ratio(outputs), 1 / ratios, rtol=1e-3, atol=0)
    torch.testing.assert_close(loss.log_ratio(loss.output(ratios.log())), ratios.log())
    assert loss.nonnegative == own.nonnegative


@pytest.mark.parametrize("name", RATIO_LOSSES)
def test_symmetric_losses_only_change_the_sign(name: str) -> None:
    loss, outputs = ratio_loss(name), torch.linspace(-4, 4, 33, dtype=torch.float64)
    same = torch.allclose(loss.numerator(outputs), loss.denominator(-outputs))
    assert same == loss.symmetric
