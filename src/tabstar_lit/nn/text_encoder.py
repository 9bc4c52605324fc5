"""A BERT encoder (arXiv 1810.04805) that hardly pads, and trains only its upper layers.

Weights, names and configuration are those of ``transformers``; only the order of the work is different.
Strings come sorted by length, in blocks of (nearly) equal length. Every token-wise layer runs once on the
tokens of all blocks, and only attention sees the blocks. Where the first token's vector is asked for, the
last layer is computed for that token only.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from tokenizers import Tokenizer  # type: ignore[import-untyped]  # ships no types
from torch import Tensor, nn
from transformers import PreTrainedModel

from tabstar_lit.errors import EncoderError


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


class TextEncoder(nn.Module):
    """Encode unique strings, given as token ids, to one vector each.

    The frozen lower part (embeddings and all layers but the last ``unfreeze_layers``) has no gradient **and
    no dropout**, also while the rest trains: its output for a string is a constant. (The official code leaves
    dropout on there.) What is frozen is read from ``requires_grad`` at each call, so freezing from the
    outside counts too.

    Parameters
    ----------
    bert : PreTrainedModel
        Whose embeddings, layers and pooler are taken over; the pooler is kept for its names and never
        computed.
    tokenizer : str
        The text of the ``tokenizer.json`` that belongs to it; travels with the encoder into checkpoints.
    pooling : str
        ``"cls"``: the vector of the first token; ``"mean"``: the mean over the tokens.
    unfreeze_layers : int or "all"
        How many of the last layers are trained.
    """

    # transformers states no types for its parts.
    embeddings: Any
    encoder: Any

    def __init__(
        self, bert: PreTrainedModel, tokenizer: str, *, pooling: str = "cls", unfreeze_layers: int | str = 0
    ) -> None:
        super().__init__()
        self.config = bert.config
        self.embeddings = bert.embeddings
        self.encoder = bert.encoder
        self.pooler = bert.pooler
        self.tokenizer = tokenizer
        self.pooling = pooling
        # RoBERTa counts positions from behind the padding token's.
        self._first_position = 0 if bert.config.model_type == "bert" else int(bert.config.pad_token_id or 0) + 1
        # Asked for in every step, and slow to collect.
        self._parts = [(part, tuple(part.parameters())) for part in (self.embeddings, *self.encoder.layer)]
        self._freeze(unfreeze_layers)

    @property
    def width(self) -> int:
        """Width ``D`` of a string's vector."""
        return int(self.config.hidden_size)

    @property
    def is_frozen(self) -> bool:
        """Whether a string's vector is a constant of the run."""
        return self._first_trainable() > len(self.encoder.layer)

    def forward(self, token_ids: Tensor, lengths: Sequence[int]) -> Tensor:
        """Encode strings.

        Parameters
        ----------
        token_ids : Tensor of int64
            ``[U, L]``, padded anyhow behind each string's length.
        lengths : sequence of int
            ``[U]`` number of tokens of each string, on the host. Fastest when ascending.

        Returns
        -------
        Tensor
            ``[U, D]``.
        """
        order = sorted(range(len(lengths)), key=lengths.__getitem__)
        if order != list(range(len(lengths))):
            rows = torch.tensor(order, device=token_ids.device)
            vectors = self(token_ids[rows], [lengths[i] for i in order])
            return torch.empty_like(vectors).index_copy(0, rows, vectors)
        first_trainable = self._settle_frozen()
        device_lengths = torch.tensor(lengths, device=token_ids.device)
        packing = CPU_PACKING if token_ids.device.type == "cpu" else GPU_PACKING
        passes = token_passes(length_blocks(lengths, packing), packing)
        return torch.cat([self._encode(token_ids, device_lengths, p, first_trainable) for p in passes])

    def _encode(self, token_ids: Tensor, lengths: Tensor, blocks: list[Block], first_trainable: int) -> Tensor:
        masks = [_mask(lengths[b.start : b.stop], b) if b.uneven else None for b in blocks]
        with torch.set_grad_enabled(torch.is_grad_enabled() and first_trainable == 0):
            hidden = self._embed(token_ids, blocks)
        last = len(self.encoder.layer)
        for number, layer in enumerate(self.encoder.layer, start=1):
            with torch.set_grad_enabled(torch.is_grad_enabled() and first_trainable <= number):
                hidden = self._layer(layer, hidden, blocks, masks, first_only=number == last and self.pooling == "cls")
        return hidden if self.pooling == "cls" else _means(hidden, blocks, lengths)

    def _embed(self, token_ids: Tensor, blocks: list[Block]) -> Tensor:
        tokens = torch.cat([token_ids[b.start : b.stop, : b.length].reshape(-1) for b in blocks])
        places = torch.arange(blocks[-1].length, device=token_ids.device) + self._first_position
        positions = torch.cat([places[: b.length].repeat(b.stop - b.start) for b in blocks])
        part = self.embeddings
        vectors = part.word_embeddings(tokens) + part.token_type_embeddings.weight[0]
        vectors = vectors + part.position_embeddings(positions)
        return part.dropout(part.LayerNorm(vectors))  # type: ignore[no-any-return]  # transformers is untyped here

    def _layer(
        self, layer: Any, hidden: Tensor, blocks: list[Block], masks: list[Tensor | None], *, first_only: bool
    ) -> Tensor:
        part = layer.attention.self
        asking = torch.cat([v[:, 0] for v in _views(hidden, blocks)]) if first_only else hidden
        views = zip(
            _views(part.query(asking), [b._replace(length=1) for b in blocks] if first_only else blocks),
            _views(part.key(hidden), blocks),
            _views(part.value(hidden), blocks),
            masks,
            strict=True,
        )
        heads = part.num_attention_heads
        dropout = part.dropout.p if layer.training else 0.0
        context = [_attend(q, k, v, mask, heads=heads, dropout=dropout) for q, k, v, mask in views]
        attended = layer.attention.output(torch.cat(context), asking)
        return layer.output(layer.intermediate(attended), attended)  # type: ignore[no-any-return]  # as above

    def _freeze(self, unfreeze_layers: int | str) -> None:
        if self.pooler is not None:
            self.pooler.requires_grad_(False)
        if unfreeze_layers == "all":
            return
        layers = self.encoder.layer
        if not 0 <= int(unfreeze_layers) <= len(layers):
            raise EncoderError(
                f"text_encoder.unfreeze_layers: {unfreeze_layers} asks for more layers than the encoder has; "
                f"it has {len(layers)}. Give a number from 0 to {len(layers)}, or 'all'."
            )
        self.embeddings.requires_grad_(False)
        for layer in layers[: len(layers) - int(unfreeze_layers)]:
            layer.requires_grad_(False)

    def _first_trainable(self) -> int:
        """Lowest trained part: 0 the embeddings, n the n-th layer, one more than all layers: none."""
        trained = (i for i, (_, own) in enumerate(self._parts) if any(p.requires_grad for p in own))
        return next(trained, len(self._parts))

    def _settle_frozen(self) -> int:
        """Switch dropout off below the lowest trained part, as the parameters now stand."""
        first = self._first_trainable()
        for part, _ in self._parts[:first]:
            if part.training:
                part.eval()
        return first


