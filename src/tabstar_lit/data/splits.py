"""Splits by hash: which side a row is on depends on the row alone, never on how many stand beside it.

What stays, for ever and on every machine:

- Equal ids and an equal :class:`Split` give equal sides. Appending, removing or reordering rows moves no other row, and
  rows that share an id, as those of a group do, are never separated.
- Whether a row is tested depends on its id, the seed and the test share (or the fold), and on no other share.
- A larger test share takes rows from training only. Of the others a larger one takes them from the shares that follow
  it, and the last of them from training only.
- The rule has a version, which is stored with whatever was split by it; old versions stay.

Versions of the rule
    1 is how events have been split from the beginning: ids scrambled by pandas' hash. No file or checkpoint of events
    stores a version, so what is stored nowhere is 1. 2, for everything new, scrambles them by SplitMix64; tables have
    been split so from the beginning, with one share and classes, and their files store the sides themselves.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from tabstar_lit.arrays import Array, Bool, Float64, Int8, Int64, UInt64
from tabstar_lit.errors import DataError

SPLIT_VERSION = 2
"""The rule of new splits."""

UNSTORED_VERSION = 1
"""The rule of splits that were stored without its version."""

CELLS = 1 << 16
"""Cells of neighbouring columns that are hashed together: in a wide table the calls would cost more than they do."""


class Fold(NamedTuple):
    """One of ``of`` parts of equal size, numbered from 0, that rows are tested in, each once."""

    number: int
    of: int


@dataclass(frozen=True)
class Split:
    """Named sides of rows: ``train``, those of ``shares`` in order, and ``test``.

    Attributes
    ----------
    seed : int
        Another seed gives another split.
    shares : mapping of str to float
        Such as ``{"val": 0.1, "calib": 0.05}``. With a test share all are parts of the whole; with a fold they are
        parts of what it leaves.
    test : float or Fold
        Share to test on, or the fold.
    version : int
        Of the rule.

    Raises
    ------
    DataError
        A share is negative or has a name that is taken, all are more than 1, the fold does not exist, or this release
        does not know the version.
    """

    seed: int
    shares: Mapping[str, float]
    test: float | Fold = 0.0
    version: int = SPLIT_VERSION

    def __post_init__(self) -> None:
        """Refuse what splits nothing."""
        fold = self.test if isinstance(self.test, Fold) else None
        shares = [*self.shares.values(), *([] if isinstance(self.test, Fold) else [self.test])]
        if not (all(share >= 0 for share in shares) and sum(shares) <= 1):
            raise DataError(f"shares {shares} are not at least 0 each and at most 1 together.")
        if fold is not None and not 0 <= fold.number < fold.of:
            raise DataError(f"fold {fold.number} of {fold.of} folds: they are numbered 0 to {fold.of - 1}.")
        if taken := {"train", "test"} & set(self.shares):
            raise DataError(f"no share can be called '{min(taken)}': that side is there already.")
        if not 1 <= self.version <= SPLIT_VERSION:
            raise DataError(f"split version {self.version}; this release knows 1 to {SPLIT_VERSION}: upgrade it.")

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the sides, in the order of their numbers."""
        return ("train", *self.shares, "test")

    def sides(self, ids: UInt64, classes: Int64 | None = None, *, every_share: bool = True) -> Int8:
        """Return the side of every row.

        With ``classes`` no class that has untested rows is unseen in training: of these rows of a class the first
        always trains, the second always goes to the first share, and so on through the shares that are not 0. Of rows
        that share an id the first one counts, and the others go with it. They are counted from the top, so appending
        rows changes no side; reordering can move these rows only.
        Where there are more classes than rows to hold out, that would hold out too many: ``every_share=False`` keeps
        the first of each class in training and leaves the rest to the hashes.

        Parameters
        ----------
        ids : NDArray of uint64
            ``[N]`` from :func:`row_ids`, :func:`document_ids` or a file; of groups where they must stay together.
        classes : NDArray of int64, optional
            ``[N]`` class of each row, one for all in regression.
        every_share : bool, default True
            Give a row of each class to every share.

        Returns
        -------
        NDArray of int8
            ``[N]`` positions in :attr:`names`.
        """
        hashes = self._hashes(ids, "split")
        sides = np.zeros(len(ids), dtype=np.int8)
        for position, end in reversed([*enumerate(np.cumsum([*self.shares.values()]).tolist(), start=1)]):
            sides[self._below(hashes, end)] = position
        if isinstance(self.test, Fold):
            is_test = np.floor(_uniform(self._hashes(ids, "fold")) * self.test.of) == self.test.number
        else:
            is_test = ~self._below(hashes, 1 - self.test)
        sides[is_test] = len(self.shares) + 1
        return sides if classes is None else self._spread(sides, ids, classes, every_share)

    def to_plain(self) -> dict[str, Any]:
        """Return what a file or checkpoint keeps."""
        test = self.test._asdict() if isinstance(self.test, Fold) else self.test
        return {"version": self.version, "seed": self.seed, "shares": dict(self.shares), "test": test}

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Split:
        """Return the split that was kept; one without a version has the first rule."""
        test = Fold(**plain["test"]) if isinstance(plain["test"], Mapping) else plain["test"]
        return cls(plain["seed"], plain["shares"], test, plain.get("version", UNSTORED_VERSION))

    def _hashes(self, ids: UInt64, purpose: str) -> UInt64:
        own = ids ^ salt(f"{purpose} {self.seed}")
        return np.asarray(pd.util.hash_array(own)) if self.version == 1 else _mix(own)

    def _below(self, hashes: UInt64, share: float) -> Bool:
        """Tell which hashes are in the lowest ``share`` of all there could be."""
        if self.version == 1 or share >= 1:
            return np.asarray(_uniform(hashes) < share)
        return np.asarray(hashes < np.uint64(int(share * 2**64)))

    def _spread(self, sides: Int8, ids: UInt64, classes: Int64, every_share: bool) -> Int8:
        own = np.flatnonzero(sides <= len(self.shares))
        _, first, group = np.unique(ids[own], return_index=True, return_inverse=True)
        heads = own[np.sort(first)]
        rank = pd.Series(classes[heads]).groupby(classes[heads]).cumcount().to_numpy()
        shares = [position for position, share in enumerate(self.shares.values(), start=1) if share]
        used = [0, *(shares if every_share else ())]
        for number, position in enumerate(used):
            sides[heads[rank == number]] = position
        sides[own] = sides[own[first]][group]
        return sides


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
    for hashes in frame_hashes(frame):
        content = _mix(content ^ hashes)
    occurrence = pd.Series(content).groupby(content).cumcount().to_numpy().astype(np.uint64)
    return _mix(content ^ _mix(occurrence))


