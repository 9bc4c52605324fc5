"""Rows of different lengths in one flat array: tokens of texts, letters of sequences, members of samples."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import h5py
import numpy as np
from numpy.typing import DTypeLike, NDArray

from tabstar_lit.arrays import Array, Int64
from tabstar_lit.data import hdf5
from tabstar_lit.errors import DataError


@dataclass(frozen=True, eq=False)
class Ragged:
    """N rows, end to end.

    Attributes
    ----------
    flat : ndarray
        ``[T]`` the values of all rows.
    offsets : NDArray of int64
        ``[N + 1]`` where each row begins, and where the last one ends.
    """

    flat: Array
    offsets: Int64

    @classmethod
    def of(cls, rows: Iterable[Any], dtype: DTypeLike) -> Ragged:
        """Return rows given one by one, as sequences or arrays."""
        arrays = [np.asarray(row, dtype=dtype) for row in rows]
        offsets = np.cumsum([0, *map(len, arrays)], dtype=np.int64)
        return cls(np.concatenate([np.zeros(0, dtype), *arrays]), offsets)

    @classmethod
    def joined(cls, parts: Iterable[Ragged], dtype: DTypeLike) -> Ragged:
        """Return the rows of several, one after the other."""
        parts = list(parts)
        lengths = np.concatenate([np.zeros(0, np.int64), *(part.lengths for part in parts)])
        flat = np.concatenate([np.zeros(0, dtype), *(part.flat for part in parts)])
        return cls(flat, np.concatenate([[0], np.cumsum(lengths)]))

    @classmethod
    def read(cls, group: h5py.Group, name: str, *, remedy: str, flat: str = "flat") -> Ragged:
        """Return what :meth:`write` wrote.

        Raises
        ------
        DataError
            A part is missing or damaged.
        """
        own = cls(*(hdf5.read_array(group, f"{name}/{part}", remedy=remedy) for part in (flat, "offsets")))
        if len(own.offsets) == 0 or own.offsets[0] or own.offsets[-1] != len(own.flat) or (own.lengths < 0).any():
            raise DataError(f"{group.file.filename}: offsets of '{name}' do not rise to {len(own.flat)}. {remedy}")
        return own

    def write(self, group: h5py.Group, name: str, *, flat: str = "flat") -> None:
        """Store both arrays in a new group ``name``, compressed and checksummed; ``flat`` names the first of them."""
        pair = group.create_group(name)
        hdf5.write_array(pair, flat, self.flat)
        hdf5.write_array(pair, "offsets", self.offsets)

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.offsets) - 1

    def __getitem__(self, row: int) -> Array:
        """Return the values of one row, as a view."""
        if not -len(self) <= row < len(self):
            raise IndexError(f"row {row} of {len(self)}")
        row %= len(self)
        return self.flat[self.offsets[row] : self.offsets[row + 1]]

    @property
    def lengths(self) -> Int64:
        """Values in each row: ``[N]``."""
        return np.diff(self.offsets)

    def lengths_of(self, rows: NDArray[np.integer[Any]]) -> Int64:
        """Return the number of values in some rows: ``[B]``."""
        lengths: Int64 = self.offsets[rows + 1] - self.offsets[rows]
        return lengths

    def take(self, rows: NDArray[np.integer[Any]]) -> Ragged:
        """Return some rows in a new order."""
        offsets = np.concatenate([[0], np.cumsum(self.lengths_of(rows))])
        return Ragged(self.flat[self.places(rows)], offsets)

    def places(self, rows: NDArray[np.integer[Any]]) -> Int64:
        """Return where the values of some rows are in ``flat``: ``[T]``, row after row."""
        starts, lengths = self.offsets[rows], self.lengths_of(rows)
        shift = np.repeat(starts - (np.cumsum(lengths) - lengths), lengths)
        places: Int64 = np.arange(len(shift)) + shift
        return places

    def padded(self, rows: NDArray[np.integer[Any]]) -> tuple[Array, Int64]:
        """Return rows as a table.

        Parameters
        ----------
        rows : NDArray of int
            ``[B]`` numbers of rows.

        Returns
        -------
        values : ndarray
            ``[B, L]``, with zeros after the end of the rows that are shorter than the longest, L.
        lengths : NDArray of int64
            ``[B]``.
        """
        starts, lengths = self.offsets[rows], self.lengths_of(rows)
        places = np.arange(lengths.max(initial=0))
        # A short row is first read as if it were as long as the longest, which must not leave the array.
        values = np.take(self.flat, starts[:, None] + places, mode="clip")
        values *= places < lengths[:, None]
        return values, lengths
