"""How the tokens of strings are laid out for attention: as one ragged stream, or in blocks of nearly equal length."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from tabstar_lit.nn.ragged_attention import Spans, ragged_attention


class Packing(NamedTuple):
    """How strings are laid out for the hardware.

    Attributes
    ----------
    tokens : int
        Tokens encoded at a time, in all blocks of a pass.
    slack : float
        Part of a block that may be padding: fewer blocks mean fewer calls, more padding means more work.
    """

    tokens: int
    slack: float


CPU_PACKING = Packing(tokens=2048, slack=1 / 32)
"""Measured: activations that stay in the processor's cache save more than larger products would."""

GPU_PACKING = Packing(tokens=65_536, slack=1 / 4)
"""An accelerator waits for launches, not for arithmetic."""


class Block(NamedTuple):
    """Strings encoded together: rows ``start`` to ``stop``, padded to ``length`` if they are ``uneven``."""

    start: int
    stop: int
    length: int
    uneven: bool


class Layout(ABC):
    """Tokens of ``U`` strings in some order of work, ``P`` of them with padding, ``T`` without."""

    @abstractmethod
    def spread(self, stream: Tensor) -> Tensor:
        """Turn ``[T, ...]``, string after string, into the layout's ``[P, ...]``."""

    @abstractmethod
    def stream(self, tokens: Tensor) -> Tensor:
        """Turn ``[P, ...]`` back into ``[T, ...]``."""

    @abstractmethod
    def positions(self) -> Tensor:
        """Return the place of each token in its string: ``[P]`` int64."""

    @abstractmethod
    def first(self, tokens: Tensor) -> Tensor:
        """Return the first token of each string: ``[P, D]`` to ``[U, D]``."""

    @abstractmethod
    def means(self, tokens: Tensor) -> Tensor:
        """Average the tokens of each string: ``[P, D]`` to ``[U, D]``."""

    @abstractmethod
    def attend(self, query: Tensor, key: Tensor, value: Tensor, *, heads: int, dropout: float) -> Tensor:
        """Multi-head attention of ``[P, D]``, or of the first tokens ``[U, D]``, over ``[P, D]``."""


class RaggedLayout(Layout):
    """All tokens of all strings in one stream, without padding.

    Parameters
    ----------
    starts : Tensor of int32
        ``[U + 1]`` where each string begins, and the end.
    lengths : sequence of int
        ``[U]``, on the host.
    """

    def __init__(self, starts: Tensor, lengths: Sequence[int]) -> None:
        self.tokens = sum(lengths)
        self.spans = Spans(starts, max(lengths))
        self._firsts = Spans(torch.arange(len(lengths) + 1, dtype=torch.int32, device=starts.device), 1)

    def spread(self, stream: Tensor) -> Tensor:
        """Return the stream."""
        return stream

    def stream(self, tokens: Tensor) -> Tensor:
        """Return the tokens."""
        return tokens

    def positions(self) -> Tensor:
        """Return the place of each token in its string."""
        return self.spans.positions(self.tokens)

    def first(self, tokens: Tensor) -> Tensor:
        """Return the first token of each string."""
        return tokens.index_select(0, self.spans.starts[:-1])

    def means(self, tokens: Tensor) -> Tensor:
        """Average the tokens of each string."""
        lengths = self.spans.starts.diff()
        sums = tokens.new_zeros(len(lengths), tokens.shape[1]).index_add(0, self.spans.rows(len(tokens)), tokens)
        return sums / lengths[:, None]

    def attend(self, query: Tensor, key: Tensor, value: Tensor, *, heads: int, dropout: float) -> Tensor:
        """Attend, in one call for all strings."""
        asking = self.spans if len(query) == len(key) else self._firsts
        q, k, v = (x.view(len(x), heads, -1) for x in (query, key, value))
        return ragged_attention(q, k, v, asking, self.spans, dropout=dropout).flatten(1)


