"""Pre-norm blocks against torch's layers, against `transformers`' Llama and Qwen3, and step by step against at once."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from borrowed_decoders import borrowed
from small_decoders import SmallTransformer, SmallTranslator, lively
from torch import nn

from tabstar_lit.families.hep.architecture.jagged import SetTransformerArchitecture
from tabstar_lit.families.hep.networks.set_transformer import SetAttentionBlock
from tabstar_lit.nn.attention import MultiHeadAttention
from tabstar_lit.nn.feed_forward import PointwiseFeedForward
from tabstar_lit.nn.norms import PointNorm, RMSNorm, SetNorm
from tabstar_lit.nn.transformer import DecoderBlock, TransformerBlock


def give(theirs: nn.MultiheadAttention, ours: MultiHeadAttention) -> None:
    """Give torch's own module the same weights."""
    weights = {
        "in_proj_weight": torch.cat([ours.query.weight, ours.key_value.weight]),
        "in_proj_bias": torch.cat([ours.query.bias, ours.key_value.bias]),
        "out_proj.weight": ours.out.weight,
        "out_proj.bias": ours.out.bias,
    }
    theirs.load_state_dict(weights)


def test_padding_changes_nothing() -> None:
    block = TransformerBlock(MultiHeadAttention(8, 2, dim_head=3), PointwiseFeedForward(8, 16), 8)
    x, padding = torch.randn(2, 3, 8), torch.randn(2, 4, 8) * 1e3
    mask = torch.tensor([[True, True, True], [True, False, False]])
    wide = torch.cat([mask, torch.zeros(2, 4, dtype=torch.bool)], dim=1)
    y = block(x, mask=mask)
    torch.testing.assert_close(block(torch.cat([x, padding], 1), mask=wide)[:, :3], y, atol=1e-6, rtol=0)


@pytest.mark.parametrize("causal", [False, True])
def test_a_block_follows_torchs_encoder_layer(causal: bool) -> None:
    attention, feed_forward = MultiHeadAttention(8, 2), PointwiseFeedForward(8, 16, act="ReLU")
    block = TransformerBlock(attention, feed_forward, 8)
    theirs = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True, norm_first=True)
    give(theirs.self_attn, attention)
    theirs.linear1, theirs.linear2 = feed_forward[0], feed_forward[3]
    for norm in (block.attention_norm, block.feed_forward_norm):
        nn.init.normal_(norm.weight)
    theirs.norm1, theirs.norm2 = block.attention_norm, block.feed_forward_norm
    x = torch.randn(3, 5, 8)
    order = nn.Transformer.generate_square_subsequent_mask(5) if causal else None
    torch.testing.assert_close(block(x, causal=causal), theirs(x, src_mask=order, is_causal=causal))


def test_a_decoder_block_follows_torchs_decoder_layer() -> None:
    feed_forward = PointwiseFeedForward(8, 16, act="GELU")
    block = DecoderBlock(MultiHeadAttention(8, 2), MultiHeadAttention(8, 2), feed_forward, 8)
    theirs = nn.TransformerDecoderLayer(8, 2, 16, 0.0, nn.functional.gelu, batch_first=True, norm_first=True)
    give(theirs.self_attn, block.attention)
    give(theirs.multihead_attn, block.cross_attention)
    theirs.linear1, theirs.linear2 = feed_forward[0], feed_forward[3]
    norms = block.attention_norm, block.cross_attention_norm, block.feed_forward_norm
    for norm in norms:
        nn.init.normal_(norm.weight)
    theirs.norm1, theirs.norm2, theirs.norm3 = norms
    x, source, there = torch.randn(3, 5, 8), torch.randn(3, 4, 8), torch.rand(3, 4) < 0.7
    there[:, 0] = True
    order = nn.Transformer.generate_square_subsequent_mask(5)
    expected = theirs(x, source, tgt_mask=order, memory_key_padding_mask=~there, tgt_is_causal=True)
    torch.testing.assert_close(block(x, source, source_mask=there), expected)


def test_skip_and_norm_can_be_removed() -> None:
    attention = MultiHeadAttention(8, 2)
    block = TransformerBlock(attention, nn.Identity(), 8, residual=False, attention_norm=False)
    x = torch.randn(2, 3, 8)
    attended = attention(x)
    torch.testing.assert_close(block(x), attended + block.feed_forward_norm(attended))


