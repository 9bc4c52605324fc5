"""A language model around the continuous diffusion expert, which reads a frozen transformer's states."""

from __future__ import annotations

from typing import Any, NamedTuple, Self

import torch
from torch import Tensor

from tabstar_lit.families.experts.networks.denoiser import DiffuserExpert
from tabstar_lit.families.experts.networks.text_model import TextModel
from tabstar_lit.families.experts.networks.transformer import TransformerExpert
from tabstar_lit.losses.classification import at_least_single
from tabstar_lit.nn.decoders import State


class Caches(NamedTuple):
    """What several networks remember of a text, in the order in which they read it."""

    each: tuple[Any, ...]

    def select(self, rows: Tensor) -> Self:
        """Return what is remembered of these rows, in this order; a row may be taken more than once."""
        return type(self)(tuple(one.select(rows) for one in self.each))


class DiffusionModel(TextModel):
    """The next token from a transformer's states after noise and denoising; only the denoiser is trained.

    Parameters
    ----------
    vocabulary, width
        As of :class:`TextModel`.
    encoder : TransformerExpert
        The trained transformer, with its embedding in :attr:`embedding`.
    expert : DiffuserExpert
        The denoiser.
    """

    expert: DiffuserExpert

    def __init__(self, vocabulary: int, width: int, encoder: TransformerExpert, expert: DiffuserExpert) -> None:
        super().__init__(vocabulary, width, expert)
        self.encoder = encoder
        for module in (self.embedding, self.encoder):
            module.requires_grad_(False)

    def encoded(self, tokens: Tensor, documents: Tensor | None = None, cache: Any = None) -> Tensor:
        """Return the transformer's states ``[B, T, D]`` of tokens ``[B, T]``, without a gradient."""
        with torch.no_grad():
            states: Tensor = self.encoder(self.embedding(tokens), documents, cache)
        return states

    def forward(self, tokens: Tensor, documents: Tensor | None = None, cache: Caches | None = None) -> Tensor:
        """Return the denoised states ``[B, T, D]`` of tokens ``[B, T]``."""
        encoder, denoiser = (None, None) if cache is None else cache.each
        states: Tensor = self.expert(self.encoded(tokens, documents, encoder), documents, denoiser)
        return states

    def start(self) -> State:
        """Return the caches of a text of which nothing is read."""
        return Caches((self.encoder.start(), self.expert.start()))


def noise_error(found: Tensor, noise: Tensor, there: Tensor, count: int) -> Tensor:
    """Return the mean squared error of noise ``[B, T, D]`` at the ``count`` places of ``there`` ``[B, T]``."""
    each = (at_least_single(found) - noise).square().mean(-1)
    return torch.where(there, each, 0.0).sum() / max(count, 1)