class BlockLayout(Layout):
    """Strings of rising length in blocks of nearly equal length, padded within a block.

    Parameters
    ----------
    blocks : sequence of Block
        Consecutive ones; their rows count from the first string of the layout.
    lengths : sequence of int
        ``[U]``, on the host.
    device : torch.device
        Where the tokens are.
    """

    def __init__(self, blocks: Sequence[Block], lengths: Sequence[int], device: torch.device) -> None:
        self.blocks, self.lengths, self.device = blocks, lengths, device
        self._masks = [self._mask(block) if block.uneven else None for block in blocks]

    def spread(self, stream: Tensor) -> Tensor:
        """Put padding in: behind a string's end, its last token again."""
        if not any(block.uneven for block in self.blocks):
            return stream
        return stream.index_select(0, torch.from_numpy(self._places()[0]).to(self.device))

    def stream(self, tokens: Tensor) -> Tensor:
        """Take padding out."""
        if not any(block.uneven for block in self.blocks):
            return tokens
        return tokens.index_select(0, torch.from_numpy(np.flatnonzero(self._places()[1])).to(self.device))

    def positions(self) -> Tensor:
        """Return the place of each token in its string."""
        places = torch.arange(self.blocks[-1].length, device=self.device)
        return torch.cat([places[: b.length].repeat(b.stop - b.start) for b in self.blocks])

    def first(self, tokens: Tensor) -> Tensor:
        """Return the first token of each string."""
        return torch.cat([view[:, 0] for view in self._views(tokens)])

    def means(self, tokens: Tensor) -> Tensor:
        """Average the tokens of each string."""
        means = []
        for view, block in zip(self._views(tokens), self.blocks, strict=True):
            kept = view * self._mask(block)[:, 0, 0, :, None]
            means.append(kept.sum(dim=1) / self._lengths(block)[:, None])
        return torch.cat(means)

    def attend(self, query: Tensor, key: Tensor, value: Tensor, *, heads: int, dropout: float) -> Tensor:
        """Attend, block by block."""
        whole = len(query) == len(key)
        asking = self.blocks if whole else [block._replace(length=1) for block in self.blocks]
        parts = zip(self._views(query, asking), self._views(key), self._views(value), self._masks, strict=True)
        return torch.cat([_attend(q, k, v, mask, heads=heads, dropout=dropout) for q, k, v, mask in parts])

    def _places(self) -> tuple[np.ndarray, np.ndarray]:
        """Return for each token with padding which one of the stream it is, and whether it is no padding."""
        begins = np.concatenate([[0], np.cumsum(self.lengths)])
        places, real = [], []
        for block in self.blocks:
            own = np.asarray(self.lengths[block.start : block.stop])[:, None]
            within = np.arange(block.length)
            places.append((begins[block.start : block.stop, None] + np.minimum(within, own - 1)).ravel())
            real.append((within < own).ravel())
        return np.concatenate(places), np.concatenate(real)

    def _views(self, tokens: Tensor, blocks: Sequence[Block] | None = None) -> list[Tensor]:
        """Cut ``[P, D]`` into ``[n, L, D]``, one view per block."""
        blocks = blocks or self.blocks
        sizes = [(b.stop - b.start) * b.length for b in blocks]
        parts = zip(torch.split(tokens, sizes), blocks, strict=True)
        return [part.view(b.stop - b.start, b.length, -1) for part, b in parts]

    def _lengths(self, block: Block) -> Tensor:
        return torch.tensor(self.lengths[block.start : block.stop], device=self.device)

    def _mask(self, block: Block) -> Tensor:
        """Return ``[n, 1, 1, L]``: which tokens of a block are no padding."""
        return (torch.arange(block.length, device=self.device) < self._lengths(block)[:, None])[:, None, None]


def length_blocks(lengths: Sequence[int], packing: Packing) -> list[Block]:
    """Group strings, sorted by length, into blocks with little padding.

    Parameters
    ----------
    lengths : sequence of int
        ``[U]``, ascending.
    packing : Packing
        Bounds on the tokens and the padding of a block; a single string may be longer.

    Returns
    -------
    list of Block
        In the order of the strings.
    """
    blocks: list[Block] = []
    start, tokens = 0, 0
    for stop, length in enumerate(lengths, start=1):
        padded = length * (stop - start)
        too_loose = padded - tokens - length > packing.slack * padded
        if stop - 1 > start and (too_loose or padded > packing.tokens):
            blocks.append(_block(lengths, start, stop - 1))
            start, tokens = stop - 1, 0
        tokens += length
    if lengths:
        blocks.append(_block(lengths, start, len(lengths)))
    return blocks


def token_passes(blocks: Sequence[Block], packing: Packing) -> list[list[Block]]:
    """Join consecutive blocks to passes of at most ``packing.tokens`` tokens (or one block)."""
    passes: list[list[Block]] = []
    room = -1
    for block in blocks:
        tokens = (block.stop - block.start) * block.length
        if tokens > room:
            passes.append([])
            room = packing.tokens
        passes[-1].append(block)
        room -= tokens
    return passes


def block_layouts(lengths: Sequence[int], packing: Packing, device: torch.device) -> list[tuple[slice, BlockLayout]]:
    """Return the passes that encode strings of rising length: where their tokens are in the stream, and the layout."""
    layouts, begin = [], 0
    for blocks in token_passes(length_blocks(lengths, packing), packing):
        first, last = blocks[0].start, blocks[-1].stop
        own = [block._replace(start=block.start - first, stop=block.stop - first) for block in blocks]
        end = begin + sum(lengths[first:last])
        layouts.append((slice(begin, end), BlockLayout(own, lengths[first:last], device)))
        begin = end
    return layouts


def _block(lengths: Sequence[int], start: int, stop: int) -> Block:
    return Block(start, stop, lengths[stop - 1], uneven=lengths[start] < lengths[stop - 1])


def _attend(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, *, heads: int, dropout: float) -> Tensor:
    """Multi-head attention of ``[n, Q, D]`` over ``[n, L, D]``; returns ``[n * Q, D]``."""
    q, k, v = (x.view(*x.shape[:2], heads, -1).transpose(1, 2) for x in (query, key, value))
    context = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, dropout_p=dropout)
    return context.transpose(1, 2).reshape(-1, query.shape[-1])
