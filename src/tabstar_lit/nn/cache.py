"""What a decoder remembers from one step to the next, so that a token is computed once.

For inference: what is remembered is written in place and carries no gradient.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor


class KeyValue(NamedTuple):
    """What one attention layer makes of the tokens that are attended to.

    Attributes
    ----------
    key, value : Tensor
        ``[B, H, P, D]``.
    """

    key: Tensor
    value: Tensor

    def select(self, rows: Tensor) -> KeyValue:
        """Return these rows, in this order; a row may be taken more than once."""
        return KeyValue(self.key.index_select(0, rows), self.value.index_select(0, rows))


class KeyValueCache:
    """Keys and values of all tokens that one layer of self-attention has seen; the room for them doubles as it fills.

    Attributes
    ----------
    length : int
        How many tokens it has seen.
    """

    def __init__(self, room: Tensor | None = None, length: int = 0) -> None:
        self._room, self.length = room, length

    def extend(self, new: KeyValue) -> KeyValue:
        """Add ``T`` tokens and return all, the new ones last."""
        both = torch.stack(new)
        start, self.length = self.length, self.length + both.shape[3]
        if self._room is None or self.length > self._room.shape[3]:
            wider = both.new_empty(*both.shape[:3], 2 * self.length, both.shape[4])
            if self._room is not None:
                wider[:, :, :, :start] = self._room[:, :, :, :start]
            self._room = wider
        self._room[:, :, :, start : self.length] = both
        return self.followed_by()

    def followed_by(self, *new: KeyValue) -> KeyValue:
        """Return all that it has seen and then ``new``, of which it takes no note.

        Raises
        ------
        ValueError
            It has seen nothing.
        """
        if self._room is None:
            raise ValueError("nothing has been seen yet")
        seen = KeyValue(*self._room[:, :, :, : self.length].unbind())
        return KeyValue(*(torch.cat(parts, dim=2) for parts in zip(seen, *new, strict=True))) if new else seen

    def select(self, rows: Tensor) -> KeyValueCache:
        """Return a cache of these rows, in this order; a row may be taken more than once."""
        return KeyValueCache(None if self._room is None else self._room.index_select(1, rows), self.length)


class DecoderCache:
    """What a stack of blocks remembers: the tokens so far, layer by layer, and on request a source they were told of.

    Parameters
    ----------
    layers : sequence of KeyValueCache
        Of the blocks' attention to the tokens before.
    sources : sequence of KeyValue
        What each block's cross-attention makes of the source, computed once.
    source_mask : Tensor or None
        ``[B, P]`` bool, True where the source has something; None: everywhere.
    """

    def __init__(
        self,
        layers: Sequence[KeyValueCache],
        sources: Sequence[KeyValue] = (),
        source_mask: Tensor | None = None,
    ) -> None:
        self.layers, self.sources, self.source_mask = tuple(layers), tuple(sources), source_mask
        self._seen = 0
        self._there: Tensor | None = None
        self._source_of = torch.arange(len(sources[0].key), device=sources[0].key.device) if sources else None

    def admit(self, tokens: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """Take note of the tokens that come next; padding on the left of the shorter prompts takes no position.

        Parameters
        ----------
        tokens : Tensor
            ``[B, T]``.
        mask : Tensor or None
            ``[B, T]`` bool, True where there is a token; None: everywhere.

        Returns
        -------
        positions : Tensor
            Of the new tokens, ``[T]`` where no row has padding, else ``[B, T]``.
        mask : Tensor or None
            ``[B, P]`` over all tokens so far, the mask for self-attention; None where no row has padding.
        """
        before, self._seen = self._seen, self._seen + tokens.shape[1]
        if mask is None and self._there is None:
            return torch.arange(before, self._seen, device=tokens.device), None
        old = self._there if self._there is not None else _everywhere(tokens, before)
        new = mask if mask is not None else _everywhere(tokens, tokens.shape[1])
        self._there = torch.cat([old, new], dim=1)
        positions = self._there.cumsum(1)[:, before:] - 1
        return positions.clamp(min=0), self._there

    def select(self, rows: Tensor) -> DecoderCache:
        """Return what is remembered of these rows, in this order; a row may be taken more than once."""
        chosen = DecoderCache([layer.select(rows) for layer in self.layers])
        chosen._seen = self._seen
        chosen._there = None if self._there is None else self._there.index_select(0, rows)
        if self._source_of is None:
            return chosen
        chosen._source_of = self._source_of[rows]
        chosen.sources, chosen.source_mask = self.sources, self.source_mask
        # Beams of one prompt read one source, which is long: it is copied only where rows come to read another.
        if not torch.equal(chosen._source_of, self._source_of):
            chosen.sources = tuple(source.select(rows) for source in self.sources)
            chosen.source_mask = None if self.source_mask is None else self.source_mask.index_select(0, rows)
        return chosen


def _everywhere(tokens: Tensor, length: int) -> Tensor:
    return torch.ones(tokens.shape[0], length, dtype=torch.bool, device=tokens.device)
