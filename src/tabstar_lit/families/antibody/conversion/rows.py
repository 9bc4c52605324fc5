"""The rows of a source: sequences cleaned, affinities in pKd, and what is wrong with those that cannot be used."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from tabstar_lit.config.tree import Path_, Problem, raise_problems
from tabstar_lit.errors import DataError
from tabstar_lit.families.antibody.conversion.affinity import Measured, parse_affinity
from tabstar_lit.families.antibody.conversion.config import Conversion, FixedSequence, PairSource, Place
from tabstar_lit.families.antibody.conversion.tables import read_table
from tabstar_lit.families.antibody.pairs.fasta import read_fasta
from tabstar_lit.families.antibody.pairs.letters import cleaned
from tabstar_lit.families.antibody.pairs.tokens import BREAK

UNKNOWN_LETTERS = "letters beyond the twenty, kept as unknown"


class PairRow(NamedTuple):
    """A row of a source before its chains are recognised.

    Attributes
    ----------
    number : int
        In the file, from 1, a header not counted.
    antigen, antigen_name : str
        Its chains, joined; and what it is called.
    chains : tuple of str
        Sequences of the antibody, in the order of columns.
    affinity : Measured
        pKd.
    """

    number: int
    antigen: str
    antigen_name: str
    chains: tuple[str, ...]
    affinity: Measured


@dataclass
class SourceRows:
    """What was read of a source.

    Attributes
    ----------
    path : Path
        The file.
    read : int
        Its rows, without those that ``where`` leaves out.
    rows : list of PairRow
        Those that can be used.
    refused : list of (int, str)
        Number of each other row, and why.
    notes : Counter
        What is counted beside.
    """

    path: Path
    read: int = 0
    rows: list[PairRow] = field(default_factory=list)
    refused: list[tuple[int, str]] = field(default_factory=list)
    notes: Counter[str] = field(default_factory=Counter)


def read_source(conversion: Conversion, number: int) -> SourceRows:
    """Read one of the sources of a conversion.

    Raises
    ------
    ConfigError
        A column is not in the file; all that are missing at once, with the nearest names.
    DataError
        A file cannot be read, or a fixed sequence is not in it.
    """
    source = conversion.config.sources[number]
    path = conversion.folder / source.file
    frame = read_table(path, source)
    raise_problems(conversion.tree, list(_missing_columns(source, frame, ("sources", number))))
    for column, wanted in source.where.items():
        frame = frame[frame[column] == wanted]
    found = SourceRows(path, len(frame))
    reader = _RowReader(source, _fixed(source, conversion.folder), found.notes)
    columns = [str(name) for name in frame.columns]
    for row in frame.itertuples(name=None):
        number, cells = int(row[0]) + 1, dict(zip(columns, row[1:], strict=True))
        try:
            found.rows.append(reader.read(number, cells))
        except ValueError as error:
            found.refused.append((number, str(error)))
    return found


def _missing_columns(source: PairSource, frame: pd.DataFrame, place: Path_) -> Iterator[Problem]:
    wanted: list[tuple[Path_, Any]] = [(("where", column), column) for column in source.where]
    wanted += [(("grafts", column), column) for column in source.grafts]
    for key in ("antibody", "antigen"):
        wanted += [((key, number), own) for number, own in enumerate(getattr(source, key)) if isinstance(own, str)]
    if source.antigen_name is not None:
        wanted.append((("antigen_name",), source.antigen_name))
    if source.affinity is not None:
        wanted.append((("affinity", "column"), source.affinity.column))
        if isinstance(source.affinity.reference, str):
            wanted.append((("affinity", "reference"), source.affinity.reference))
        if source.affinity.non_binders is not None:
            wanted.append((("affinity", "non_binders", "column"), source.affinity.non_binders.column))
    names = [str(name) for name in frame.columns]
    for path, column in wanted:
        if column not in names:
            yield Problem((*place, *path), f"{source.file} has no column '{column}'", names)


def _fixed(source: PairSource, folder: Path) -> dict[Place, str]:
    """Return the fixed sequences by what names them."""
    found: dict[Place, str] = {}
    for place in (*source.antibody, *source.antigen):
        if not isinstance(place, FixedSequence):
            continue
        records = {record.name: record.letters for record in read_fasta(folder / place.fasta)}
        name = next(iter(records)) if place.record is None and len(records) == 1 else place.record
        if name not in records:
            asked = "name one of them with record" if name is None else f"none is called '{name}'"
            raise DataError(f"{folder / place.fasta}: holds {', '.join(records)}; {asked}.")
        found[place] = records[name]
    return found


@dataclass(frozen=True)
class _RowReader:
    """Makes pairs of the cells of a source."""

    source: PairSource
    fixed: Mapping[Place, str]
    notes: Counter[str]

    def read(self, number: int, cells: Mapping[str, str]) -> PairRow:
        """Return a row; what is wrong with it is a ValueError."""
        antigens = [self._sequence(place, cells, antigen=True) for place in self.source.antigen]
        antigen = BREAK.join(dict.fromkeys(text for text in antigens if text))
        if self.source.antigen and not antigen:
            raise ValueError("the antigen is empty")
        chains = [self._sequence(place, cells) for place in self.source.antibody]
        chains = [text for text in chains if text]
        if not chains:
            raise ValueError("the antibody is empty")
        name = cells[self.source.antigen_name] if self.source.antigen_name is not None else ""
        return PairRow(number, antigen, name, tuple(chains), self._affinity(cells))

    def _sequence(self, place: Place, cells: Mapping[str, str], *, antigen: bool = False) -> str:
        text = cells[place] if isinstance(place, str) else self._grafted(self.fixed[place], cells, antigen)
        if not text.strip():
            return ""
        try:
            own = cleaned(text, chains=antigen)
        except ValueError as error:
            raise ValueError(f"{place if isinstance(place, str) else place.fasta}: {error}") from error
        if own.unknown:
            self.notes[UNKNOWN_LETTERS] += 1
        return own.text

    def _grafted(self, text: str, cells: Mapping[str, str], antigen: bool) -> str:
        """Put the residues of the row's cells in the places of a fixed antibody."""
        for column, old in {} if antigen else self.source.grafts.items():
            if text.count(old) == 1:
                text = text.replace(old, cells[column])
            elif text.count(old) > 1:
                raise ValueError(f"the residues {old} of grafts stand {text.count(old)} times in the sequence")
        return text

    def _affinity(self, cells: Mapping[str, str]) -> Measured:
        affinity = self.source.affinity
        if affinity is None:
            return Measured(math.nan)
        reference = affinity.reference if isinstance(affinity.reference, float) else math.nan
        if isinstance(affinity.reference, str):
            reference = float(cells[affinity.reference] or "nan")
        other = affinity.non_binders
        binds = other is None or cells[other.column] != other.value
        return parse_affinity(cells[affinity.column], affinity, reference, binds=binds)
