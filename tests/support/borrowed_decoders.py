"""Language models of `transformers`, with our weights or their own, as decoders of ours."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from small_decoders import DIM_HEAD, HEADS, HIDDEN, WIDTH, SmallTransformer
from torch import Tensor, nn
from transformers import (
    DynamicCache,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)


@dataclass
class Remembered:
    """Their cache, and which of its tokens are none."""

    cache: DynamicCache = field(default_factory=DynamicCache)
    mask: Tensor | None = None

    def select(self, rows: Tensor) -> Remembered:
        """Keep these rows."""
        self.cache.batch_select_indices(rows)
        return Remembered(self.cache, None if self.mask is None else self.mask[rows])


class Borrowed(nn.Module):
    """One of their models with the calls of ours."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def start(self, context: None) -> Remembered:
        """Return an empty cache."""
        return Remembered()

    def step(self, tokens: Tensor, state: Remembered, mask: Tensor | None = None) -> tuple[Tensor, Remembered]:
        """Run their model on the new tokens."""
        new = torch.ones_like(tokens) if mask is None else mask.long()
        there = new if state.mask is None else torch.cat([state.mask, new], dim=1)
        positions = (there.cumsum(1) - 1).clamp(min=0)[:, -tokens.shape[1] :]
        out = self.model(tokens, attention_mask=there, position_ids=positions, past_key_values=state.cache)
        return out.logits[:, -1], Remembered(out.past_key_values, there)


def borrowed(ours: SmallTransformer, *, qwen: bool = False) -> Any:
    """Return Llama or Qwen3 of `transformers` with the weights of our small transformer."""
    options: dict[str, Any] = {
        "vocab_size": ours.head.out_features, "hidden_size": WIDTH, "intermediate_size": HIDDEN,
        "num_hidden_layers": len(ours.blocks), "num_attention_heads": HEADS, "num_key_value_heads": HEADS,
        "head_dim": DIM_HEAD, "rms_norm_eps": 1e-6, "pad_token_id": 0,
    }  # fmt: skip
    theirs: Any = Qwen3ForCausalLM(Qwen3Config(**options)) if qwen else LlamaForCausalLM(LlamaConfig(**options))
    theirs.model.embed_tokens.weight = ours.embed.weight
    theirs.model.norm.weight, theirs.lm_head.weight = ours.norm.weight, ours.head.weight
    for block, layer in zip(ours.blocks, theirs.model.layers, strict=True):
        layer.input_layernorm.weight = block.attention_norm.weight
        layer.post_attention_layernorm.weight = block.feed_forward_norm.weight
        layer.self_attn.o_proj.weight, layer.mlp.down_proj.weight = (
            block.attention.out.weight,
            block.feed_forward[3].weight,
        )
        up, gate = block.feed_forward[0].weight.chunk(2)
        key, value = block.attention.key_value.weight.chunk(2)
        given = [
            (layer.mlp.up_proj, up), (layer.mlp.gate_proj, gate), (layer.self_attn.v_proj, value),
            (layer.self_attn.q_proj, halved(block.attention.query.weight)), (layer.self_attn.k_proj, halved(key)),
        ]  # fmt: skip
        if qwen:
            given += [
                (layer.self_attn.q_norm, halved(block.attention.query_norm.weight)),
                (layer.self_attn.k_norm, halved(block.attention.key_norm.weight)),
            ]
        for module, weight in given:
            module.weight.data.copy_(weight)
    return theirs.eval()


def halved(weight: Tensor) -> Tensor:
    """Bring the even rows of each head before the odd ones: ours rotates ``2 i`` with ``2 i + 1``, theirs halves."""
    return weight.view(-1, DIM_HEAD // 2, 2, *weight.shape[1:]).transpose(1, 2).reshape(weight.shape)


def gpt2() -> Any:
    """Return a small GPT-2 with weights of its own, far from their start."""
    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=11, n_positions=40, n_embd=16, n_layer=2, n_head=2, bos_token_id=2, eos_token_id=1, pad_token_id=0,
        initializer_range=0.6,
    )  # fmt: skip
    return GPT2LMHeadModel(config).eval()
