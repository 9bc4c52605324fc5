"""What texts can be generated from: a network that gives the next token's logits and remembers the tokens before."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Generic, NamedTuple, Protocol, Self, TypeVar

import torch
from torch import Tensor, nn

Context = TypeVar("Context")
ContextIn = TypeVar("ContextIn", contravariant=True)


class State(Protocol):
    """What a decoder remembers of each row: keys and values, a recurrent state, or just the tokens."""

    def select(self, rows: Tensor) -> Self:
        """Return the memory of these rows ``[N]``, in this order; a row may be taken more than once."""
        ...


StateOf = TypeVar("StateOf", bound=State)


class Writer(Protocol):
    """What writes: it is a module, or holds some."""

    def modules(self) -> Iterator[nn.Module]:
        """Give the modules that are put in evaluation while it writes."""
        ...


class Decoder(Writer, Protocol[ContextIn, StateOf]):
    """A network that writes token by token."""

    def start(self, context: ContextIn) -> StateOf:
        """Return the memory before the first token, such as of an encoded source; ``context`` has a row for each text.

        A decoder that reads nothing but tokens is given None.
        """
        ...

    def step(self, tokens: Tensor, state: StateOf, mask: Tensor | None = None) -> tuple[Tensor, StateOf]:
        """Read tokens and predict what comes after the last.

        Parameters
        ----------
        tokens : Tensor
            ``[B, T]``: the prompts at first, then one token at a time.
        state : StateOf
            What is remembered of the tokens before; it may be changed in place.
        mask : Tensor or None
            ``[B, T]`` bool, False for the padding on the left of the shorter prompts; None: all are tokens.

        Returns
        -------
        logits : Tensor
            ``[B, V]`` of the token after the last.
        state : StateOf
            What is remembered now.
        """
        ...


class Prefix(NamedTuple):
    """All that a network without a memory must be given again.

    Attributes
    ----------
    source : tuple of Tensor
        ``[B, ...]`` each.
    tokens : Tensor or None
        ``[B, T]``; None before the first.
    mask : Tensor or None
        ``[B, T]``; None where no row has padding.
    """

    source: tuple[Tensor, ...]
    tokens: Tensor | None = None
    mask: Tensor | None = None

    def select(self, rows: Tensor) -> Prefix:
        """Return these rows."""
        tokens, mask = (None if part is None else part[rows] for part in self[1:])
        return Prefix(tuple(part[rows] for part in self.source), tokens, mask)

    def followed_by(self, tokens: Tensor, mask: Tensor | None) -> Prefix:
        """Return it with ``T`` more tokens."""
        if self.tokens is None:
            return Prefix(self.source, tokens, mask)
        if self.mask is not None or mask is not None:
            old, new = self.mask, mask
            old = torch.ones_like(self.tokens, dtype=torch.bool) if old is None else old
            mask = torch.cat([old, torch.ones_like(tokens, dtype=torch.bool) if new is None else new], dim=1)
        return Prefix(self.source, torch.cat([self.tokens, tokens], dim=1), mask)


class Recomputed(nn.Module):
    """A network without a memory as a decoder: each step runs it on all tokens again.

    Parameters
    ----------
    network : nn.Module
        Maps the tensors of the context, tokens ``[B, T]`` and their mask ``[B, T]`` or None to logits ``[B, T, V]``.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def start(self, context: Sequence[Tensor] | None) -> Prefix:
        """Keep the context."""
        return Prefix(tuple(context or ()))

    def step(self, tokens: Tensor, state: Prefix, mask: Tensor | None = None) -> tuple[Tensor, Prefix]:
        """Run the network on everything so far; see :meth:`Decoder.step`."""
        prefix = state.followed_by(tokens, mask)
        logits: Tensor = self.network(*prefix.source, prefix.tokens, prefix.mask)
        return logits[:, -1], prefix


class Pair(NamedTuple, Generic[StateOf]):
    """The memories of a text with its condition and without."""

    told: StateOf
    untold: StateOf

    def select(self, rows: Tensor) -> Pair[StateOf]:
        """Return these rows of both."""
        return Pair(self.told.select(rows), self.untold.select(rows))


class Guided(nn.Module, Generic[Context, StateOf]):
    """Classifier-free guidance (arXiv 2207.12598; for texts 2306.17806): go beyond what the condition changes.

    Its context is a pair: the condition, and what the decoder was trained with in its place where it was left out.

    Parameters
    ----------
    decoder : Decoder
        What it guides.
    scale : float
        Log-probabilities go from those without the condition (0) to those with it (1) and on (above).
    """

    def __init__(self, decoder: Decoder[Context, StateOf], scale: float) -> None:
        super().__init__()
        self.decoder, self.scale = decoder, scale

    def start(self, context: tuple[Context, Context]) -> Pair[StateOf]:
        """Start both texts."""
        return Pair(self.decoder.start(context[0]), self.decoder.start(context[1]))

    def step(self, tokens: Tensor, state: Pair[StateOf], mask: Tensor | None = None) -> tuple[Tensor, Pair[StateOf]]:
        """Read the same tokens with and without the condition; see :meth:`Decoder.step`."""
        told, told_state = self.decoder.step(tokens, state.told, mask)
        untold, untold_state = self.decoder.step(tokens, state.untold, mask)
        guided = torch.lerp(untold.float().log_softmax(-1), told.float().log_softmax(-1), self.scale)
        return guided, Pair(told_state, untold_state)


@contextmanager
def evaluating(writer: Writer) -> Iterator[None]:
    """Put all modules in evaluation while they write, and afterwards those in training that were."""
    training = [module for module in writer.modules() if module.training]
    for module in training:
        module.training = False
    try:
        yield
    finally:
        for module in training:
            module.training = True
