"""A memory of texts: their mean vectors, of which the nearest are found exactly, by inner products."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from tabstar_lit.errors import ConfigError

HASH_BASE = 1_000_003


class VectorStore(nn.Module):
    """Unit vectors in a ring: when it is full, the oldest are forgotten. What it holds is part of every checkpoint.

    Parameters
    ----------
    room : int
        Number ``M`` of vectors that it holds at most.
    width : int
        Their length ``D``.
    """

    vectors: Tensor
    owners: Tensor
    written: Tensor

    def __init__(self, room: int, width: int) -> None:
        super().__init__()
        self.register_buffer("vectors", torch.zeros(room, width))
        self.register_buffer("owners", torch.zeros(room, dtype=torch.int64))
        self.register_buffer("written", torch.zeros((), dtype=torch.int64))

    @torch.no_grad()
    def add(self, vectors: Tensor, owners: Tensor) -> None:
        """Remember ``[B, D]`` of texts whose :func:`marks` are ``[B]``; the length of a vector is forgotten."""
        room = len(self.vectors)
        vectors, owners = vectors[-room:], owners[-room:]
        slots = (self.written + torch.arange(len(vectors), device=self.vectors.device)) % room
        self.vectors[slots] = functional.normalize(vectors.to(self.vectors), dim=-1)
        self.owners[slots] = owners
        self.written += len(vectors)

    @torch.no_grad()
    def nearest(self, queries: Tensor, k: int, owners: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Find the vectors with the greatest inner products.

        Parameters
        ----------
        queries : Tensor
            ``[B, Q, D]``.
        k : int
            How many for each; fewer where the store has less room.
        owners : Tensor or None
            ``[B]`` marks of the texts that ask, whose own vectors are passed over.

        Returns
        -------
        vectors : Tensor
            ``[B, Q, K, D]``, the nearest first.
        found : Tensor
            ``[B, Q, K]`` bool, False where there are no more.
        """
        there = torch.arange(len(self.vectors), device=queries.device) < self.written
        foreign = there if owners is None else there & (owners[:, None, None] != self.owners)
        scores = (queries.to(self.vectors) @ self.vectors.T).masked_fill(~foreign, float("-inf"))
        best, places = scores.topk(min(k, len(self.vectors)), dim=-1)
        return self.vectors[places], best > float("-inf")


class FaissStore(VectorStore):
    """The same store, searched by FAISS (arXiv 2401.08281) on the processor: the same vectors are found.

    Parameters
    ----------
    room, width
        As of :class:`VectorStore`, whose checkpoints it reads.

    Raises
    ------
    ConfigError
        FAISS is not installed.
    """

    def __init__(self, room: int, width: int) -> None:
        super().__init__(room, width)
        _faiss()  # not kept: a network is copied, and a library cannot be

    @torch.no_grad()
    def nearest(self, queries: Tensor, k: int, owners: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Find the vectors with the greatest inner products; see :meth:`VectorStore.nearest`."""
        filled, number = min(int(self.written), len(self.vectors)), min(k, len(self.vectors))
        if not filled:
            nothing = torch.zeros((*queries.shape[:2], number), dtype=torch.bool, device=queries.device)
            return self.vectors[nothing.long()], nothing
        own = self.owners[:0] if owners is None else owners[:, None] == self.owners[:filled]
        spare = 0 if owners is None else int(own.sum(1).max())
        ranked = self._ranked(queries, filled, min(number + spare, filled))
        passed = torch.zeros_like(ranked) if owners is None else own.long().gather(1, ranked.flatten(1)).view_as(ranked)
        order = passed.sort(dim=-1, stable=True).indices[..., :number]  # a text's own go behind all others
        short = number - order.shape[-1]
        found = functional.pad(passed.gather(-1, order) == 0, (0, short))
        return self.vectors[functional.pad(ranked.gather(-1, order), (0, short))], found

    def _ranked(self, queries: Tensor, filled: int, number: int) -> Tensor:
        """Return the places of the best of the first ``filled`` vectors, ``[B, Q, number]``."""
        asked, known = (one.float().cpu().numpy() for one in (queries.flatten(0, 1), self.vectors[:filled]))
        faiss = _faiss()
        _, places = faiss.knn(asked, known, number, metric=faiss.METRIC_INNER_PRODUCT)
        return torch.from_numpy(places).to(queries.device).view(*queries.shape[:2], number)


def _faiss() -> Any:
    try:
        import faiss
    except ModuleNotFoundError as error:
        raise ConfigError(
            "model_config.architecture_config.mixture.search: faiss needs FAISS: pip install 'tabstar_lit[faiss]'"
        ) from error
    return faiss


def marks(tokens: Tensor) -> Tensor:
    """Return a number for each row of tokens ``[B, T]``, by which it knows itself again: a hash, 64 bits."""
    powers = torch.full(tokens.shape[1:], HASH_BASE, device=tokens.device).cumprod(0)
    return ((tokens + 1) * powers).sum(1)  # integers wrap around
