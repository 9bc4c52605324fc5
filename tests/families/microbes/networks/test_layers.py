"""Transformers and pooling against torch's own."""

from __future__ import annotations

import torch
from torch import nn

from tabstar_lit.families.microbes.networks.layers import Pooling, Sizes, Transformer

WIDTH, HEADS = 16, 4


def as_torch(ours: Transformer) -> nn.TransformerEncoder:
    """Return torch's transformer with the weights of ours."""
    layer = nn.TransformerEncoderLayer(
        WIDTH, HEADS, 4 * WIDTH, 0.0, activation="gelu", batch_first=True, norm_first=True
    )
    theirs = nn.TransformerEncoder(
        layer, len(ours.layers), norm=nn.LayerNorm(WIDTH, eps=1e-6), enable_nested_tensor=False
    )
    for own, other in zip(ours.layers, theirs.layers, strict=True):
        attention = own.attention
        other.self_attn.in_proj_weight.data = torch.cat([attention.query.weight, attention.key_value.weight])
        other.self_attn.in_proj_bias.data = torch.cat([attention.query.bias, attention.key_value.bias])
        other.self_attn.out_proj.load_state_dict(attention.out.state_dict())
        other.norm1.load_state_dict(own.attention_norm.state_dict())
        other.norm2.load_state_dict(own.feed_forward_norm.state_dict())
        other.linear1.load_state_dict(own.feed_forward[0].state_dict())
        other.linear2.load_state_dict(own.feed_forward[3].state_dict())
    theirs.norm.load_state_dict(ours.norm.state_dict())
    return theirs.eval()


def test_a_transformer_is_torchs_with_norms_first() -> None:
    torch.manual_seed(0)
    ours = Sizes(WIDTH, HEADS).transformer(3).eval()
    x, mask = torch.randn(4, 7, WIDTH), torch.rand(4, 7) < 0.7
    mask[:, 0] = True
    expected = as_torch(ours)(x, src_key_padding_mask=~mask)
    torch.testing.assert_close(ours(x, mask)[mask], expected[mask], rtol=0, atol=2e-6)


def test_layers_that_are_computed_again_have_the_same_gradients() -> None:
    torch.manual_seed(0)
    plain = Sizes(WIDTH, HEADS).transformer(2).train()
    again = Sizes(WIDTH, HEADS, checkpointing=True).transformer(2).train()
    again.load_state_dict(plain.state_dict())
    x, mask = torch.randn(3, 5, WIDTH), torch.ones(3, 5, dtype=torch.bool)
    for network in (plain, again):
        network(x, mask).square().sum().backward()
    for one, two in zip(plain.parameters(), again.parameters(), strict=True):
        torch.testing.assert_close(one.grad, two.grad)


def test_pooling_weighs_by_scores_over_the_root_of_the_width() -> None:
    torch.manual_seed(0)
    pooling = Pooling(WIDTH)
    tokens, mask = torch.randn(2, 5, WIDTH), torch.tensor([[True] * 5, [True, True, False, False, False]])
    found = pooling(tokens, mask)
    scores = (tokens[1, :2] @ pooling.attention.score.weight[0]) / WIDTH**0.5
    expected = nn.functional.layer_norm(scores.softmax(0) @ tokens[1, :2], (WIDTH,), eps=1e-6)
    torch.testing.assert_close(found.vector[1], expected)
    torch.testing.assert_close(found.weights.sum(1), torch.ones(2))
    assert not found.weights[1, 2:].any()


def test_nothing_pools_to_the_norm_of_zeros() -> None:
    pooling = Pooling(WIDTH)
    found = pooling(torch.full((1, 3, WIDTH), float("inf")), torch.zeros(1, 3, dtype=torch.bool))
    assert torch.equal(found.vector, pooling.norm.bias[None])
