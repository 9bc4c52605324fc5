"""Casting all weights at once computes what casting each of them does, and gives them the same gradients."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tabstar_lit.nn.half_weights import HalfWeights


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 8), nn.LayerNorm(8), nn.GELU(), nn.Linear(8, 3), nn.Linear(2, 2))


def test_the_cast_to_the_same_type_changes_nothing() -> None:
    own, x = network().double(), torch.randn(5, 6, dtype=torch.float64)
    expected = own[:4](x)
    expected.square().sum().backward()
    gradients = [p.grad for p in own[:4].parameters()]
    own.zero_grad(set_to_none=True)
    kept = list(own.parameters())
    with HalfWeights([own]).of(torch.float64, "cpu"):
        seen = own[:4](x)
    seen.square().sum().backward()
    assert torch.equal(seen, expected)
    assert all(one is other for one, other in zip(own.parameters(), kept, strict=True))
    for parameter, gradient in zip(own[:4].parameters(), gradients, strict=True):
        torch.testing.assert_close(parameter.grad, gradient, rtol=0, atol=1e-12)
    assert own[4].weight.grad is None, "took no part"


def test_half_precision_is_near_and_gradients_are_single() -> None:
    own, x = network(), torch.randn(5, 6)
    exact = own[:4](x)
    with HalfWeights([own]).of(torch.bfloat16, "cpu"):
        rough = own[:4](x.bfloat16())
    assert rough.dtype == torch.bfloat16
    torch.testing.assert_close(rough.float(), exact, rtol=0, atol=0.05)
    rough.float().sum().backward()
    assert {p.grad.dtype for p in own[:4].parameters() if p.grad is not None} == {torch.float32}


def test_an_error_inside_leaves_the_weights_in_their_places() -> None:
    own = network()
    before = own[0].weight
    with pytest.raises(ZeroDivisionError), HalfWeights([own]).of(torch.bfloat16, "cpu"):
        raise ZeroDivisionError
    assert own[0].weight is before
    assert not torch.is_autocast_enabled("cpu")
