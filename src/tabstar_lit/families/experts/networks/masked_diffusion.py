"""The masked diffusion expert: fills in hidden tokens block by block (block diffusion, BD3-LM, arXiv 2503.09573).

The network reads two texts at once. The clean one is causal and remembers. Beside it stands a slot for each token that
follows; a slot is hidden, or shows its token, and sees the clean text up to where its block begins, the shown slots of
its block and itself. Hidden slots are seen by no other, so that nothing follows from where a text ends.

As an expert it predicts every next token from all tokens before it: in as many copies of the slots as a block has
places, of which copy ``k`` shows the first ``k`` of each block.
"""

from __future__ import annotations

from typing import Self, cast

import torch
from torch import Generator, Tensor, nn

from tabstar_lit.families.experts.architecture import ExpertsArchitecture
from tabstar_lit.families.experts.networks.expert import Expert, initialise, places
from tabstar_lit.families.experts.networks.prefixes import Seen, SeenCache
from tabstar_lit.families.experts.networks.transformer import start_branches
from tabstar_lit.nn.attention import MultiHeadAttention
from tabstar_lit.nn.cache import DecoderCache, KeyValue, KeyValueCache
from tabstar_lit.nn.feed_forward import PointwiseFeedForward
from tabstar_lit.nn.masking import document_mask
from tabstar_lit.nn.norms import RMSNorm
from tabstar_lit.nn.positions import rotation
from tabstar_lit.nn.transformer import TransformerBlock


class Glance(KeyValueCache):
    """Keys and values of a clean text, to which the slots that look at it add nothing."""

    def __init__(self, clean: KeyValueCache) -> None:
        super().__init__()
        self.clean = clean

    def extend(self, new: KeyValue) -> KeyValue:
        """Return those of the clean text, then the new ones."""
        return self.clean.followed_by(new)


class MaskedCache:
    """What is remembered of a text: keys and values of the clean one, and its embedded tokens."""

    def __init__(self, clean: DecoderCache, seen: SeenCache) -> None:
        self.clean, self.seen = clean, seen

    def select(self, rows: Tensor) -> Self:
        """Return what is remembered of these rows, in this order; a row may be taken more than once."""
        return type(self)(self.clean.select(rows), self.seen.select(rows))


