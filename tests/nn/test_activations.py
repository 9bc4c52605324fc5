"""Activations by name: all can be built, formulas, and what is said about wrong names."""

from __future__ import annotations

import re

import pytest
import torch
from torch.nn import functional
from transformers.activations import ACT2FN

from tabstar_lit.errors import ConfigError
from tabstar_lit.nn.activations import ACTIVATIONS, activation_problems, is_gated, make_activation

NEEDS = {"Threshold": {"threshold": 0.1, "value": 0.0}}


@pytest.mark.parametrize("name", sorted(ACTIVATIONS))
def test_every_name_keeps_the_shape_or_halves_it(name: str) -> None:
    x = torch.randn(5, 8)
    y = make_activation(name, NEEDS.get(name)).eval()(x)
    assert y.shape == ((5, 4) if is_gated(name) else (5, 8))


def test_the_own_ones_follow_their_formulas() -> None:
    x = torch.linspace(-3, 3, 25, dtype=torch.float64)
    huber = functional.huber_loss(x, torch.zeros_like(x), reduction="none")
    expected = {
        "Abs": x.abs(),
        "MinusAbs": -x.abs(),
        "Softabs": huber,
        "MinusSoftabs": -huber,
        "ELUPlus": functional.elu(x) + 1,
        "SquaredReLU": ACT2FN["relu2"](x),
    }
    for name, y in expected.items():
        torch.testing.assert_close(make_activation(name)(x), y)
    value, gate = torch.randn(2, 4, 3, dtype=torch.float64)
    torch.testing.assert_close(
        make_activation("GeGLU")(torch.cat([value, gate], dim=-1)),
        value * 0.5 * gate * (1 + torch.erf(gate / 2**0.5)),
    )
    torch.testing.assert_close(
        make_activation("SwiGLU")(torch.cat([value, gate], dim=-1)), value * ACT2FN["silu"](gate)
    )


def test_arguments_reach_the_activation_and_no_name_is_the_identity() -> None:
    x = torch.tensor([-1.0, 2.0])
    assert make_activation("LeakyReLU", {"negative_slope": 0.5})(x).tolist() == [-0.5, 2.0]
    assert make_activation(None)(x) is x
    assert list(activation_problems(None)) == []


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("Relu", {}, "activation 'Relu' is unknown. Allowed: ReLU."),
        ("Sofplus", {}, "Did you mean 'Softplus'?"),
        ("MultiheadAttention", {}, "'MultiheadAttention' is unknown"),
        ("ELU", {"alfa": 1.0}, "unknown parameter 'alfa' of ELU. Did you mean 'alpha'?"),
        ("Threshold", {}, "Threshold needs threshold, value, which is not given."),
    ],
)
def test_mistakes_are_named(name: str, arguments: dict[str, float], message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        make_activation(name, arguments)


@pytest.mark.parametrize("gate", ["GeGLU", "SwiGLU"])
def test_a_gate_is_refused_where_it_does_not_fit(gate: str) -> None:
    (problem,) = activation_problems(gate, gated=False)
    assert "halves the width" in problem.message
    assert gate not in problem.allowed