def document_ids(texts: Iterable[str]) -> UInt64:
    """Hash names or contents: of documents, subjects, sequences. Equal texts have equal ids, so none is separated.

    Parameters
    ----------
    texts : iterable of str
        N texts; any Unicode.

    Returns
    -------
    ndarray of uint64 [N]
        The first eight bytes of the BLAKE2b hash (RFC 7693) of each text in UTF-8.
    """
    digests = b"".join(
        hashlib.blake2b(text.encode("utf-8", errors="surrogatepass"), digest_size=8).digest() for text in texts
    )
    return np.frombuffer(digests, dtype="<u8").astype(np.uint64)


def salt(text: str) -> np.uint64:
    """Return a number to combine ids with before they are hashed, so that each purpose has its own hashes."""
    return np.uint64(int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little"))


def frame_hashes(frame: pd.DataFrame) -> Iterator[UInt64]:
    """Yield the hashes ``[N]`` of the cells of each column: equal numbers and equal texts alike, whatever their types.

    Neighbours of one type are hashed together, as many as make a block of :data:`CELLS`.
    """
    wide = max(1, CELLS // max(1, len(frame)))
    for dtype, group in groupby(range(frame.shape[1]), key=frame.dtypes.tolist().__getitem__):
        positions = list(group)
        for start in range(positions[0], positions[-1] + 1, wide):
            block = frame.iloc[:, start : min(start + wide, positions[-1] + 1)]
            yield from _cell_hashes(block, dtype).reshape(block.shape[::-1])


def _cell_hashes(block: pd.DataFrame, dtype: Any) -> UInt64:
    """Hash the cells of columns of one type, column after column."""
    if pd.api.types.is_numeric_dtype(dtype):
        values: Array = block.to_numpy(dtype=np.float64, na_value=np.nan).ravel(order="F") + 0.0  # -0.0 is 0.0
    else:
        cells = pd.Series(block.to_numpy(dtype=object).ravel(order="F"), dtype=object)
        values = cells.where(cells.notna(), "\0").map(str).to_numpy(dtype=object)  # None, NaN and NaT alike
    return np.asarray(pd.util.hash_array(values, categorize=True), dtype=np.uint64)


def _uniform(hashes: UInt64) -> Float64:
    return np.asarray((hashes >> np.uint64(11)) * 2.0**-53)


def _mix(values: UInt64) -> UInt64:
    """Scramble the bits (the finaliser of SplitMix64; Steele, Lea and Flood, OOPSLA 2014)."""
    z = values + np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(z ^ (z >> np.uint64(31)), dtype=np.uint64)
