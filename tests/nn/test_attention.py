"""Attention against torch's modules; masks are exact and nothing is never NaN."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tabstar_lit.errors import ConfigError
from tabstar_lit.nn.attention import KERNELS, AttentionBlock, MultiHeadAttention, masked_attention
from tabstar_lit.nn.feed_forward import GatedFeedForward


def torchs(ours: MultiHeadAttention, width: int, heads: int) -> nn.MultiheadAttention:
    """torch's own module with the same weights."""
    theirs = nn.MultiheadAttention(width, heads, batch_first=True)
    weight = torch.cat([ours.query.weight, ours.key_value.weight])
    bias = torch.cat([ours.query.bias, ours.key_value.bias])
    theirs.load_state_dict(
        {
            "in_proj_weight": weight,
            "in_proj_bias": bias,
            "out_proj.weight": ours.out.weight,
            "out_proj.bias": ours.out.bias,
        }
    )
    return theirs


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("biased", [False, True])
def test_equals_torchs_multihead_attention(masked: bool, biased: bool) -> None:
    ours = MultiHeadAttention(8, 2)
    queries, context = torch.randn(3, 4, 8), torch.randn(3, 5, 8)
    mask = torch.rand(3, 5) < 0.6 if masked else None
    bias = torch.randn(3, 2, 4, 5) if biased else None
    if mask is not None:
        mask[:, 0] = True
    additive = torch.zeros(6, 4, 5) if bias is None else bias.flatten(0, 1)
    if mask is not None:
        additive = additive.masked_fill(~mask.repeat_interleave(2, dim=0)[:, None], float("-inf"))
    expected, _ = torchs(ours, 8, 2)(queries, context, context, attn_mask=additive)
    torch.testing.assert_close(ours(queries, context, mask=mask, bias=bias), expected)


@pytest.mark.parametrize("biased", [False, True])
def test_rows_without_anything_give_zeros_and_finite_gradients(biased: bool) -> None:
    query, key, value = (torch.randn(2, 2, 3, 4, requires_grad=True) for _ in range(3))
    bias = torch.randn(2, 2, 3, 3, requires_grad=True) if biased else None
    mask = torch.tensor([[True, True, False], [False, False, False]])
    out = masked_attention(query, key, value, mask=mask, bias=bias)
    assert out[1].abs().max() == 0.0
    out.square().sum().backward()
    for tensor in (query, key, value, *([] if bias is None else [bias])):
        assert tensor.grad is not None
        assert torch.isfinite(tensor.grad).all()
        assert tensor.grad[1].abs().max() == 0.0


def test_a_mask_for_each_query() -> None:
    attention = MultiHeadAttention(8, 2)
    x = torch.randn(1, 3, 8)
    mask = torch.tensor([[[True, False, False], [True, True, False], [False, False, False]]])
    y = attention(x, mask=mask)
    torch.testing.assert_close(y[:, :1], attention(x[:, :1], x[:, :1]))
    torch.testing.assert_close(y[:, 1:2], attention(x[:, 1:2], x[:, :2]))
    torch.testing.assert_close(y[0, 2], attention.out.bias)


def test_padding_changes_nothing() -> None:
    block = AttentionBlock(MultiHeadAttention(8, 2, dim_head=3), GatedFeedForward(8, 16), 8)
    x, padding = torch.randn(2, 3, 8), torch.randn(2, 4, 8) * 1e3
    mask = torch.tensor([[True, True, True], [True, False, False]])
    wide = torch.cat([mask, torch.zeros(2, 4, dtype=torch.bool)], dim=1)
    y = block(x, mask=mask)
    torch.testing.assert_close(block(torch.cat([x, padding], 1), mask=wide)[:, :3], y, atol=1e-6, rtol=0)


def test_a_block_follows_torchs_encoder_layer() -> None:
    attention = MultiHeadAttention(8, 2)
    feed_forward = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 8))
    block = AttentionBlock(attention, feed_forward, 8)
    theirs = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True, norm_first=True)
    theirs.self_attn = torchs(attention, 8, 2)
    theirs.linear1, theirs.linear2 = feed_forward[0], feed_forward[2]
    for norm in (block.attention_norm, block.feed_forward_norm):
        nn.init.normal_(norm.weight)
    theirs.norm1, theirs.norm2 = block.attention_norm, block.feed_forward_norm
    x = torch.randn(3, 5, 8)
    torch.testing.assert_close(block(x), theirs(x))


def test_skip_and_norm_can_be_removed() -> None:
    attention = MultiHeadAttention(8, 2)
    block = AttentionBlock(attention, nn.Identity(), 8, residual=False, layernorm=False)
    x = torch.randn(2, 3, 8)
    attended = attention(x)
    torch.testing.assert_close(block(x), attended + block.feed_forward_norm(attended))


def test_dropout_acts_in_training_only() -> None:
    attention = MultiHeadAttention(8, 2, dropout=0.5)
    x = torch.randn(2, 6, 8)
    assert not torch.equal(attention(x), attention(x))
    attention.eval()
    assert torch.equal(attention(x), attention(x))


@pytest.mark.parametrize("kernels", [("math",), tuple(KERNELS)])
def test_kernels_agree(kernels: tuple[str, ...]) -> None:
    chosen, free = MultiHeadAttention(8, 2, kernels=kernels), MultiHeadAttention(8, 2)
    chosen.load_state_dict(free.state_dict())
    x = torch.randn(2, 3, 8)
    mask = torch.tensor([[True, True, False], [True, True, True]])
    torch.testing.assert_close(chosen(x, mask=mask), free(x, mask=mask))


@pytest.mark.parametrize("kernels", [("cudnn",), ("flash", "cudnn")])
def test_kernels_that_cannot_do_it_here_are_named(kernels: tuple[str, ...]) -> None:
    attention = MultiHeadAttention(8, 2, kernels=kernels).double()
    x, bias = torch.randn(2, 3, 8, dtype=torch.float64), torch.zeros(2, 2, 3, 3, requires_grad=True)
    with pytest.raises(ConfigError, match=rf"sdp_backend allows {', '.join(kernels)} only.*enable_math: true"):
        attention(x, bias=bias)


def test_other_errors_of_attention_stay_what_they_are() -> None:
    with pytest.raises(RuntimeError, match=r"expand|size"):
        MultiHeadAttention(8, 2, kernels=("math",))(torch.randn(2, 3, 8), bias=torch.zeros(2, 2, 3, 7))


def test_heads_must_divide_the_width() -> None:
    with pytest.raises(ConfigError, match="3 attention heads do not divide a width of 8"):
        MultiHeadAttention(8, 3)
