"""Text models as decoders, which :func:`tabstar_lit.nn.generation.generate` writes with: with a memory, or without."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from tabstar_lit.nn.decoders import Decoder, Recomputed, State


class TextDecoder(nn.Module):
    """A text model, or a mixture of them, that reads each token once.

    Parameters
    ----------
    network : nn.Module
        One of :func:`tabstar_lit.families.experts.networks.build.build`.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network: Any = network

    def start(self, context: None) -> State:
        """Return the memory of a text of which nothing is read."""
        memory: State = self.network.start()
        return memory

    def step(self, tokens: Tensor, state: State, mask: Tensor | None = None) -> tuple[Tensor, State]:
        """Read tokens; see :meth:`tabstar_lit.nn.decoders.Decoder.step`."""
        states = self.network(tokens, as_documents(mask), state)
        return self.network.logits(states[:, -1]), state


class WholeText(nn.Module):
    """A text model that reads all of a text to predict what comes after each of its tokens.

    Parameters
    ----------
    network : nn.Module
        As of :class:`TextDecoder`.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network: Any = network

    def forward(self, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return the logits ``[B, T, V]`` after each of the tokens ``[B, T]``; ``mask`` is False for padding."""
        logits: Tensor = self.network.logits(self.network(tokens, as_documents(mask)))
        return logits


def as_documents(mask: Tensor | None) -> Tensor | None:
    """Return which document each token is of, 0 or -1 for padding, from a mask that is False for padding."""
    return None if mask is None else mask.long() - 1


def decoder_of(network: nn.Module) -> Decoder[None, Any]:
    """Return the network as a decoder with a memory."""
    return TextDecoder(network)


def decoder_without_memory(network: nn.Module) -> Decoder[None, Any]:
    """Return the network as a decoder that runs on the whole text for every token, to compare with."""
    return Recomputed(WholeText(network))
