"""Heads computed at once against each computed alone."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tabstar_lit.nn.ensemble import EnsembleHeads, HeadLayerNorm, HeadLinear


@pytest.mark.parametrize("act", ["ReLU", "GeGLU"])
def test_each_head_is_a_network_of_its_own(act: str) -> None:
    heads = EnsembleHeads(5, 3, (8, 4), act=act, layernorm=True, act_out="Tanh")
    for layer in heads.modules():
        if isinstance(layer, HeadLayerNorm):
            nn.init.normal_(layer.scale)
            nn.init.normal_(layer.shift)
    x = torch.randn(7, 5)
    outputs = heads(x)
    assert outputs.shape == (7, 3)
    for head in range(3):
        y = x
        for layer in heads.layers:
            if isinstance(layer, HeadLinear):
                y = nn.functional.linear(y, layer.weight[head].T, layer.bias[head, 0])
            elif isinstance(layer, HeadLayerNorm):
                y = nn.functional.layer_norm(y, (layer.width,), layer.scale[head, 0], layer.shift[head, 0])
            else:
                y = layer(y)
        torch.testing.assert_close(outputs[:, head], y[:, 0])


def test_a_head_learns_from_its_own_output_only() -> None:
    heads, x = EnsembleHeads(4, 3, (6,)), torch.randn(5, 4)
    heads(x)[:, 1].sum().backward()
    for parameter in heads.parameters():
        assert parameter.grad is not None
        sizes = parameter.grad.flatten(1).abs().sum(1)
        assert sizes[0] == sizes[2] == 0
        assert sizes[1] > 0


def test_heads_differ_and_take_one_event_or_no_hidden_layer() -> None:
    outputs = EnsembleHeads(4, 6, dropout=0.5)(torch.randn(1, 4))
    assert outputs.shape == (1, 6)
    assert len(outputs.unique()) == 6


def test_dropout_acts_in_training_only() -> None:
    heads, x = EnsembleHeads(4, 2, (64,), dropout=0.5), torch.randn(3, 4)
    assert not torch.equal(heads(x), heads(x))
    heads.eval()
    assert torch.equal(heads(x), heads(x))


def test_it_exports_with_any_number_of_events() -> None:
    heads = EnsembleHeads(4, 3, (8,), layernorm=True).eval()
    program = torch.export.export(heads, (torch.randn(5, 4),), dynamic_shapes=({0: torch.export.Dim.DYNAMIC},))
    x = torch.randn(9, 4)
    torch.testing.assert_close(program.module()(x), heads(x))
