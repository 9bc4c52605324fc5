"""From rows to batches, with NumPy only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch.utils.data import Dataset

from tabstar_lit.arrays import Int32, Int64
from tabstar_lit.data.mixing import MixedBatch
from tabstar_lit.data.plans import RowBatch
from tabstar_lit.data.ragged import Ragged
from tabstar_lit.families.experts.text.batch import NO_TARGET, TokenBatch
from tabstar_lit.families.experts.text.rows import Layout, Pieces, Rows, columns_of, lay_out, spelled_before

MIXED = "mixed"
"""Source of a batch with rows of several domains."""


@dataclass(frozen=True, eq=False)
class Side:
    """The documents of a domain that train, or those that validate.

    Attributes
    ----------
    domain : str
        Name of the domain.
    tokens : Ragged
        Framed tokens of its documents; their rows are :attr:`rows`.
    n_bytes : NDArray of int64
        Bytes of each document.
    rows : Rows
        How they lie in rows.
    """

    domain: str
    tokens: Ragged
    n_bytes: Int64
    rows: Rows

    @classmethod
    def of(cls, domain: str, tokens: Ragged, n_bytes: Int64, *, context_length: int, layout: Layout) -> Side:
        """Lay documents out."""
        return cls(domain, tokens, n_bytes, lay_out(tokens, context_length, layout))

    def bytes_of(self, pieces: Pieces) -> Int64:
        """Return the bytes that the targets of each piece spell."""
        first = pieces.starts + 1
        ends = spelled_before(self.tokens, self.n_bytes, np.concatenate([first, first + pieces.lengths]))
        return ends[len(first) :] - ends[: len(first)]


class TokenBatches(Dataset[TokenBatch]):
    """Turn the key of a batch, of one domain or of several, into its tensors.

    Parameters
    ----------
    sides : sequence of Side
        One for each domain, in the order of their numbers.
    width : int or None
        Tokens in a row; None: as many as the longest of the batch has.
    """

    def __init__(self, sides: Sequence[Side], width: int | None) -> None:
        self._sides, self._width = sides, width

    def __getitem__(self, key: RowBatch | MixedBatch) -> TokenBatch:
        """Return the batch of the rows that ``key`` names."""
        parts: Sequence[RowBatch] = [key] if isinstance(key, RowBatch) else key
        sides = [self._sides[part.source] for part in parts]
        pieces = [side.rows.pieces(part.rows) for side, part in zip(sides, parts, strict=True)]
        counts = [len(part.rows) for part in parts]
        width = self._width or max(int(np.bincount(own.rows, own.lengths).max()) for own in pieces)
        table = _Table.empty(sum(counts), width)
        for side, own, first in zip(sides, pieces, np.cumsum([0, *counts[:-1]]), strict=True):
            table.fill(side, own._replace(rows=own.rows + first))
        several = any(len(own.starts) > count for own, count in zip(pieces, counts, strict=True))
        return TokenBatch(
            tokens=torch.from_numpy(table.tokens),
            targets=torch.from_numpy(table.targets),
            documents=torch.from_numpy(table.documents) if several else None,
            positions=torch.from_numpy(table.positions),
            domains=torch.from_numpy(np.repeat([part.source for part in parts], counts)),
            n_bytes=torch.from_numpy(table.n_bytes),
            n_targets=sum(int(own.lengths.sum()) for own in pieces),
            source=sides[0].domain if len(sides) == 1 else MIXED,
        )


@dataclass(frozen=True, eq=False)
class _Table:
    """The arrays of a batch: ``[B, T]`` each, and ``[B]`` bytes."""

    tokens: Int64
    targets: Int64
    documents: Int32
    positions: Int64
    n_bytes: Int64

    @classmethod
    def empty(cls, rows: int, width: int) -> _Table:
        """Return a table of nothing but padding."""
        shape = (rows, width)
        return cls(
            tokens=np.zeros(shape, dtype=np.int64),
            targets=np.full(shape, NO_TARGET, dtype=np.int64),
            documents=np.full(shape, -1, dtype=np.int32),
            positions=np.zeros(shape, dtype=np.int64),
            n_bytes=np.zeros(rows, dtype=np.int64),
        )

    def fill(self, side: Side, pieces: Pieces) -> None:
        """Write the pieces of one domain into their rows."""
        piece, inside, column = columns_of(pieces)
        row, stream = pieces.rows[piece], pieces.starts[piece] + inside
        self.tokens[row, column] = side.tokens.flat[stream]
        self.targets[row, column] = side.tokens.flat[stream + 1]
        self.positions[row, column] = inside
        number = np.arange(len(pieces.rows)) - np.searchsorted(pieces.rows, pieces.rows)
        self.documents[row, column] = number[piece]
        np.add.at(self.n_bytes, pieces.rows, side.bytes_of(pieces))
