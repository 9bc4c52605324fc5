"""What a tracker of text keeps of a batch: sums by row, so that means over any rows are exact and little is held."""

from __future__ import annotations

import torch
from torch import Tensor

from tabstar_lit.families.experts.text.batch import NO_TARGET, TokenBatch

POSITION_BINS = 32
"""At most this many bins of equal width hold the losses by position."""


def bin_width(context_length: int) -> int:
    """Return how many positions share a bin."""
    return -(-context_length // POSITION_BINS)


def row_sums(nats: Tensor, batch: TokenBatch, context_length: int) -> dict[str, Tensor]:
    """Return the columns of the losses of a batch.

    Parameters
    ----------
    nats : Tensor
        ``[B, T]`` -log p of each target; anything where there is none.
    batch : TokenBatch
        The batch.
    context_length : int
        Tokens of the longest row.

    Returns
    -------
    dict of str to Tensor
        ``nats``, ``tokens`` and ``bytes`` ``[B]``: sums over the targets of each row. ``position_nats`` and
        ``position_tokens`` ``[B, K]``: the same by position within the document, in K bins.
    """
    there = batch.targets != NO_TARGET
    own = torch.where(there, nats.detach().double(), 0.0)
    bins = batch.positions // (width := bin_width(context_length))
    empty = own.new_zeros(len(own), -(-context_length // width))
    return {
        "nats": own.sum(1),
        "tokens": there.sum(1),
        "bytes": batch.n_bytes,
        "position_nats": empty.scatter_add(1, bins, own),
        "position_tokens": empty.scatter_add(1, bins, there.double()),
    }