def test_blocks_that_start_at_zero_start_as_the_identity_and_learn() -> None:
    x, source = torch.randn(2, 3, 8), torch.randn(2, 4, 8)
    options: dict[str, Any] = {"norm": RMSNorm, "zero_output": True}
    block = TransformerBlock(MultiHeadAttention(8, 2), PointwiseFeedForward(8, 16, act="SwiGLU"), 8, **options)
    decoder = DecoderBlock(
        MultiHeadAttention(8, 2), MultiHeadAttention(8, 2), PointwiseFeedForward(8, 16), 8, **options
    )
    for y in (block(x, causal=True), decoder(x, source)):
        assert torch.equal(y, x)
    block(x).square().sum().backward()
    assert block.attention.out.weight.grad.abs().max() > 0
    assert block.feed_forward[3].weight.grad.abs().max() > 0


def test_dropout_ends_every_branch() -> None:
    block = TransformerBlock(MultiHeadAttention(8, 2), PointwiseFeedForward(8, 16), 8, dropout=1.0)
    decoder = DecoderBlock(MultiHeadAttention(8, 2), MultiHeadAttention(8, 2), nn.Identity(), 8, dropout=1.0)
    x = torch.randn(2, 3, 8)
    assert torch.equal(block(x), x)
    assert torch.equal(decoder(x, x), x)
    assert not torch.equal(block.eval()(x), x)


@pytest.mark.parametrize("setnorm", [False, True])
def test_with_the_norms_of_sets_it_is_the_block_of_the_set_transformer(setnorm: bool) -> None:
    config = SetTransformerArchitecture(
        model="SetTransformer", embedding_dim=8, heads=2, dim_head=4, use_setnorm=setnorm
    )
    theirs = SetAttentionBlock(config).eval()
    ours = TransformerBlock(theirs.attention, theirs.layers, 8, norm=SetNorm if setnorm else PointNorm).eval()
    ours.attention_norm, ours.feed_forward_norm = theirs.norm_attention, theirs.norm_layers
    x, mask = torch.randn(3, 5, 8), torch.rand(3, 5) < 0.6
    assert torch.equal(ours(x, mask=mask), theirs(x, mask))


@pytest.mark.parametrize("qwen", [False, True])
@torch.no_grad()
def test_a_decoder_of_these_blocks_is_llama_or_qwen(qwen: bool) -> None:
    ours: Any = lively(SmallTransformer(qk_norm=qwen))
    tokens = torch.randint(1, 11, (3, 9))
    mask = torch.arange(9) >= torch.tensor([0, 4, 8])[:, None]
    theirs = borrowed(ours, qwen=qwen)
    torch.testing.assert_close(ours(tokens), theirs(tokens).logits, atol=1e-5, rtol=1e-5)
    positions = (mask.long().cumsum(1) - 1).clamp(min=0)
    expected = theirs(tokens, attention_mask=mask.long(), position_ids=positions).logits
    torch.testing.assert_close(ours(tokens, mask)[mask], expected[mask], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("padded", [False, True])
@torch.no_grad()
def test_step_by_step_is_the_same_as_at_once(padded: bool) -> None:
    network: Any = lively(SmallTransformer()).double()
    tokens = torch.randint(11, (3, 9))
    mask = torch.arange(9) >= torch.tensor([0, 2, 3])[:, None] if padded else None
    expected = network(tokens, mask)
    logits, state = network.step(tokens[:, :4], network.start(None), None if mask is None else mask[:, :4])
    torch.testing.assert_close(logits, expected[:, 3], atol=1e-12, rtol=1e-12)
    for place in range(4, 9):
        logits, state = network.step(tokens[:, place : place + 1], state)
        torch.testing.assert_close(logits, expected[:, place], atol=1e-12, rtol=1e-12)


@torch.no_grad()
def test_a_source_is_read_step_by_step_as_at_once_and_its_padding_not_at_all() -> None:
    network: Any = lively(SmallTranslator()).double()
    source, tokens = torch.randint(11, (2, 6)), torch.randint(11, (2, 5))
    there = torch.arange(6) < torch.tensor([6, 3])[:, None]
    expected = network(source, there, tokens)
    state = network.start((source, there))
    for place in range(5):
        logits, state = network.step(tokens[:, place : place + 1], state)
        torch.testing.assert_close(logits, expected[:, place], atol=1e-12, rtol=1e-12)
    alone = network(source[1:, :3], there[1:, :3], tokens[1:])
    torch.testing.assert_close(expected[1:], alone, atol=1e-12, rtol=1e-12)


@pytest.mark.parametrize("training", [False, True])
def test_a_later_token_changes_no_logit_before(training: bool) -> None:
    network: Any = lively(SmallTransformer()).train(training)
    tokens = torch.randint(11, (2, 7))
    later = tokens.clone()
    later[:, 4:] = (tokens[:, 4:] + 1) % 11
    assert torch.equal(network(later)[:, :4], network(tokens)[:, :4])
