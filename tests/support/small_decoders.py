"""Small networks that write token by token: a transformer, one that reads a source, and a recurrent one."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from tabstar_lit.nn.attention import MultiHeadAttention
from tabstar_lit.nn.cache import DecoderCache, KeyValueCache
from tabstar_lit.nn.feed_forward import PointwiseFeedForward
from tabstar_lit.nn.generation import Process
from tabstar_lit.nn.norms import RMSNorm
from tabstar_lit.nn.positions import rotation
from tabstar_lit.nn.transformer import DecoderBlock, TransformerBlock

WIDTH, HEADS, DIM_HEAD, HIDDEN = 16, 2, 8, 24
RAGGED = [[3, 4, 5, 6], [7], [8, 2, 9]]
"""Prompts of different lengths."""


def attention(*, qk_norm: bool = False) -> MultiHeadAttention:
    return MultiHeadAttention(WIDTH, HEADS, projection_bias=False, qk_norm=qk_norm)


def layers() -> PointwiseFeedForward:
    return PointwiseFeedForward(WIDTH, HIDDEN, act="SwiGLU", bias=False)


class SmallTransformer(nn.Module):
    """A decoder like Llama: RMSNorm, rotary positions, SwiGLU, no biases; with ``qk_norm`` like Qwen3."""

    def __init__(self, vocabulary: int = 11, depth: int = 2, *, qk_norm: bool = False) -> None:
        super().__init__()
        self.embed = nn.Embedding(vocabulary, WIDTH)
        self.blocks = nn.ModuleList(
            TransformerBlock(attention(qk_norm=qk_norm), layers(), WIDTH, norm=RMSNorm) for _ in range(depth)
        )
        self.norm = RMSNorm(WIDTH)
        self.head = nn.Linear(WIDTH, vocabulary, bias=False)

    def forward(self, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return logits ``[B, T, V]`` of everything at once."""
        return self._read(tokens, DecoderCache([KeyValueCache() for _ in self.blocks]), mask)

    def start(self, context: None) -> DecoderCache:
        """Return an empty memory."""
        return DecoderCache([KeyValueCache() for _ in self.blocks])

    def step(self, tokens: Tensor, state: DecoderCache, mask: Tensor | None = None) -> tuple[Tensor, DecoderCache]:
        """Return logits ``[B, V]`` of the next token."""
        return self._read(tokens, state, mask)[:, -1], state

    def _read(self, tokens: Tensor, state: DecoderCache, mask: Tensor | None) -> Tensor:
        positions, mask = state.admit(tokens, mask)
        turned, x = rotation(positions, DIM_HEAD), self.embed(tokens)
        for block, cache in zip(self.blocks, state.layers, strict=True):
            x = block(x, mask=mask, causal=True, rotation=turned, cache=cache)
        logits: Tensor = self.head(self.norm(x))
        return logits


class SmallTranslator(nn.Module):
    """An encoder of a padded source, and a decoder that reads it at each step."""

    def __init__(self, vocabulary: int = 11, depth: int = 2) -> None:
        super().__init__()
        self.embed = nn.Embedding(vocabulary, WIDTH)
        self.encoder = TransformerBlock(attention(), layers(), WIDTH)
        self.blocks = nn.ModuleList(DecoderBlock(attention(), attention(), layers(), WIDTH) for _ in range(depth))
        self.head = nn.Linear(WIDTH, vocabulary)

    def forward(self, source: Tensor, there: Tensor, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return logits ``[B, T, V]`` of everything at once, with the source read anew by each block."""
        encoded = self.encoder(self.embed(source), mask=there)
        positions, mask = DecoderCache([]).admit(tokens, mask)
        turned, x = rotation(positions, DIM_HEAD), self.embed(tokens)
        for block in self.blocks:
            x = block(x, encoded, mask=mask, source_mask=there, rotation=turned)
        logits: Tensor = self.head(x)
        return logits

    def start(self, context: tuple[Tensor, Tensor]) -> DecoderCache:
        """Encode the source ``[B, S]``, of which the mask ``[B, S]`` says what is there."""
        source, there = context
        encoded = self.encoder(self.embed(source), mask=there)
        sources = [block.cross_attention.keys_values(encoded) for block in self.blocks]
        return DecoderCache([KeyValueCache() for _ in self.blocks], sources, there)

    def step(self, tokens: Tensor, state: DecoderCache, mask: Tensor | None = None) -> tuple[Tensor, DecoderCache]:
        """Return logits ``[B, V]`` of the next token."""
        positions, mask = state.admit(tokens, mask)
        turned, x = rotation(positions, DIM_HEAD), self.embed(tokens)
        for block, cache, source in zip(self.blocks, state.layers, state.sources, strict=True):
            x = block(x, source, mask=mask, source_mask=state.source_mask, rotation=turned, cache=cache)
        return self.head(x[:, -1]), state


class Hidden(NamedTuple):
    """A recurrent state ``[B, E]``."""

    state: Tensor

    def select(self, rows: Tensor) -> Hidden:
        """Return these rows."""
        return Hidden(self.state[rows])


class SmallRecurrent(nn.Module):
    """A recurrent network that starts from a vector of the context; padding leaves its state alone."""

    def __init__(self, vocabulary: int = 11) -> None:
        super().__init__()
        self.embed = nn.Embedding(vocabulary, WIDTH)
        self.cell = nn.GRUCell(WIDTH, WIDTH)
        self.head = nn.Linear(WIDTH, vocabulary)

    def forward(self, vectors: Tensor, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return logits ``[B, T, V]`` of everything at once."""
        steps = [self.step(tokens[:, : n + 1], Hidden(vectors), None if mask is None else mask[:, : n + 1])
                 for n in range(tokens.shape[1])]  # fmt: skip
        return torch.stack([logits for logits, _ in steps], dim=1)

    def start(self, context: Tensor) -> Hidden:
        """Start from ``[B, E]``."""
        return Hidden(context)

    def step(self, tokens: Tensor, state: Hidden, mask: Tensor | None = None) -> tuple[Tensor, Hidden]:
        """Return logits ``[B, V]`` of the next token."""
        hidden = state.state
        for place in range(tokens.shape[1]):
            changed = self.cell(self.embed(tokens[:, place]), hidden)
            hidden = changed if mask is None else torch.where(mask[:, place, None], changed, hidden)
        return self.head(hidden), Hidden(hidden)


def lively(network: nn.Module, scale: float = 0.5) -> nn.Module:
    """Return it in evaluation with weights far from their start, so that no two tokens are equally likely."""
    torch.manual_seed(0)
    for parameter in network.parameters():
        parameter.data += scale * torch.randn_like(parameter)
    return network.eval()


def only(token: int) -> Process:
    """Return a process that forbids all other tokens."""
    return lambda tokens, logits: torch.where(torch.arange(logits.shape[1]) == token, logits, float("-inf"))
