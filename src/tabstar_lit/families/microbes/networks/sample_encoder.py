"""From ASVs and their counts to what each ASV means in its sample."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tabstar_lit.families.microbes.networks.layers import Sizes
from tabstar_lit.nn.positions import LearnedPositions


class CountEmbedding(nn.Module):
    """Vectors of ASVs joined with ``ln(1 + count)``.

    Parameters
    ----------
    mode : str
        ``add`` a vector of the count, ``concat`` both into a linear layer, or scale and shift (``film``,
        arXiv 1709.07871).
    width : int
        Length ``D`` of a vector.
    """

    def __init__(self, mode: str, width: int) -> None:
        super().__init__()
        self.mode = mode
        self.count = nn.Linear(1, 2 * width if mode == "film" else width)
        if mode == "concat":
            self.join = nn.Linear(2 * width, width)

    def forward(self, vectors: Tensor, counts: Tensor) -> Tensor:
        """Map ``[B, S, D]`` and ``[B, S]`` to ``[B, S, D]``."""
        embedded: Tensor = self.count(counts.log1p()[..., None].to(vectors.dtype))
        if self.mode == "add":
            return vectors + embedded
        if self.mode == "concat":
            joined: Tensor = self.join(torch.cat([vectors, embedded], dim=-1))
            return joined
        scale, shift = embedded.chunk(2, dim=-1)
        return vectors * (1 + scale) + shift


class SampleEncoder(nn.Module):
    """Vectors of a sample's ASVs with their counts, and a transformer over them.

    Parameters
    ----------
    sizes : Sizes
        Width, heads, dropout.
    layers : int
        Layers of the transformer.
    counts : str
        How counts come in, see :class:`CountEmbedding`; ``none``: not at all.
    max_asvs : int or None
        Number of learned positions of ASVs, with which their order matters; None: it does not.
    """

    def __init__(self, sizes: Sizes, layers: int, *, counts: str = "none", max_asvs: int | None = None) -> None:
        super().__init__()
        self.counts = None if counts == "none" else CountEmbedding(counts, sizes.width)
        self.positions = None if max_asvs is None else LearnedPositions(max_asvs, sizes.width)
        self.transformer = sizes.transformer(layers)

    def forward(self, vectors: Tensor, counts: Tensor, mask: Tensor) -> Tensor:
        """Map ``[B, S, D]`` to states ``[B, S, D]``, zero where ``mask`` ``[B, S]`` is False."""
        if self.counts is not None:
            vectors = self.counts(vectors, counts)
        if self.positions is not None:
            vectors = self.positions(vectors)
        return torch.where(mask[..., None], self.transformer(vectors, mask), 0.0)
