"""Stacks of linear layers: plain, gated, residual, and as an ensemble that shares its weights."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from tabstar_lit.nn.activations import is_gated, make_activation


class EnsembleLinear(nn.Module):
    """A linear layer of ``M`` networks that differ by scales and bias (BatchEnsemble as in TabM, arXiv 2410.24210).

    Member ``m`` computes ``(x * r_m) @ W.T * s_m + b_m`` with one ``W`` for all.

    Parameters
    ----------
    n_in, n_out : int
        Widths.
    members : int
        Number of networks ``M``.
    first : bool
        Whether this is the first layer, whose input scales start as random signs: they make the members differ.
        All other scales start as one.
    """

    def __init__(self, n_in: int, n_out: int, members: int, *, first: bool = False) -> None:
        super().__init__()
        bound = 1.0 / math.sqrt(n_in)
        signs = torch.randint(0, 2, (members, n_in)).float() * 2 - 1
        self.weight = nn.Parameter(torch.empty(n_out, n_in).uniform_(-bound, bound))
        self.scale_in = nn.Parameter(signs if first else torch.ones(members, n_in))
        self.scale_out = nn.Parameter(torch.ones(members, n_out))
        self.bias = nn.Parameter(torch.empty(members, n_out).uniform_(-bound, bound))

    def forward(self, x: Tensor) -> Tensor:
        """Map ``[B, M, n_in]`` to ``[B, M, n_out]``."""
        return torch.addcmul(self.bias, functional.linear(x * self.scale_in, self.weight), self.scale_out)


class BatchNorm(nn.BatchNorm1d):
    """BatchNorm of ``[B, D]`` that takes a batch of one event as it would in evaluation.

    One event has no variance, and ``torch.nn.BatchNorm1d`` refuses it; the last batch of an epoch may be one.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Normalise over the batch, same shape."""
        if self.training and x.shape[0] == 1:
            return functional.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)
        return super().forward(x)


class MemberBatchNorm(BatchNorm):
    """BatchNorm of ``[B, M, D]``, each member by itself."""

    def __init__(self, width: int, members: int) -> None:
        super().__init__(members * width)

    def forward(self, x: Tensor) -> Tensor:
        """Normalise over the batch, same shape."""
        return super().forward(x.flatten(1)).view_as(x)


class FeedForward(nn.Sequential):
    """Hidden layers, each Linear, BatchNorm, activation, Dropout.

    Dropout stands last because BatchNorm after it would learn a variance that evaluation does not have
    (arXiv 1801.05134).

    Parameters
    ----------
    n_in : int
        Width of the input.
    widths : sequence of int
        Width of each hidden layer.
    act, act_kwargs
        Activation, see :func:`tabstar_lit.nn.activations.make_activation`. A gated one is given twice the width.
    batchnorm : bool
        Whether to normalise before the activation; the input is ``[B, D]`` then, or ``[B, M, D]`` with `members`.
    dropout : float
        Probability; 0 adds no layer.
    members : int
        With more than 1, an ensemble over ``[B, M, n_in]``.
    """

    def __init__(
        self,
        n_in: int,
        widths: Sequence[int],
        *,
        act: str | None = "ReLU",
        act_kwargs: Mapping[str, Any] | None = None,
        batchnorm: bool = False,
        dropout: float = 0.0,
        members: int = 1,
    ) -> None:
        layers: list[nn.Module] = []
        for index, width in enumerate(widths):
            inner = width * 2 if is_gated(act) else width
            layers.append(linear(n_in, inner, members, first=index == 0))
            if batchnorm:
                layers.append(BatchNorm(inner) if members == 1 else MemberBatchNorm(inner, members))
            layers.append(make_activation(act, act_kwargs))
            if dropout > 0:
                layers.append(nn.Dropout(dropout))
            n_in = width
        super().__init__(*layers)
        self.n_out = n_in


class ResidualBlock(nn.Module):
    """Residual block of ResNet for tables (arXiv 2106.11959): ``x + Linear(Dropout(act(Linear(BatchNorm(x)))))``.

    Parameters
    ----------
    width : int
        Width of the input and the output.
    hidden : int
        Width inside the block.
    size : int
        Linear layers in the block; the paper has 2.
    act, act_kwargs
        Activation; see :class:`FeedForward`.
    batchnorm : bool
        Whether to normalise the input.
    dropout : float
        Probability, after each activation.
    """

    def __init__(
        self,
        width: int,
        hidden: int,
        *,
        size: int = 2,
        act: str | None = "ReLU",
        act_kwargs: Mapping[str, Any] | None = None,
        batchnorm: bool = True,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        inner = FeedForward(width, [hidden] * (size - 1), act=act, act_kwargs=act_kwargs, dropout=dropout)
        norm = BatchNorm(width) if batchnorm else nn.Identity()
        self.layers = nn.Sequential(norm, inner, nn.Linear(inner.n_out, width))

    def forward(self, x: Tensor) -> Tensor:
        """Map ``[B, width]`` to ``[B, width]``."""
        change: Tensor = self.layers(x)
        return x + change


class PointwiseFeedForward(nn.Sequential):
    """The feed-forward part of a transformer block, Linear, activation, Dropout, Linear: ``[..., E]`` to ``[..., E]``.

    Parameters
    ----------
    width : int
        Length ``E`` of a token.
    hidden : int
        Width after the activation; one with a gate (``GeGLU``, ``SwiGLU``; arXiv 2002.05202) is given twice as much.
    act : str
        Activation, see :func:`tabstar_lit.nn.activations.make_activation`.
    dropout : float
        Probability, between the two layers.
    bias : bool
        Whether the layers have biases.
    """

    def __init__(self, width: int, hidden: int, *, act: str = "GELU", dropout: float = 0.0, bias: bool = True) -> None:
        super().__init__(
            nn.Linear(width, 2 * hidden if is_gated(act) else hidden, bias=bias),
            make_activation(act),
            nn.Dropout(dropout),
            nn.Linear(hidden, width, bias=bias),
        )


def linear(n_in: int, n_out: int, members: int = 1, *, first: bool = False) -> nn.Module:
    """Return ``nn.Linear``, or the layer of an ensemble when there is more than one member."""
    return nn.Linear(n_in, n_out) if members == 1 else EnsembleLinear(n_in, n_out, members, first=first)
