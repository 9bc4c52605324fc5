"""Conversion: from sources to one whole file, made anew only where what it is made from has changed.

A file consists of named parts (the tables of a corpus, the domains of a text corpus, or one part that is everything).
Each has a fingerprint of its sources and settings, which the file keeps. Parts whose fingerprint is still the same are
kept; where all are, the file is not touched.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from tabstar_lit.errors import DataError

T = TypeVar("T")


class Target(Protocol[T]):
    """A kind of file, and what is to stand in one of them."""

    def open(self, path: Path) -> T:
        """Open a file of this kind and verify it, or raise a :class:`~tabstar_lit.errors.DataError`."""

    def fingerprints(self, opened: T) -> Mapping[str, str]:
        """Return the fingerprint of each part of a file, in order; that of a part that is damaged is empty."""

    def write(self, path: Path, changed: Sequence[str], old: T | None) -> None:
        """Write the whole file in one step: the ``changed`` parts anew, the others as they are in ``old``."""


@dataclass(frozen=True)
class Outcome(Generic[T]):
    """What a conversion did.

    Attributes
    ----------
    path : Path
        The file.
    opened : T
        The same, opened.
    changed : tuple of str
        Parts that were made anew.
    written : bool
        False when the file was up to date and not touched.
    """

    path: Path
    opened: T
    changed: tuple[str, ...]
    written: bool


def bring_up_to_date(target: Target[T], path: Path, wanted: Mapping[str, str]) -> Outcome[T]:
    """Make a file, or those parts of it that changed.

    Parameters
    ----------
    target : Target
        What kind of file it is and how it is made.
    path : Path
        The file. One of another kind that lies there is not overwritten.
    wanted : mapping of str to str
        Fingerprints of the parts it shall have, in order.

    Returns
    -------
    Outcome
        The file and what became of it.

    Raises
    ------
    DataError
        Something else lies at ``path``, or the sources cannot be converted. What lay there stays as it was.
    """
    old = _existing(target, path)
    known = {} if old is None else target.fingerprints(old)
    changed = tuple(name for name, own in wanted.items() if known.get(name) != own)
    if old is not None and not changed and tuple(known) == tuple(wanted):
        return Outcome(path, old, (), written=False)
    target.write(path, changed, old)
    return Outcome(path, target.open(path), changed, written=True)


def fingerprint(parts: Mapping[str, Any], *, ordered: bool = False) -> str:
    """Return the SHA-256 of all that a part is made from.

    Parameters
    ----------
    parts : mapping
        Plain data, such as the version of the converter, the settings, and the identity of each source.
    ordered : bool, default False
        The order of keys matters, at every depth.
    """
    return hashlib.sha256(json.dumps(parts, sort_keys=not ordered).encode()).hexdigest()


def outcome_line(path: Path, written: bool, what: str) -> str:
    """Say in a line what became of a file; ``what`` tells of its contents."""
    return f"wrote {path}: {what}" if written else f"{path} is up to date: nothing was written"


def _existing(target: Target[T], path: Path) -> T | None:
    if not path.exists():
        return None
    try:
        return target.open(path)
    except DataError as error:
        raise DataError(f"{error}\nThe file is not overwritten: remove it or choose another output.") from error
