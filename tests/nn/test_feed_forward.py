"""Stacks of layers against plain formulas; an ensemble against its members one by one."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from tabstar_lit.nn.feed_forward import BatchNorm, EnsembleLinear, FeedForward, PointwiseFeedForward, ResidualBlock


def test_layers_stand_in_order() -> None:
    layers = FeedForward(3, (8, 4), act="SiLU", batchnorm=True, dropout=0.2)
    expected = [nn.Linear, BatchNorm, nn.SiLU, nn.Dropout]
    assert [type(layer) for layer in layers] == expected * 2
    assert layers.n_out == 4
    assert layers(torch.randn(5, 3)).shape == (5, 4)


def test_a_gated_activation_is_given_twice_the_width() -> None:
    layers = FeedForward(3, (8, 4), act="GeGLU", batchnorm=True)
    assert layers(torch.randn(5, 3)).shape == (5, 4)
    assert [layer.out_features for layer in layers if isinstance(layer, nn.Linear)] == [16, 8]


def test_no_hidden_layer_is_the_identity() -> None:
    layers = FeedForward(3, ())
    x = torch.randn(2, 3)
    assert layers.n_out == 3
    assert layers(x) is x


def test_members_of_an_ensemble_are_linear_layers_with_scaled_weights() -> None:
    layer = EnsembleLinear(4, 3, members=5, first=True)
    nn.init.normal_(layer.scale_out)
    x = torch.randn(7, 5, 4)
    y = layer(x)
    for m in range(5):
        weight = layer.scale_out[m][:, None] * layer.weight * layer.scale_in[m]
        torch.testing.assert_close(y[:, m], nn.functional.linear(x[:, m], weight, layer.bias[m]))
    assert set(layer.scale_in.unique().tolist()) == {-1.0, 1.0}


def test_members_are_normalised_by_themselves() -> None:
    layers = FeedForward(4, (6,), act="Identity", batchnorm=True, members=3)
    y = layers(torch.randn(50, 3, 4) * 4 + 1)
    torch.testing.assert_close(y.mean(0), torch.zeros(3, 6), atol=1e-5, rtol=0)
    torch.testing.assert_close(y.var(0, unbiased=False), torch.ones(3, 6), atol=1e-3, rtol=0)


def test_batchnorm_is_torchs_and_takes_a_single_event() -> None:
    norm, reference = BatchNorm(4), nn.BatchNorm1d(4)
    x = torch.randn(6, 4)
    torch.testing.assert_close(norm(x), reference(x))
    torch.testing.assert_close(norm(x[:1]), reference.eval()(x[:1]))
    torch.testing.assert_close(norm.running_mean, reference.running_mean)


@pytest.mark.parametrize("size", [1, 2, 3])
def test_a_residual_block_follows_the_paper(size: int) -> None:
    block = ResidualBlock(4, 6, size=size, act="ReLU").double()
    x = torch.randn(9, 4, dtype=torch.float64)
    linears = [layer for layer in block.modules() if isinstance(layer, nn.Linear)]
    y = (x - x.mean(0)) / (x.var(0, unbiased=False) + 1e-5).sqrt()
    for layer in linears[:-1]:
        y = (y @ layer.weight.T + layer.bias).clamp(min=0)
    expected = x + y @ linears[-1].weight.T + linears[-1].bias
    torch.testing.assert_close(block(x), expected)
    assert len(linears) == size


@pytest.mark.parametrize(
    ("act", "formula"),
    [
        ("GELU", functional.gelu),
        ("SquaredReLU", lambda x: x.clamp(min=0) ** 2),
        ("GeGLU", lambda x: x[..., :6] * functional.gelu(x[..., 6:])),
        ("SwiGLU", lambda x: x[..., :6] * x[..., 6:] * x[..., 6:].sigmoid()),
    ],
)
@pytest.mark.parametrize("bias", [False, True])
def test_the_pointwise_layers_follow_their_formula(act: str, formula: Callable[[Tensor], Tensor], bias: bool) -> None:
    layer = PointwiseFeedForward(4, 6, act=act, dropout=0.5, bias=bias).eval()
    x = torch.randn(2, 3, 4)
    torch.testing.assert_close(layer(x), layer[3](formula(layer[0](x))))
    assert (layer[0].bias is not None) == bias
    assert (layer[3].bias is not None) == bias
