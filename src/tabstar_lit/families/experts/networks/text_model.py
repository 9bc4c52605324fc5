"""A language model around an expert: embedding, expert, and the embedding again as its head."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.nn import functional

from tabstar_lit.families.experts.networks.expert import Expert, initialise
from tabstar_lit.nn.decoders import State


class TextModel(nn.Module):
    """The next token from those before it.

    Parameters
    ----------
    vocabulary : int
        Number of tokens ``V``.
    width : int
        Length ``D`` of a state.
    expert : Expert
        Maps embedded tokens to states.
    dropout : float
        Of embedded tokens.
    """

    def __init__(self, vocabulary: int, width: int, expert: Expert, *, dropout: float = 0.0) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, width)
        initialise(self.embedding)
        self.dropout = nn.Dropout(dropout)
        self.expert = expert

    def forward(self, tokens: Tensor, documents: Tensor | None = None, cache: Any = None) -> Tensor:
        """Return the states ``[B, T, D]`` of tokens ``[B, T]``; for the rest see :meth:`Expert.forward`."""
        states: Tensor = self.expert(self.dropout(self.embedding(tokens)), documents, cache)
        return states

    def logits(self, states: Tensor) -> Tensor:
        """Return the logits ``[..., V]`` of the token after each state ``[..., D]``."""
        return functional.linear(states, self.embedding.weight)

    def start(self) -> State:
        """Return the cache of a text of which nothing is read."""
        return self.expert.start()
