"""Masks: what is there, who may look at whom, and which tokens are hidden for a masked-language objective.

A mask is bool and True where there is something, or where a look is allowed. Masks for attention have the shapes that
:class:`tabstar_lit.nn.attention.MultiHeadAttention` takes, ``[B, P]`` or ``[B, Q, P]``, with 1 for ``B`` where all rows
share it; ``&`` joins two of a kind.
"""

from __future__ import annotations

from functools import cache
from math import prod

import torch
from torch import Generator, Tensor
from torch.nn import functional


def padding_mask(lengths: Tensor, size: int, *, left: bool = False) -> Tensor:
    """Return ``[B, size]``, True at the first ``lengths`` ``[B]`` slots of a row, or at the last ones."""
    slots = torch.arange(size, device=lengths.device)
    return slots >= size - lengths[:, None] if left else slots < lengths[:, None]


def causal_mask(queries: int, keys: int, device: torch.device | None = None) -> Tensor:
    """Return ``[1, Q, P]``: the last query sees all keys, each one before it one key less."""
    return torch.ones(1, queries, keys, dtype=torch.bool, device=device).tril(keys - queries)


def block_causal_mask(length: int, block: int, device: torch.device | None = None) -> Tensor:
    """Return ``[1, T, T]``: a token sees all of its own block of ``block`` tokens and of the blocks before."""
    blocks = torch.arange(length, device=device) // block
    return (blocks[:, None] >= blocks)[None]


def document_mask(documents: Tensor) -> Tensor:
    """Return ``[B, T, T]`` from the number of each token's document ``[B, T]``: none looks into another document.

    Numbers below 0 are padding, which nothing looks at.
    """
    return (documents[:, :, None] == documents[:, None, :]) & (documents >= 0)[:, None, :]


def masked_softmax(scores: Tensor, mask: Tensor) -> Tensor:
    """Softmax over the last axis where ``mask`` is True; 0 elsewhere, and everywhere in a row that has no True."""
    lowest = torch.finfo(scores.dtype).min
    return torch.where(mask, functional.softmax(torch.where(mask, scores, lowest), dim=-1), 0.0)


def masked_mean(tokens: Tensor, mask: Tensor) -> Tensor:
    """Mean of those vectors of ``[..., P, E]`` where ``mask`` ``[..., P]`` is True; 0 where it never is."""
    total = torch.where(mask[..., None], tokens, 0.0).sum(-2)
    return total / mask.sum(-1, dtype=tokens.dtype).clamp(min=1.0)[..., None]


def choose_tokens(maskable: Tensor, rate: float, generator: Generator | None = None) -> Tensor:
    """Choose tokens to hide, each by itself, as BERT does (arXiv 1810.04805).

    Parameters
    ----------
    maskable : Tensor
        ``[B, T]`` bool, False for special tokens and padding, which are never chosen.
    rate : float
        Probability, 0 to 1, that a maskable token is chosen.
    generator : torch.Generator or None
        Where the draws come from, on the device of ``maskable``; None: torch's own.

    Returns
    -------
    Tensor
        ``[B, T]`` bool. A row may have none, and so may a batch of few tokens.
    """
    return _draw(tuple(maskable.shape), maskable, generator).lt(rate) & maskable


def choose_spans(
    maskable: Tensor, rate: float, generator: Generator | None = None, *, shortest: int = 3, longest: int = 5
) -> Tensor:
    """Choose runs of neighbours to hide (SpanBERT, arXiv 1907.10529); they may overlap, and skip what is not maskable.

    Spans start anywhere with one probability, in front of a row as well, and every length is equally likely. That
    probability is such that each maskable token, the first and the last included, is chosen with probability ``rate``.

    Parameters
    ----------
    maskable, rate, generator
        As of :func:`choose_tokens`.
    shortest, longest : int
        Bounds of a span's length, both included.

    Returns
    -------
    Tensor
        ``[B, T]`` bool.
    """
    rows, length = maskable.shape
    begins = (rows, length + longest - 1)
    starts = _draw(begins, maskable, generator) < _chance_of_a_start(rate, shortest, longest)
    reach = shortest + (_draw(begins, maskable, generator) * (longest - shortest + 1)).long()
    # Token t is hidden by the span that began d tokens before, if there is one and it is longer than d.
    windows = (starts * reach).unfold(1, longest, 1)
    distance = torch.arange(longest - 1, -1, -1, device=maskable.device)
    return (windows > distance).any(-1) & maskable


@cache
def _chance_of_a_start(rate: float, shortest: int, longest: int) -> float:
    """Return the probability of a start with which a token is in some span with probability ``rate``, by bisection."""
    lengths = range(shortest, longest + 1)
    longer = [sum(length > distance for length in lengths) / len(lengths) for distance in range(longest)]
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        spared = prod(1 - middle * share for share in longer)
        low, high = (middle, high) if 1 - spared < rate else (low, middle)
    return high


def _draw(shape: tuple[int, ...], like: Tensor, generator: Generator | None) -> Tensor:
    return torch.rand(shape, generator=generator, device=like.device)
