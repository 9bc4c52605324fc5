"""Latent attention against DeepSeek-V2's of `transformers`, and its short way of writing against its long one."""

from __future__ import annotations

from typing import Any

import torch

from tabstar_lit.families.experts.networks.latent_attention import LatentAttention, LatentCache
from tabstar_lit.nn.positions import rotation

WIDTH, HEADS, LATENT = 32, 2, 6


def attention() -> LatentAttention:
    torch.manual_seed(0)
    made = LatentAttention(WIDTH, HEADS, LATENT)
    torch.nn.init.normal_(made.latent_norm.weight)
    return made


def deepseek(ours: LatentAttention) -> Any:
    """Return theirs with the weights of ours."""
    from transformers.models.deepseek_v2.modeling_deepseek_v2 import DeepseekV2Attention, DeepseekV2Config

    config = DeepseekV2Config(
        hidden_size=WIDTH,
        num_attention_heads=HEADS,
        num_key_value_heads=HEADS,
        q_lora_rank=None,
        kv_lora_rank=LATENT,
        qk_nope_head_dim=ours.dim_plain,
        qk_rope_head_dim=ours.dim_rotated,
        v_head_dim=ours.dim_head,
        attn_implementation="eager",
    )
    theirs = DeepseekV2Attention(config, 0).eval()
    per_head = [part.weight.view(HEADS, -1, LATENT) for part in (ours.key, ours.value)]
    with torch.no_grad():
        theirs.q_proj.weight.copy_(ours.query.weight)
        theirs.kv_a_proj_with_mqa.weight.copy_(torch.cat([ours.down.weight, ours.rotated_key.weight]))
        theirs.kv_a_layernorm.weight.copy_(ours.latent_norm.weight)
        theirs.kv_b_proj.weight.copy_(torch.cat(per_head, dim=1).flatten(0, 1))
        theirs.o_proj.weight.copy_(ours.out.weight)
    return theirs


def test_it_is_deepseeks() -> None:
    ours, x = attention(), torch.randn(3, 9, WIDTH)
    turned = rotation(torch.arange(9), ours.dim_rotated)
    order = torch.full((9, 9), float("-inf")).triu(1)[None, None]
    theirs, _ = deepseek(ours)(x, order, position_embeddings=torch.complex(*turned)[None])
    torch.testing.assert_close(ours(x, rotation=turned), theirs, atol=1e-5, rtol=0)


def test_latents_alone_are_remembered_and_suffice() -> None:
    ours, x = attention().eval(), torch.randn(3, 9, WIDTH)
    whole = ours(x, rotation=rotation(torch.arange(9), ours.dim_rotated))
    cache, parts = LatentCache(), []
    for first, last in ((0, 4), (4, 5), (5, 9)):
        turned = rotation(torch.arange(first, last), ours.dim_rotated)
        parts.append(ours(x[:, first:last], rotation=turned, cache=cache))
    torch.testing.assert_close(torch.cat(parts, 1), whole, atol=1e-5, rtol=0)
    assert cache.seen is not None
    assert cache.seen.shape == (3, 9, LATENT + ours.dim_rotated)
    assert torch.equal(cache.select(torch.tensor([2, 2])).seen[0], cache.seen[2])