class MaskedExpert(Expert):
    """Blocks of attention over a clean text and the slots beside it, then a norm.

    Parameters
    ----------
    config : ExpertsArchitecture
        Resolved: width, heads, dropout and its ``diffuser``.
    """

    def __init__(self, config: ExpertsArchitecture) -> None:
        super().__init__()
        own, width, heads = config.diffuser, cast(int, config.width), cast(int, config.heads)
        self.block, self.dim_head, self.rope_base = own.block, width // heads, config.rope_base
        self.blocks = nn.ModuleList(
            TransformerBlock(
                MultiHeadAttention(width, heads, dropout=config.dropout, projection_bias=False),
                PointwiseFeedForward(width, 4 * width, act="SwiGLU", bias=False),
                width,
                norm=RMSNorm,
                dropout=config.dropout,
            )
            for _ in range(cast(int, own.layers))
        )
        self.norm = RMSNorm(width)
        self.hidden = nn.Embedding(1, width)
        initialise(self)
        for block in self.blocks:
            start_branches(cast(TransformerBlock, block), len(self.blocks), at_zero=False)

    def hide(
        self, there: Tensor, documents: Tensor | None = None, generator: Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        """Choose slots to hide: of each block a number that is drawn evenly from 1 to all.

        Parameters
        ----------
        there : Tensor
            ``[B, T]`` bool, True where a token follows; the others are always hidden, and count for nothing.
        documents : Tensor or None
            ``[B, T]``, as of :meth:`Expert.forward`.
        generator : torch.Generator or None
            Where the draws come from.

        Returns
        -------
        hidden : Tensor
            ``[B, T]`` bool.
        counted : Tensor
            ``[B, T]``, how often the loss of each slot counts: tokens of its block over hidden ones; 0 where shown.
        """
        positions, same = self._blocks(there, documents)
        same = same & there[:, None]
        size = same.sum(-1)
        draws = torch.rand((2, *there.shape), device=there.device, generator=generator)
        first = torch.arange(there.shape[1], device=there.device) - positions % self.block
        number = 1 + (draws[0].gather(1, first) * size).long()
        rank = (same & (draws[1][:, None] < draws[1][:, :, None])).sum(-1)
        hidden = (rank < number) | ~there
        return hidden, torch.where(hidden & there, size / number, 0.0)

    def fill(self, tokens: Tensor, following: Tensor, hidden: Tensor, documents: Tensor | None = None) -> Tensor:
        """Return the states of slots, from which their tokens are predicted.

        Parameters
        ----------
        tokens, following : Tensor
            ``[B, T, D]``: the embedded text, and what follows each of its tokens.
        hidden : Tensor
            ``[B, S, T]`` or ``[B, T]`` bool, which slots are hidden in each of ``S`` copies.
        documents : Tensor or None
            ``[B, T]``.

        Returns
        -------
        Tensor
            Of the shape of ``hidden``, with a last axis of ``D``.
        """
        copies = hidden if hidden.ndim == 3 else hidden[:, None]
        slots = torch.where(copies[..., None], self.hidden.weight[0].type_as(tokens), following[:, None])
        positions, same = self._blocks(tokens, documents)
        mask = self._mask(positions, same, copies, documents)
        where = torch.cat([positions, *[positions + 1] * copies.shape[1]], dim=1)
        turned = rotation(where, self.dim_head, self.rope_base)
        x = torch.cat([tokens, slots.flatten(1, 2)], dim=1)
        for block in self.blocks:
            x = block(x, mask=mask, rotation=turned)
        normed: Tensor = self.norm(x[:, tokens.shape[1] :])
        return normed.view(*hidden.shape, -1)

    def forward(self, states: Tensor, documents: Tensor | None = None, cache: MaskedCache | None = None) -> Tensor:
        """Return the states of hidden slots that are told all tokens before; see :meth:`Expert.forward`.

        With a cache, several states may be given at first only.
        """
        if cache is not None:
            seen = self.read(states, documents, cache)
            if states.shape[1] == 1:
                return self._next(seen, cache.clean)
        positions, _ = self._blocks(states, documents)
        offset = positions % self.block
        hidden = offset[:, None] >= torch.arange(self.block, device=states.device)[:, None]
        following = torch.cat([states[:, 1:], states[:, :1]], dim=1)  # the last is never shown to what is returned
        filled = self.fill(states, following, hidden, documents)
        return filled.gather(1, offset[:, None, :, None].expand(-1, 1, -1, states.shape[-1]))[:, 0]

    def read(self, states: Tensor, documents: Tensor | None, cache: MaskedCache) -> Seen:
        """Read more of the clean text into a cache, and return all that is seen; as :meth:`Expert.forward`."""
        seen = cache.seen.extend(states, documents)
        positions, there = cache.clean.admit(states[..., 0], None if documents is None else documents >= 0)
        turned = rotation(positions, self.dim_head, self.rope_base)
        for block, layer in zip(self.blocks, cache.clean.layers, strict=True):
            states = block(states, mask=there, causal=True, rotation=turned, cache=layer)
        return seen

    def begun(self, seen: Seen) -> tuple[Tensor, Tensor]:
        """Return what is known of the block that each row is in.

        Returns
        -------
        told : Tensor
            ``[B, block, D]``, the embedded tokens of its slots, anything where none is known.
        shown : Tensor
            ``[B, block]`` bool, which are known.
        """
        offset, length = seen.positions[:, -1:] % self.block, seen.vectors.shape[1]
        slots = torch.arange(self.block, device=offset.device)
        after = (length - offset + slots).clamp(max=length - 1)
        return seen.vectors.gather(1, after[..., None].expand(-1, -1, seen.vectors.shape[-1])), slots < offset

    def slots(self, seen: Seen, cache: DecoderCache, told: Tensor, shown: Tensor) -> Tensor:
        """Return the states ``[B, block, D]`` of the slots of the block that each row is in.

        Parameters
        ----------
        seen, cache : Seen, DecoderCache
            The text before: embedded, and as keys and values.
        told, shown : Tensor
            The slots as of :meth:`begun`, of which some may be filled in by now.
        """
        start = seen.positions[:, -1:] // self.block * self.block
        x = torch.where(shown[..., None], told, self.hidden.weight[0].type_as(told))
        clean = (seen.positions <= start) & (seen.documents == seen.documents[:, -1:])
        among = shown[:, None] | torch.eye(self.block, dtype=torch.bool, device=start.device)
        mask = torch.cat([clean[:, None].expand(-1, self.block, -1), among], dim=2)
        turned = rotation(start + torch.arange(1, self.block + 1, device=start.device), self.dim_head, self.rope_base)
        for block, layer in zip(self.blocks, cache.layers, strict=True):
            x = block(x, mask=mask, rotation=turned, cache=Glance(layer))
        normed: Tensor = self.norm(x)
        return normed

    def start(self) -> MaskedCache:
        """Return a cache of a text of which nothing is read."""
        return MaskedCache(DecoderCache([KeyValueCache() for _ in self.blocks]), SeenCache())

    def _blocks(self, rows: Tensor, documents: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return positions ``[B, T]``, and which slots are of one block ``[B, T, T]``; ``rows`` are ``[B, T, ...]``."""
        positions = places(rows, documents).expand(rows.shape[:2])
        number = positions // self.block
        same = number[:, :, None] == number[:, None]
        if documents is not None:
            same = same & (documents[:, :, None] == documents[:, None]) & (documents >= 0)[:, None]
        return positions, same

    def _mask(self, positions: Tensor, same: Tensor, hidden: Tensor, documents: Tensor | None) -> Tensor:
        """Return which of the clean text and ``S`` copies of slots sees which: ``[B, (1 + S) T, (1 + S) T]``."""
        rows, copies, length = hidden.shape
        own = torch.ones_like(same) if documents is None else document_mask(documents)
        clean = own & (positions[:, None] <= positions[:, :, None])
        before = own & (positions[:, None] <= (positions // self.block * self.block)[:, :, None])
        itself = torch.eye(length, dtype=torch.bool, device=same.device)
        mask = same.new_zeros(rows, 1 + copies, length, 1 + copies, length)
        mask[:, 0, :, 0] = clean
        mask[:, 1:, :, 0] = before[:, None]
        for copy in range(copies):
            mask[:, 1 + copy, :, 1 + copy] = same & ~hidden[:, copy, None] | itself
        return mask.flatten(3, 4).flatten(1, 2)

    def _next(self, seen: Seen, cache: DecoderCache) -> Tensor:
        """Return the state ``[B, 1, D]`` of the slot after the last token of each row."""
        offset = seen.positions[:, -1:] % self.block
        states = self.slots(seen, cache, *self.begun(seen))
        return states.gather(1, offset[..., None].expand(-1, -1, states.shape[-1]))
