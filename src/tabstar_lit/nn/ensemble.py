"""An ensemble of small heads on one trunk, all computed at once."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from tabstar_lit.nn.activations import is_gated, make_activation


class HeadLinear(nn.Module):
    """A linear layer for each of ``C`` heads, with no weight in common.

    Parameters
    ----------
    heads : int
        Number of heads ``C``.
    n_in, n_out : int
        Widths.
    """

    def __init__(self, heads: int, n_in: int, n_out: int) -> None:
        super().__init__()
        bound = 1.0 / math.sqrt(n_in)
        self.weight = nn.Parameter(torch.empty(heads, n_in, n_out).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(heads, 1, n_out).uniform_(-bound, bound))

    def forward(self, x: Tensor) -> Tensor:
        """Map ``[C, B, n_in]`` to ``[C, B, n_out]``."""
        return torch.baddbmm(self.bias, x, self.weight)


class HeadLayerNorm(nn.Module):
    """LayerNorm with a scale and a shift for each of ``C`` heads: ``[C, B, D]`` to the same."""

    def __init__(self, heads: int, width: int) -> None:
        super().__init__()
        self.width = width
        self.scale = nn.Parameter(torch.ones(heads, 1, width))
        self.shift = nn.Parameter(torch.zeros(heads, 1, width))

    def forward(self, x: Tensor) -> Tensor:
        """Normalise each event of each head."""
        return nn.functional.layer_norm(x, (self.width,)) * self.scale + self.shift


class EnsembleHeads(nn.Module):
    """``C`` independent networks over one vector an event: deep ensembles (arXiv 1612.01474) that share their trunk.

    Unlike the members of :class:`tabstar_lit.nn.feed_forward.EnsembleLinear` heads share no weight, so that each can
    follow the weights its own bootstrap sample gives the events.

    Parameters
    ----------
    n_in : int
        Width of the trunk's output.
    heads : int
        Number of heads ``C``.
    widths : sequence of int
        Hidden layers of a head; none makes it a linear layer.
    act, act_kwargs
        Activation, see :func:`tabstar_lit.nn.activations.make_activation`. A gated one is given twice the width.
    act_out : str, optional
        Activation of the outputs.
    dropout : float
        Probability, after each activation.
    layernorm : bool
        LayerNorm before each activation.
    """

    def __init__(
        self,
        n_in: int,
        heads: int,
        widths: Sequence[int] = (),
        *,
        act: str | None = "ReLU",
        act_kwargs: Mapping[str, Any] | None = None,
        act_out: str | None = None,
        dropout: float = 0.0,
        layernorm: bool = False,
    ) -> None:
        super().__init__()
        self.heads = heads
        layers: list[nn.Module] = []
        for width in widths:
            inner = width * 2 if is_gated(act) else width
            layers.append(HeadLinear(heads, n_in, inner))
            if layernorm:
                layers.append(HeadLayerNorm(heads, inner))
            layers.append(make_activation(act, act_kwargs))
            if dropout > 0:
                layers.append(nn.Dropout(dropout))
            n_in = width
        self.layers = nn.Sequential(*layers, HeadLinear(heads, n_in, 1), make_activation(act_out))

    def forward(self, x: Tensor) -> Tensor:
        """Map ``[B, n_in]`` to ``[B, C]``, one output of each head."""
        outputs: Tensor = self.layers(x.expand(self.heads, *x.shape))
        return outputs.squeeze(-1).T
