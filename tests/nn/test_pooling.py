"""Reductions and masked pooling against loops and torch's own layers."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tabstar_lit.nn.masking import masked_mean, masked_softmax
from tabstar_lit.nn.pooling import AttentionPooling, LinearReduction, WeightedReduction, make_reduction

LINEAR = ("mean", "conv1d", "conv2d", "reshape")


@pytest.mark.parametrize("name", LINEAR)
def test_linear_reductions_split_into_parts(name: str) -> None:
    reduction = make_reduction(name, 5, 4)
    assert isinstance(reduction, LinearReduction)
    tokens = torch.randn(2, 3, 5, 4)
    constant = reduction.constant()
    parts = reduction.contract(tokens[..., :2, :]) + reduction.contract(tokens[..., 2:, :], 2)
    torch.testing.assert_close(reduction(tokens), parts if constant is None else parts + constant)


@pytest.mark.parametrize("name", LINEAR)
def test_folding_weights_is_contracting_what_they_make(name: str) -> None:
    reduction = make_reduction(name, 5, 4)
    assert isinstance(reduction, LinearReduction)
    weight, z = torch.randn(3, 2, 4), torch.randn(7, 3, 2)
    made = reduction.contract(torch.einsum("bfk,fke->bfe", z, weight))
    torch.testing.assert_close(torch.einsum("bfk,fke->be", z, reduction.fold(weight)), made)


def test_conv1d_is_torchs_convolution_over_features() -> None:
    reduction = WeightedReduction(5)
    convolution = nn.Conv1d(5, 1, kernel_size=1)
    convolution.load_state_dict({"weight": reduction.weight[None, :, None], "bias": reduction.bias})
    tokens = torch.randn(3, 5, 4)
    torch.testing.assert_close(reduction(tokens), convolution(tokens).squeeze(1))


def test_reshape_is_a_linear_layer_over_the_flattened_vectors() -> None:
    reduction = make_reduction("reshape", 5, 4)
    tokens = torch.randn(3, 5, 4)
    expected = nn.functional.linear(tokens.flatten(1), reduction.weight.flatten(0, 1).T, reduction.bias)
    torch.testing.assert_close(reduction(tokens), expected)


def test_attention_pooling_weighs_by_a_softmax() -> None:
    pooling = AttentionPooling(4)
    tokens = torch.randn(2, 5, 4)
    for event, pooled in zip(tokens, pooling(tokens), strict=True):
        weights = pooling.score(event).softmax(dim=0)
        torch.testing.assert_close(pooled, (weights * event).sum(0))


def test_padding_has_no_weight_even_if_it_is_not_finite() -> None:
    pooling = AttentionPooling(4)
    tokens = torch.randn(2, 5, 4)
    mask = torch.tensor([[True, True, False, True, False], [False] * 5])
    padded = torch.where(mask[..., None], tokens, 1e30)
    torch.testing.assert_close(pooling(padded, mask)[0], pooling(tokens[:1, mask[0]])[0])
    assert pooling(padded, mask)[1].tolist() == [0.0] * 4
    torch.testing.assert_close(masked_mean(padded, mask)[0], tokens[0, mask[0]].mean(0))
    assert masked_mean(padded, mask)[1].tolist() == [0.0] * 4


def test_a_softmax_over_nothing_has_a_gradient_of_zero() -> None:
    scores = torch.randn(2, 3, requires_grad=True)
    mask = torch.tensor([[True, False, True], [False, False, False]])
    weights = masked_softmax(scores, mask)
    torch.testing.assert_close(weights[0, [0, 2]], scores[0, [0, 2]].softmax(0))
    weights.square().sum().backward()
    assert scores.grad is not None
    assert scores.grad[1].tolist() == [0.0, 0.0, 0.0]
    assert scores.grad[0, 1] == 0.0
