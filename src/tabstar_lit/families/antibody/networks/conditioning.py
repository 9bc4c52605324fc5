"""How a network is told the affinity: pKd standardised, as a vector, a token, or scales and shifts.

A pKd that is not known is NaN and has a meaning of its own everywhere: nothing is added, or a learned vector stands in
its place. Leaving it out at random in training is what classifier-free guidance needs (arXiv 2207.12598).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from tabstar_lit.families.antibody.pairs.scale import PkdScale


class StandardPkd(nn.Module):
    """Standardises pKd; its numbers are constants of the data and no weights."""

    mean: Tensor
    std: Tensor

    def __init__(self, scale: PkdScale) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(scale.mean, dtype=torch.float32), persistent=False)
        self.register_buffer("std", torch.tensor(scale.std, dtype=torch.float32), persistent=False)

    def forward(self, pkd: Tensor) -> tuple[Tensor, Tensor]:
        """Return the standard scores ``[B, 1]``, 0 where pKd ``[B]`` is not known, and whether it is ``[B, 1]``."""
        known = pkd.isfinite()[:, None]
        scores = (pkd[:, None].to(self.mean) - self.mean) / self.std
        return torch.where(known, scores, 0.0), known


class PkdVector(nn.Module):
    """A vector that says the affinity: ``Linear(1, E)``, GELU, ``Linear(E, E)``; zeros where it is not known."""

    def __init__(self, scale: PkdScale, width: int) -> None:
        super().__init__()
        self.standard = StandardPkd(scale)
        self.layers = nn.Sequential(nn.Linear(1, width), nn.GELU(), nn.Linear(width, width))

    def forward(self, pkd: Tensor) -> Tensor:
        """Map ``[B]`` to ``[B, E]``."""
        scores, known = self.standard(pkd)
        vectors: Tensor = self.layers(scores)
        return torch.where(known, vectors, 0.0)


class PkdToken(nn.Module):
    """A token that says the affinity, or that it is not known."""

    def __init__(self, scale: PkdScale, width: int) -> None:
        super().__init__()
        self.vector = PkdVector(scale, width)
        self.unknown = nn.Parameter(0.02 * torch.randn(width))

    def forward(self, pkd: Tensor) -> Tensor:
        """Map ``[B]`` to ``[B, 1, E]``."""
        return torch.where(pkd.isfinite()[:, None], self.vector(pkd), self.unknown)[:, None]


class Modulation(NamedTuple):
    """Scales and shifts of the tokens that enter the blocks of a decoder.

    Attributes
    ----------
    scale, shift : Tensor
        ``[B, L, E]`` for ``L`` blocks.
    """

    scale: Tensor
    shift: Tensor

    def at(self, block: int, x: Tensor) -> Tensor:
        """Return ``[B, T, E]`` as it enters a block."""
        return x * (1 + self.scale[:, block, None]) + self.shift[:, block, None]

    def select(self, rows: Tensor) -> Modulation:
        """Return these rows, in this order."""
        return Modulation(self.scale.index_select(0, rows), self.shift.index_select(0, rows))


class PkdModulation(nn.Module):
    """FiLM by the affinity (arXiv 1709.07871); starts as, and without a pKd is, no change at all."""

    def __init__(self, scale: PkdScale, width: int, blocks: int) -> None:
        super().__init__()
        self.standard = StandardPkd(scale)
        self.blocks = blocks
        self.inner = nn.Sequential(nn.Linear(1, width), nn.GELU())
        self.outer = nn.Linear(width, 2 * blocks * width)
        self.start_as_nothing()

    def start_as_nothing(self) -> None:
        """Set all scales and shifts to zero."""
        nn.init.zeros_(self.outer.weight)
        nn.init.zeros_(self.outer.bias)

    def forward(self, pkd: Tensor) -> Modulation:
        """Map ``[B]`` to scales and shifts of each block."""
        scores, known = self.standard(pkd)
        both = torch.where(known, self.outer(self.inner(scores)), 0.0)
        return Modulation(*both.view(len(pkd), 2, self.blocks, -1).unbind(1))