def encode_strings(encoder: TextEncoder, strings: Sequence[str], max_tokens: int) -> Tensor:
    """Return the vectors of a few strings, ``[U, D]``, as constants.

    Parameters
    ----------
    encoder : TextEncoder
        Frozen as a whole.
    strings : sequence of str
        ``[U]`` strings.
    max_tokens : int
        Longer ones are cut.
    """
    tokenizer = Tokenizer.from_str(encoder.tokenizer)
    tokenizer.enable_truncation(max_tokens)
    tokenizer.enable_padding()
    encoded = tokenizer.encode_batch(list(strings))
    with torch.no_grad():
        return encoder(  # type: ignore[no-any-return]  # nn.Module calls are untyped
            torch.tensor([encoding.ids for encoding in encoded]), [sum(encoding.attention_mask) for encoding in encoded]
        )


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


def _block(lengths: Sequence[int], start: int, stop: int) -> Block:
    return Block(start, stop, lengths[stop - 1], uneven=lengths[start] < lengths[stop - 1])


def _views(tokens: Tensor, blocks: list[Block]) -> list[Tensor]:
    """Cut ``[T, D]`` into ``[n, L, D]``, one view per block."""
    sizes = [(b.stop - b.start) * b.length for b in blocks]
    parts = zip(torch.split(tokens, sizes), blocks, strict=True)
    return [part.view(b.stop - b.start, b.length, -1) for part, b in parts]


def _mask(lengths: Tensor, block: Block) -> Tensor:
    """Return ``[n, 1, 1, L]``: which tokens of a block are no padding."""
    return (torch.arange(block.length, device=lengths.device) < lengths[:, None])[:, None, None]


def _attend(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, *, heads: int, dropout: float) -> Tensor:
    """Multi-head attention of ``[n, Q, D]`` over ``[n, L, D]``; returns ``[n * Q, D]``."""
    q, k, v = (x.view(*x.shape[:2], heads, -1).transpose(1, 2) for x in (query, key, value))
    context = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, dropout_p=dropout)
    return context.transpose(1, 2).reshape(-1, query.shape[-1])


def _means(hidden: Tensor, blocks: list[Block], lengths: Tensor) -> Tensor:
    """Average the tokens of each string: ``[T, D]`` to ``[U, D]``."""
    means = []
    for view, block in zip(_views(hidden, blocks), blocks, strict=True):
        own = lengths[block.start : block.stop]
        kept = view * _mask(own, block)[:, 0, 0, :, None]
        means.append(kept.sum(dim=1) / own[:, None])
    return torch.cat(means)
