"""Splits by hash: a row's side depends on its content, never on how many rows stand beside it.

A row is known by the hash of its values and by how often the same values came before it. Appending rows, or
shuffling the file, therefore moves no row from training to validation or back, and the same seed gives the
same split on every machine.
"""

from __future__ import annotations

import hashlib

import numpy as np
import numpy.typing as npt
import pandas as pd

UInt64 = npt.NDArray[np.uint64]


def row_ids(frame: pd.DataFrame) -> UInt64:
    """Hash every row of a frame.

    Numbers are hashed as float64 and everything else as text, so that a column whose type changes from
    integer to float because a gap was appended keeps its hashes. Equal rows are told apart by counting them
    from the top.

    Parameters
    ----------
    frame : DataFrame
        N rows of plain cells. For CSV give the raw text of the file: it does not depend on type guessing.

    Returns
    -------
    ndarray of uint64 [N]
        One id a row; ids are unique but for hash collisions (one in 1e8 for a million rows).
    """
    content = np.zeros(len(frame), dtype=np.uint64)
    for position in range(frame.shape[1]):
        content = _mix(content ^ _hash_column(frame.iloc[:, position]))
    occurrence = pd.Series(content).groupby(content).cumcount().to_numpy().astype(np.uint64)
    return _mix(content ^ _mix(occurrence))


def hash_split(
    ids: UInt64, *, fraction: float, seed: int, classes: npt.NDArray[np.int64] | None = None
) -> npt.NDArray[np.bool_]:
    """Choose the validation rows.

    A row is held out when the hash of its id and the seed falls into the lowest ``fraction`` of all hashes.
    The first row of each class (of the table, without classes) always trains and the second always validates:
    no class is unseen in training, a class with one row trains, and a score over all classes exists. Since
    both are counted from the top of the file, appending rows changes no decision; reordering can move those
    two rows only.

    Parameters
    ----------
    ids : ndarray of uint64 [N]
        From :func:`row_ids`.
    fraction : float
        Share to hold out, in (0, 1).
    seed : int
        Another seed gives another split.
    classes : ndarray of int64 [N], optional
        Class of each row; None treats the table as one class (regression).

    Returns
    -------
    ndarray of bool [N]
        True where the row validates.
    """
    salt = int.from_bytes(hashlib.sha256(f"split {seed}".encode()).digest()[:8], "little")
    held_out = _mix(ids ^ np.uint64(salt)) < np.uint64(int(fraction * 2**64))
    groups = np.zeros(len(ids), dtype=np.int64) if classes is None else classes
    rank = pd.Series(groups).groupby(groups).cumcount().to_numpy()
    return np.asarray((held_out & (rank > 0)) | (rank == 1))


def _hash_column(column: pd.Series) -> UInt64:
    if pd.api.types.is_numeric_dtype(column.dtype):
        values: npt.NDArray[np.generic] = column.to_numpy(dtype=np.float64, na_value=np.nan) + 0.0  # -0.0 is 0.0
    else:
        cells = column.astype(object)
        values = cells.where(cells.notna(), "\0").map(str).to_numpy(dtype=object)  # None, NaN and NaT alike
    return np.asarray(pd.util.hash_array(values, categorize=True), dtype=np.uint64)


def _mix(values: UInt64) -> UInt64:
    """Scramble the bits (the finaliser of SplitMix64; Steele, Lea and Flood, OOPSLA 2014)."""
    z = values + np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(z ^ (z >> np.uint64(31)), dtype=np.uint64)
