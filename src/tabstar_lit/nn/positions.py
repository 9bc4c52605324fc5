"""Where a token stands: rotations of queries and keys, sinusoids, and learned vectors.

Positions are integers, ``[T]`` where all rows share them and ``[B, T]`` where each row has its own: rows padded on the
left, or documents packed one after the other.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from tabstar_lit.errors import DataError


class Rotation(NamedTuple):
    """Cosines and sines of the angles that positions are turned by.

    Attributes
    ----------
    cos, sin : Tensor
        ``[T, D / 2]`` or ``[B, 1, T, D / 2]``, float32.
    """

    cos: Tensor
    sin: Tensor

    def __call__(self, x: Tensor) -> Tensor:
        """Turn the pairs of neighbours in ``[B, H, T, D]``, each taken as a complex number."""
        real, imaginary = x.reshape(*x.shape[:-1], -1, 2).unbind(-1)
        turned = (real * self.cos - imaginary * self.sin, real * self.sin + imaginary * self.cos)
        return torch.stack(turned, dim=-1).flatten(-2).type_as(x)


def rotation(positions: Tensor, dim_head: int, base: float = 10_000.0) -> Rotation:
    """Compute the rotations of rotary positions (RoFormer, arXiv 2104.09864).

    Pair ``i`` of position ``p`` is turned by ``p base^(-2 i / D)``, so that the product of a query and a key depends on
    how far apart they stand. All layers share the result. Nothing is kept: a table would set a longest length, and
    would lose its digits in a network turned to half precision.

    Parameters
    ----------
    positions : Tensor
        ``[T]`` or ``[B, T]``.
    dim_head : int
        Length ``D`` of a head; even.
    base : float
        The longest wave is ``2 pi base`` tokens.
    """
    angles = positions[..., None] * _frequencies(dim_head, base, positions.device)
    angles = angles if positions.ndim == 1 else angles[:, None]
    return Rotation(angles.cos(), angles.sin())


def sinusoids(values: Tensor, width: int, base: float = 10_000.0) -> Tensor:
    """Encode positions, or times of a diffusion, as sines and cosines in turn (arXiv 1706.03762).

    Parameters
    ----------
    values : Tensor
        ``[...]``, integers or not.
    width : int
        Length ``E`` of a vector; even.
    base : float
        The longest wave is ``2 pi base``.

    Returns
    -------
    Tensor
        ``[..., E]``, float32.
    """
    angles = values[..., None] * _frequencies(width, base, values.device)
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(-2)


class LearnedPositions(nn.Module):
    """A vector for each position, added to the token there.

    Parameters
    ----------
    size : int
        How many positions there are.
    width : int
        Length ``E`` of a token.
    std : float
        Of the initial vectors.
    """

    def __init__(self, size: int, width: int, std: float = 0.02) -> None:
        super().__init__()
        self.table = nn.Embedding(size, width)
        nn.init.normal_(self.table.weight, std=std)

    def forward(self, tokens: Tensor, positions: Tensor | None = None) -> Tensor:
        """Add to ``[B, T, E]`` what stands at ``positions``; None: at 0, 1, ...

        Raises
        ------
        DataError
            There are more tokens than positions.
        """
        length, size = tokens.shape[-2], self.table.num_embeddings
        if length > size:
            raise DataError(
                f"a sequence has {length} tokens, and the network learned {size} positions. Shorten the sequences, or "
                "train with more positions."
            )
        located: Tensor = tokens + (self.table.weight[:length] if positions is None else self.table(positions))
        return located


def positions_in_documents(documents: Tensor) -> Tensor:
    """Count from 0 in each document of packed rows: numbers of documents ``[B, T]`` to positions ``[B, T]``."""
    places = torch.arange(documents.shape[1], device=documents.device)
    first = torch.ones_like(documents, dtype=torch.bool)
    first[:, 1:] = documents[:, 1:] != documents[:, :-1]
    return places - torch.where(first, places, 0).cummax(1).values


def _frequencies(width: int, base: float, device: torch.device) -> Tensor:
    powers = torch.arange(0, width, 2, device=device, dtype=torch.float32) / width
    return base**-powers
