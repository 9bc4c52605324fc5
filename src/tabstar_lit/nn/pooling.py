"""Ways to make one vector of several, ``[..., T, E]`` to ``[..., E]``, and what is linear among them.

A linear reduction of embedded features is a sum over features ``t`` of ``A_t e_t`` plus a constant. Where the embedding
is linear too, ``e_t = z_t W_t + b_t``, the two are one matrix product with ``W_t A_t``, and the ``T`` vectors are never
made: :meth:`LinearReduction.fold` gives that product.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from tabstar_lit.nn.masking import masked_softmax


class LinearReduction(nn.Module, ABC):
    """A reduction that is a sum of linear maps of the ``T`` vectors."""

    @abstractmethod
    def contract(self, tokens: Tensor, start: int = 0) -> Tensor:
        """Reduce vectors ``start, start + 1, ...`` alone, without the constant: ``[..., n, E]`` to ``[..., E']``."""

    @abstractmethod
    def fold(self, weight: Tensor) -> Tensor:
        """Apply each feature's own map to its rows: ``[n, K, E]`` of the first ``n`` to ``[n, K, E']``."""

    def constant(self) -> Tensor | None:
        """Return what is added at the end, if anything."""
        return None

    def forward(self, tokens: Tensor) -> Tensor:
        """Reduce ``[..., T, E]`` to ``[..., E']``."""
        reduced, constant = self.contract(tokens), self.constant()
        return reduced if constant is None else reduced + constant


class MeanReduction(LinearReduction):
    """The mean of ``T`` vectors."""

    def __init__(self, n_tokens: int) -> None:
        super().__init__()
        self.n_tokens = n_tokens

    def contract(self, tokens: Tensor, start: int = 0) -> Tensor:
        """Sum and divide by ``T``."""
        return tokens.sum(-2) / self.n_tokens

    def fold(self, weight: Tensor) -> Tensor:
        """Divide by ``T``."""
        return weight / self.n_tokens


class WeightedReduction(LinearReduction):
    """A learned weight for each vector and one bias: a convolution with the features as channels, kernel size 1."""

    def __init__(self, n_tokens: int) -> None:
        super().__init__()
        bound = 1.0 / math.sqrt(n_tokens)
        self.weight = nn.Parameter(torch.empty(n_tokens).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(1).uniform_(-bound, bound))

    def contract(self, tokens: Tensor, start: int = 0) -> Tensor:
        """Weigh and sum."""
        return torch.einsum("...te,t->...e", tokens, self.weight[start : start + tokens.shape[-2]])

    def fold(self, weight: Tensor) -> Tensor:
        """Multiply by each feature's weight."""
        return weight * self.weight[: weight.shape[0], None, None]

    def constant(self) -> Tensor:
        """Return the bias."""
        return self.bias


class ReshapeReduction(LinearReduction):
    """One linear layer over all vectors side by side."""

    def __init__(self, n_tokens: int, width: int) -> None:
        super().__init__()
        bound = 1.0 / math.sqrt(n_tokens * width)
        self.weight = nn.Parameter(torch.empty(n_tokens, width, width).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(width).uniform_(-bound, bound))

    def contract(self, tokens: Tensor, start: int = 0) -> Tensor:
        """Multiply the flattened vectors by their part of the matrix."""
        part = self.weight[start : start + tokens.shape[-2]]
        return tokens.flatten(-2) @ part.flatten(0, 1)

    def fold(self, weight: Tensor) -> Tensor:
        """Multiply each feature's rows by its part of the matrix."""
        return weight @ self.weight[: weight.shape[0]]

    def constant(self) -> Tensor:
        """Return the bias."""
        return self.bias


class AttentionPooling(nn.Module):
    """Mean of the vectors with weights from a softmax over one learned score each; padding has no weight.

    Parameters
    ----------
    width : int
        Length ``E`` of a vector.
    scaled : bool
        Whether scores are divided by ``sqrt(E)``, as those of an attention are; they have no bias then.
    """

    def __init__(self, width: int, *, scaled: bool = False) -> None:
        super().__init__()
        self.score = nn.Linear(width, 1, bias=not scaled)
        self.scale = 1 / math.sqrt(width) if scaled else 1.0

    def forward(self, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
        """Reduce ``[..., T, E]`` to ``[..., E]``; ``mask`` ``[..., T]`` is True where a vector counts, none gives 0."""
        return self.mean(tokens, self.weights(tokens, mask), mask)

    def weights(self, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return the weight of each vector ``[..., T]``; they sum to 1, or to 0 where there is no vector."""
        scores = self.score(tokens).squeeze(-1)
        if self.scale != 1.0:
            scores = scores * self.scale
        return functional.softmax(scores, dim=-1) if mask is None else masked_softmax(scores, mask)

    @staticmethod
    def mean(tokens: Tensor, weights: Tensor, mask: Tensor | None = None) -> Tensor:
        """Sum ``[..., T, E]`` with weights ``[..., T]``; what is not in the mask may be infinite."""
        if mask is not None:
            tokens = torch.where(mask[..., None], tokens, 0.0)
        return torch.einsum("...te,...t->...e", tokens, weights)


def make_reduction(name: str, n_tokens: int, width: int) -> nn.Module:
    """Build the reduction of ``n_tokens`` vectors by its name in a configuration; ``none`` keeps them.

    Raises
    ------
    KeyError
        When there is no such name; configurations are checked before.
    """
    if name == "attn":
        return AttentionPooling(width)
    if name == "reshape":
        return ReshapeReduction(n_tokens, width)
    simple: dict[str, Callable[[int], LinearReduction]] = {
        "mean": MeanReduction,
        "conv1d": WeightedReduction,
        "conv2d": WeightedReduction,
    }
    return nn.Identity() if name == "none" else simple[name](n_tokens)
