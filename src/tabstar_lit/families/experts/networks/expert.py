"""What all experts have in common: causal maps of states, which remember a text that is read bit by bit."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor, nn

from tabstar_lit.nn.decoders import State
from tabstar_lit.nn.masking import document_mask
from tabstar_lit.nn.positions import positions_in_documents


class Expert(nn.Module, ABC):
    """A causal map of states: what comes out at a token depends on that token and those before it, in its document."""

    @abstractmethod
    def forward(self, states: Tensor, documents: Tensor | None = None, cache: Any = None) -> Tensor:
        """Map states of a text.

        Parameters
        ----------
        states : Tensor
            ``[B, T, D]``.
        documents : Tensor or None
            ``[B, T]`` integers, which document of the row each state is of, -1 for padding; None: all of one.
        cache : State or None
            What :meth:`start` returned, or the last call left: ``states`` are the next ones of the same documents, and
            padding stands on the left of the first. For inference alone.

        Returns
        -------
        Tensor
            ``[B, T, D]``, normalised.
        """

    @abstractmethod
    def start(self) -> State:
        """Return the cache of a text of which nothing is read."""


def attention_mask(documents: Tensor | None) -> Tensor | None:
    """Return ``[B, T, T]``, True within a document; None where there is one alone."""
    return None if documents is None else document_mask(documents)


def places(states: Tensor, documents: Tensor | None) -> Tensor:
    """Return the positions of states ``[B, T, D]`` in their documents: ``[T]``, or ``[B, T]`` where these are told."""
    if documents is None:
        return torch.arange(states.shape[1], device=states.device)
    return positions_in_documents(documents)


def initialise(network: nn.Module, std: float = 0.02) -> None:
    """Draw all matrices from a normal distribution and set all biases to zero, as GPT-2 does."""
    for module in network.modules():
        if isinstance(module, nn.Linear | nn.Embedding):
            nn.init.normal_(module.weight, std=std)
        if isinstance(module, nn.Linear) and module.bias is not None:
            nn.init.zeros_(module.bias)
