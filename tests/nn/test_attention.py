"""Attention against torch's modules; masks are exact and nothing is never NaN."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from tabstar_lit.errors import ConfigError
from tabstar_lit.nn.attention import KERNELS, MultiHeadAttention, masked_attention
from tabstar_lit.nn.cache import KeyValueCache
from tabstar_lit.nn.masking import document_mask
from tabstar_lit.nn.positions import positions_in_documents, rotation


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


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("biased", [False, True])
def test_causal_attention_equals_torchs(masked: bool, biased: bool) -> None:
    ours = MultiHeadAttention(8, 2)
    x, mask, bias = torch.randn(3, 5, 8), torch.rand(3, 5) < 0.6, torch.randn(3, 2, 5, 5)
    mask[:, 0] = True
    additive = nn.Transformer.generate_square_subsequent_mask(5).expand(6, 5, 5).clone()
    if masked:
        additive = additive.masked_fill(~mask.repeat_interleave(2, dim=0)[:, None], float("-inf"))
    if biased:
        additive = additive + bias.flatten(0, 1)
    expected, _ = torchs(ours, 8, 2)(x, x, x, attn_mask=additive)
    seen = ours(x, causal=True, mask=mask if masked else None, bias=bias if biased else None)
    torch.testing.assert_close(seen, expected)


@pytest.mark.parametrize("masked", [False, True])
def test_what_comes_later_changes_nothing_before(masked: bool) -> None:
    attention, x = MultiHeadAttention(8, 2), torch.randn(2, 6, 8)
    mask = torch.ones(2, 6, dtype=torch.bool) if masked else None
    later = torch.cat([x[:, :4], torch.randn(2, 2, 8) * 100], dim=1)
    assert torch.equal(attention(later, causal=True, mask=mask)[:, :4], attention(x, causal=True, mask=mask)[:, :4])
    assert not torch.equal(attention(later, causal=True, mask=mask)[:, 4:], attention(x, causal=True, mask=mask)[:, 4:])


def test_order_alone_takes_the_short_way(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[dict[str, object]] = []
    torchs_own = functional.scaled_dot_product_attention

    def noted(*tensors: Tensor, **options: object) -> Tensor:
        calls.append(options)
        return torchs_own(*tensors, **options)

    monkeypatch.setattr(functional, "scaled_dot_product_attention", noted)
    query, key, value = torch.randn(3, 1, 2, 4, 5).unbind(0)
    masked_attention(query, key, value, causal=True)
    masked_attention(query[:, :, -1:], key, value, causal=True)
    assert calls[0]["is_causal"]
    assert calls[1]["attn_mask"] is None


def test_packed_documents_do_not_see_each_other() -> None:
    attention, x = MultiHeadAttention(8, 2), torch.randn(2, 7, 8)
    documents = torch.tensor([[4, 4, 4, 9, 9, 2, -1], [0, 0, 0, 0, 0, 0, 0]])
    turned = rotation(positions_in_documents(documents), 4)
    packed = attention(x, causal=True, mask=document_mask(documents), rotation=turned)
    for row, first, after in [(0, 0, 3), (0, 3, 5), (0, 5, 6), (1, 0, 7)]:
        alone = x[row : row + 1, first:after]
        expected = attention(alone, causal=True, rotation=rotation(torch.arange(after - first), 4))
        torch.testing.assert_close(packed[row : row + 1, first:after], expected)
    torch.testing.assert_close(packed[0, 6], attention.out.bias)


@pytest.mark.parametrize("pieces", [(1,) * 6, (4, 1, 1), (2, 3, 1), (6,)])
@pytest.mark.parametrize("padded", [False, True])
@torch.no_grad()
def test_a_cache_changes_nothing(pieces: tuple[int, ...], padded: bool) -> None:
    attention, x = MultiHeadAttention(8, 2, qk_norm=True).double(), torch.randn(2, 6, 8, dtype=torch.float64)
    mask = torch.tensor([[False, False, True, True, True, True], [True] * 6]) if padded else None
    expected = attention(x, causal=True, mask=mask, rotation=rotation(torch.arange(6), 4))
    cache, first = KeyValueCache(), 0
    for piece in pieces:
        after = first + piece
        turned = rotation(torch.arange(first, after), 4)
        known = None if mask is None else mask[:, :after]
        seen = attention(x[:, first:after], causal=True, mask=known, rotation=turned, cache=cache)
        torch.testing.assert_close(seen, expected[:, first:after], atol=1e-12, rtol=1e-12)
        first = after
    assert cache.length == 6


def test_a_context_may_be_projected_once() -> None:
    attention, context = MultiHeadAttention(8, 2), torch.randn(2, 5, 8)
    known, mask = attention.keys_values(context), torch.tensor([[True] * 5, [True, True, False, False, False]])
    for _ in range(2):
        x = torch.randn(2, 3, 8)
        assert torch.equal(attention(x, known, mask=mask), attention(x, context, mask=mask))


def test_projections_without_biases_and_normalised_heads() -> None:
    attention = MultiHeadAttention(8, 2, projection_bias=False, qk_norm=True)
    assert {name for name, _ in attention.named_parameters()} == {
        "query.weight", "key_value.weight", "out.weight", "query_norm.weight", "key_norm.weight"
    }  # fmt: skip
    nn.init.normal_(attention.key_norm.weight)
    x = torch.randn(3, 4, 8)
    query, key, value = (
        part.view(3, 4, 2, 4).transpose(1, 2) for part in (attention.query(x), *attention.key_value(x).chunk(2, dim=-1))
    )
    query = query / (query.square().mean(-1, keepdim=True) + 1e-6).sqrt()
    key = key / (key.square().mean(-1, keepdim=True) + 1e-6).sqrt() * attention.key_norm.weight
    heads = ((query @ key.mT) / 2).softmax(-1) @ value
    expected = attention.out(heads.transpose(1, 2).flatten(2))
    torch.testing.assert_close(attention(x), expected, atol=1e-5, rtol=1e-5)


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
