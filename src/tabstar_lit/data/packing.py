"""Pieces of different lengths put together in rows of one length, with little left empty."""

from __future__ import annotations

import numpy as np

from tabstar_lit.arrays import Int64
from tabstar_lit.data.ragged import Ragged
from tabstar_lit.errors import DataError


def cut_lengths(lengths: Int64, longest: int) -> tuple[Int64, Int64]:
    """Cut what is too long into pieces, of which only the last may be short.

    Parameters
    ----------
    lengths : NDArray of int64
        ``[N]``; what has length 0 gives no piece.
    longest : int
        Length of a piece, at most.

    Returns
    -------
    owners : NDArray of int64
        ``[P]`` what each piece is of.
    starts : NDArray of int64
        ``[P]`` where in it the piece begins; its length is the lesser of ``longest`` and what follows.
    """
    counts = -(-lengths // longest)
    owners = np.repeat(np.arange(len(lengths)), counts)
    first = np.repeat(np.cumsum(counts) - counts, counts)
    return owners, (np.arange(len(owners)) - first) * longest


def best_fit(lengths: Int64, capacity: int) -> Ragged:
    """Put pieces into as few rows as best-fit decreasing finds (arXiv 2404.10830 packs documents so).

    The longest go first, each into the row whose remaining room it fills best. Pieces of equal length keep their order,
    so the outcome is a function of the lengths alone.

    Parameters
    ----------
    lengths : NDArray of int64
        ``[P]``, each from 1 to ``capacity``.
    capacity : int
        What a row holds.

    Returns
    -------
    Ragged of int64
        The pieces of each row, rows in the order in which they were begun.

    Raises
    ------
    DataError
        A piece fits in no row.
    """
    if len(lengths) and not 1 <= lengths.min() <= lengths.max() <= capacity:
        raise DataError(f"pieces of {lengths.min()} to {lengths.max()} do not fit in rows of {capacity}.")
    rows: list[list[int]] = []
    by_room: list[list[int]] = [[] for _ in range(capacity + 1)]
    rooms = 0  # bit r is set where a row has room for r
    for piece in np.argsort(-lengths, kind="stable").tolist():
        length = int(lengths[piece])
        fitting = rooms >> length
        if fitting:
            room = length + (fitting & -fitting).bit_length() - 1
            row = by_room[room].pop()
            rooms &= ~(1 << room) if not by_room[room] else -1
            rows[row].append(piece)
        else:
            room, row = capacity, len(rows)
            rows.append([piece])
        if room > length:
            by_room[room - length].append(row)
            rooms |= 1 << (room - length)
    return Ragged.of(rows, np.int64)
