"""What a decoder is told, and what it remembers while it writes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, NamedTuple

from torch import Tensor, nn

from tabstar_lit.families.antibody.networks.conditioning import Modulation
from tabstar_lit.nn.cache import DecoderCache


class Asked(NamedTuple):
    """What antibodies are asked for.

    Attributes
    ----------
    antigens : Tensor
        ``[B, A]`` int64 as of :class:`tabstar_lit.families.antibody.pairs.batch.PairBatch`.
    pkd : Tensor
        ``[B]`` float32, NaN where none is asked for.
    templates : Tensor or None
        ``[B, T]`` int64 antibodies in which UNKNOWN is to be filled in; None, and rows of PAD: there is none.
    """

    antigens: Tensor
    pkd: Tensor
    templates: Tensor | None = None

    def select(self, rows: Tensor) -> Asked:
        """Return these rows, in this order."""
        templates = None if self.templates is None else self.templates.index_select(0, rows)
        return Asked(self.antigens.index_select(0, rows), self.pkd.index_select(0, rows), templates)


class Source(NamedTuple):
    """What the encoder made of it.

    Attributes
    ----------
    memory : Tensor
        ``[B, S, E]``.
    mask : Tensor
        ``[B, S]`` bool, True where there is something.
    modulation : Modulation or None
        Of the decoder's blocks.
    """

    memory: Tensor
    mask: Tensor
    modulation: Modulation | None = None


class Writing(NamedTuple):
    """What a transformer remembers while it writes: keys and values, and how its blocks are modulated."""

    cache: DecoderCache
    modulation: Modulation | None = None

    def select(self, rows: Tensor) -> Writing:
        """Return these rows, in this order; a row may be taken more than once."""
        return Writing(self.cache.select(rows), None if self.modulation is None else self.modulation.select(rows))


class Writer(nn.Module, ABC):
    """A network that writes antibodies: all at once for training, or token by token.

    It is a :class:`tabstar_lit.nn.decoders.Decoder` of :class:`Asked`.
    """

    def forward(self, asked: Asked, tokens: Tensor) -> Tensor:
        """Return the logits ``[B, T, V]`` of the token that follows each of ``tokens`` ``[B, T]``."""
        return self.decode(self.encode(asked), tokens)

    @abstractmethod
    def encode(self, asked: Asked) -> Any:
        """Read what is asked for, once for any number of antibodies."""

    @abstractmethod
    def decode(self, source: Any, tokens: Tensor) -> Tensor:
        """Return the logits ``[B, T, V]`` of the token that follows each of ``tokens`` ``[B, T]``."""

    @abstractmethod
    def start(self, context: Asked) -> Any:
        """Return the memory before the first token."""

    @abstractmethod
    def step(self, tokens: Tensor, state: Any, mask: Tensor | None = None) -> tuple[Tensor, Any]:
        """Read tokens ``[B, T]``; return the logits ``[B, V]`` of the next one, and what is remembered now."""
