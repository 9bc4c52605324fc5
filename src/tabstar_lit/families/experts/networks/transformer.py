"""The transformer expert: pre-norm blocks with rotary positions and gated feed-forward parts (arXiv 2302.13971)."""

from __future__ import annotations

import math
from typing import cast

from torch import Tensor, nn

from tabstar_lit.families.experts.architecture import ExpertsArchitecture
from tabstar_lit.families.experts.networks.expert import Expert, attention_mask, initialise, places
from tabstar_lit.nn.attention import MultiHeadAttention
from tabstar_lit.nn.cache import DecoderCache, KeyValueCache
from tabstar_lit.nn.feed_forward import PointwiseFeedForward
from tabstar_lit.nn.norms import RMSNorm
from tabstar_lit.nn.positions import rotation
from tabstar_lit.nn.transformer import TransformerBlock, start_at_zero

INITIAL_STD = 0.02


class TransformerExpert(Expert):
    """Blocks of causal attention and a feed-forward part, then a norm.

    Parameters
    ----------
    config : ExpertsArchitecture
        Resolved: width, heads, dropout and its ``transformer``.
    """

    def __init__(self, config: ExpertsArchitecture) -> None:
        super().__init__()
        own, width, heads = config.transformer, cast(int, config.width), cast(int, config.heads)
        self.dim_head, self.rope_base = width // heads, config.rope_base
        self.blocks = nn.ModuleList(
            TransformerBlock(
                MultiHeadAttention(width, heads, dropout=config.dropout, projection_bias=False, qk_norm=own.qk_norm),
                PointwiseFeedForward(width, own.ffn_mult * width, act=own.act, bias=False),
                width,
                norm=RMSNorm,
                dropout=config.dropout,
            )
            for _ in range(cast(int, own.layers))
        )
        self.norm = RMSNorm(width)
        initialise(self, INITIAL_STD)
        for block in self.blocks:
            start_branches(cast(TransformerBlock, block), len(self.blocks), at_zero=own.zero_init)

    def forward(self, states: Tensor, documents: Tensor | None = None, cache: DecoderCache | None = None) -> Tensor:
        """Map ``[B, T, D]`` to the same shape; see :meth:`Expert.forward`."""
        if cache is None:
            positions, mask = places(states, documents), attention_mask(documents)
        else:
            positions, mask = cache.admit(states[..., 0], None if documents is None else documents >= 0)
        turned = rotation(positions, self.dim_head, self.rope_base)
        layers = [None] * len(self.blocks) if cache is None else cache.layers
        for block, layer in zip(self.blocks, layers, strict=True):
            states = block(states, mask=mask, causal=True, rotation=turned, cache=layer)
        normed: Tensor = self.norm(states)
        return normed

    def start(self) -> DecoderCache:
        """Return empty caches of keys and values."""
        return DecoderCache([KeyValueCache() for _ in self.blocks])


def start_branches(block: TransformerBlock, depth: int, *, at_zero: bool) -> None:
    """Start the end of each branch at zero, or so small that ``2 depth`` of them add up to one (GPT-2)."""
    if at_zero:
        start_at_zero(block.attention)
        start_at_zero(block.feed_forward)
        return
    for end in (block.attention.out, cast(nn.Linear, cast(nn.Sequential, block.feed_forward)[-1])):
        nn.init.normal_(end.weight, std=INITIAL_STD / math.sqrt(2 * depth))
