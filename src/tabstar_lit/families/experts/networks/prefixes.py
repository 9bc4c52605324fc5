"""Means of what a text has said so far."""

from __future__ import annotations

from typing import NamedTuple, Self

import torch
from torch import Tensor

from tabstar_lit.families.experts.networks.expert import places


class Seen(NamedTuple):
    """Vectors of a text up to now, and where they stand.

    Attributes
    ----------
    vectors : Tensor
        ``[B, P, D]``.
    positions : Tensor
        ``[B, P]``, in the document.
    documents : Tensor
        ``[B, P]``, which document of the row each is of; -1 for padding.
    """

    vectors: Tensor
    positions: Tensor
    documents: Tensor

    @classmethod
    def of(cls, vectors: Tensor, documents: Tensor | None) -> Self:
        """Return what is seen of whole texts ``[B, T, D]``."""
        positions = places(vectors, documents).expand(vectors.shape[:2])
        return cls(vectors, positions, torch.zeros_like(positions) if documents is None else documents)

    def followed_by(self, vectors: Tensor) -> Seen:
        """Return it with ``[B, T, D]`` more of each row's last document."""
        ahead = torch.arange(1, vectors.shape[1] + 1, device=vectors.device)
        positions, documents = self.positions[:, -1:] + ahead, self.documents[:, -1:].expand(-1, len(ahead))
        return Seen(*(torch.cat(pair, dim=1) for pair in zip(self, (vectors, positions, documents), strict=True)))

    def means(self, last: int, *, stride: int | None = None) -> Tensor:
        """Return the means that are known at each of the ``last`` places: ``[B, last, D]``, 0 where nothing is.

        Vectors of other documents and of later places have a weight of exactly 0.

        Parameters
        ----------
        last : int
            How many places.
        stride : int or None
            None: of all up to the place; else of those before the last position that ``stride`` divides.
        """
        own, here = self.documents[:, -last:, None], self.positions[:, -last:, None]
        bound = here + 1 if stride is None else here // stride * stride
        counts = (own == self.documents[:, None]) & (self.positions[:, None] < bound)
        weights = counts.to(self.vectors.dtype)
        return weights @ self.vectors / weights.sum(-1, keepdim=True).clamp(min=1)


class SeenCache:
    """What is seen of a text that is read bit by bit."""

    def __init__(self, seen: Seen | None = None) -> None:
        self.seen = seen

    def extend(self, vectors: Tensor, documents: Tensor | None) -> Seen:
        """Add ``[B, T, D]`` and return all."""
        self.seen = Seen.of(vectors, documents) if self.seen is None else self.seen.followed_by(vectors)
        return self.seen

    def select(self, rows: Tensor) -> Self:
        """Return what is seen of these rows, in this order; a row may be taken more than once."""
        return type(self)(None if self.seen is None else Seen(*(part.index_select(0, rows) for part in self.seen)))
