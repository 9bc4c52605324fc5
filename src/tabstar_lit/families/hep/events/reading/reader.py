"""A file of events as all formats give it: chunks of flat and jagged columns, found by name."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from tabstar_lit.arrays import Array
from tabstar_lit.errors import DataError
from tabstar_lit.families.hep.events.jagged import Jagged
from tabstar_lit.families.hep.events.reading.momenta import Component, component

Value = Array | Jagged


class Chunk(NamedTuple):
    """``n`` events from row ``start`` of a file on."""

    start: int
    n: int
    columns: dict[str, Value]


def no_members(name: str) -> tuple[str, ...]:
    """Say that no column is a record."""
    return ()


@dataclass(frozen=True)
class Reader:
    """A file that was opened once to see what is in it.

    Attributes
    ----------
    names : tuple of str
        Its columns.
    n_events : int or None
        How many events it has, where the format says so.
    read : callable
        ``read(names, texts, rows)`` yields the columns ``names``, which the file itself has.
    guesses_types : bool
        Whether what a column holds is guessed from the cells of each chunk, not said by the file.
    aliases : mapping of str to str
        Other names of its columns, such as short ones of branches in branches.
    members : callable
        The columns ``name.member`` of a column that is a record, where :attr:`names` do not list them.
    codes : mapping of str to int
        Label -> its number in the column of labels, where the file says it.
    notes : tuple of str
        What is read otherwise than it stands there.
    """

    names: tuple[str, ...]
    n_events: int | None
    read: Callable[[Sequence[str], Sequence[str], int], Iterator[Chunk]]
    guesses_types: bool = False
    aliases: Mapping[str, str] = field(default_factory=dict)
    members: Callable[[str], tuple[str, ...]] = no_members
    codes: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def has(self, name: str) -> bool:
        """Tell whether a name is a column, another name of one, or a component of a momentum it holds."""
        return self._stored(name) is not None or component(name, self._stored) is not None

    def chunks(self, names: Sequence[str], texts: Sequence[str], rows: int) -> Iterator[Chunk]:
        """Yield columns that the file :meth:`has`.

        Parameters
        ----------
        names : sequence of str
            Which.
        texts : sequence of str
            Those of them that are wanted as text even where they look like numbers.
        rows : int
            The most events of a chunk.

        Yields
        ------
        Chunk
            Events in the order of the file.

        Raises
        ------
        DataError
            If the file is damaged or a column holds what cannot be used.
        """
        found = {name: self._found(name) for name in names}
        inputs = dict.fromkeys(name for entry in found.values() for name in entry.inputs)
        as_text = [name for text in texts for name in found[text].inputs if found[text].compute is None]
        for chunk in self.read(tuple(inputs), as_text, rows):
            columns = {name: entry(chunk.columns) for name, entry in found.items()}
            yield chunk._replace(columns=columns)

    def _found(self, name: str) -> Component:
        stored = self._stored(name)
        entry = Component((stored,)) if stored is not None else component(name, self._stored)
        if entry is None:
            raise DataError(f"no column '{name}'")
        return entry

    def _stored(self, name: str) -> str | None:
        """Return what the file itself calls a column."""
        if name in self._all:
            return name
        if name in self.aliases:
            return self.aliases[name]
        for end in (position for position, letter in enumerate(name) if letter == "."):
            front = self.aliases.get(name[:end], name[:end])
            if front in self._all and (own := front + name[end:]) in self.members(front):
                return own
        return None

    @cached_property
    def _all(self) -> frozenset[str]:
        return frozenset(self.names)


@contextmanager
def reported(path: Path) -> Iterator[None]:
    """Turn whatever a damaged file makes a library raise into a message that names the file."""
    try:
        yield
    except MemoryError:
        raise
    except DataError as error:
        if str(path) in str(error):
            raise
        raise DataError(f"{path}: {error}") from error
    except Exception as error:  # uproot passes on what struct, zlib, lzma and its own parsers raise: no common base
        raise DataError(
            f"{path}: cannot be read: {type(error).__name__}: {' '.join(str(error).split())[:300]}"
        ) from error
