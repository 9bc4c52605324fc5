"""Documents laid out in rows of tokens: several in a row, one in a row, or one endless text cut into rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol

import numpy as np

from tabstar_lit.arrays import Int64
from tabstar_lit.data.packing import best_fit, cut_lengths
from tabstar_lit.data.ragged import Ragged

Layout = Literal["packed", "padded", "joined"]


class Pieces(NamedTuple):
    """Pieces of the stream of a domain, those of one row side by side.

    A piece of n tokens predicts the n tokens that stand one place further in the stream.

    Attributes
    ----------
    starts, lengths : NDArray of int64
        ``[P]`` where each begins in the stream, and its tokens.
    rows : NDArray of int64
        ``[P]`` which of the asked rows it is of, counted from 0.
    """

    starts: Int64
    lengths: Int64
    rows: Int64


class Rows(Protocol):
    """How the documents of a domain lie in rows."""

    @property
    def numbers(self) -> Int64:
        """What the rows are called by."""

    def pieces(self, rows: Int64) -> Pieces:
        """Return the pieces of some rows."""


@dataclass(frozen=True, eq=False)
class PieceRows:
    """Rows of pieces that never reach from one document into the next.

    Attributes
    ----------
    starts, lengths : NDArray of int64
        ``[P]`` of all pieces.
    members : Ragged of int64
        Numbers of the pieces of each row.
    """

    starts: Int64
    lengths: Int64
    members: Ragged

    @property
    def numbers(self) -> Int64:
        """0 to the number of rows."""
        return np.arange(len(self.members))

    def pieces(self, rows: Int64) -> Pieces:
        """Return the pieces of some rows."""
        own = self.members.take(rows)
        return Pieces(self.starts[own.flat], self.lengths[own.flat], np.repeat(np.arange(len(rows)), own.lengths))


@dataclass(frozen=True)
class WindowRows:
    """Rows cut from one endless text; a row is called by the place where it begins, which may be any.

    Attributes
    ----------
    length : int
        Tokens of the text.
    width : int
        Tokens in a row.
    """

    length: int
    width: int

    @property
    def numbers(self) -> Int64:
        """Places from which rows tile the text."""
        return np.arange(0, self.length - 1, self.width)

    def pieces(self, rows: Int64) -> Pieces:
        """Return the windows that begin at these places."""
        return Pieces(rows, np.minimum(self.width, self.length - 1 - rows), np.arange(len(rows)))


def lay_out(tokens: Ragged, context_length: int, layout: Layout) -> Rows:
    """Return the rows of documents.

    Parameters
    ----------
    tokens : Ragged
        The documents, each of at least two tokens.
    context_length : int
        Tokens in a row. A longer document is cut, and what follows the cut is predicted without what is before it.
    layout : str
        ``packed``, ``padded`` or ``joined``.
    """
    if layout == "joined":
        return WindowRows(len(tokens.flat), context_length)
    pairs = tokens.lengths - 1
    owners, inside = cut_lengths(pairs, context_length)
    lengths = np.minimum(context_length, pairs[owners] - inside)
    each = Ragged(np.arange(len(owners)), np.arange(len(owners) + 1))
    members = best_fit(lengths, context_length) if layout == "packed" else each
    return PieceRows(tokens.offsets[owners] + inside, lengths, members)


def spelled_before(tokens: Ragged, n_bytes: Int64, places: Int64) -> Int64:
    """Return how many bytes of text the tokens before each of some places of a stream spell.

    The token that begins a document spells none; the others share its bytes evenly, to the byte. So sums over documents
    are exact, whatever the tokenizer.

    Parameters
    ----------
    tokens : Ragged
        N documents of at least two tokens.
    n_bytes : NDArray of int64
        ``[N]`` bytes of each.
    places : NDArray of int64
        ``[P]`` places in ``tokens.flat``, its end included.
    """
    owner = np.minimum(np.searchsorted(tokens.offsets, places, side="right") - 1, len(n_bytes) - 1)
    before = np.cumsum(n_bytes) - n_bytes
    inside = np.maximum(places - tokens.offsets[owner] - 1, 0)
    return np.asarray(before[owner] + inside * n_bytes[owner] // (tokens.lengths[owner] - 1))


def columns_of(pieces: Pieces) -> tuple[Int64, Int64, Int64]:
    """Return for every token of the pieces its piece, its place within the piece, and its column in the row."""
    piece = np.repeat(np.arange(len(pieces.starts)), pieces.lengths)
    inside = _counted(pieces.lengths)
    by_row = np.add.reduceat(pieces.lengths, np.flatnonzero(np.diff(pieces.rows, prepend=-1)))
    return piece, inside, _counted(by_row)


def _counted(lengths: Int64) -> Int64:
    """Count from 0 in each stretch of these lengths."""
    return np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
