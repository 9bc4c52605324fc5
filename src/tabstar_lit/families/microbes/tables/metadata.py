"""Metadata of samples: a TSV file whose first column is the sample id, with or without QIIME 2's line of types."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from tabstar_lit.config.tree import suggestion
from tabstar_lit.errors import DataError
from tabstar_lit.families.microbes.study.study import Classes
from tabstar_lit.families.microbes.tables.payload import read_payload

ColumnKind = Literal["class", "number"]

JOINT = " / "
"""Between the names, and the cells, of columns that are taken together."""
TYPES = "#q2:types"
KINDS: Mapping[str, ColumnKind] = {"categorical": "class", "numeric": "number"}
MISSING = frozenset(
    {"", "na", "n/a", "nan", "null", "missing"}
    | {f"{own}{what}" for own in ("", "missing: ") for what in ("not provided", "not collected", "not applicable")}
    | {f"{own}restricted access" for own in ("", "missing: ")}
)
"""What stands for a missing value, whatever its capitals: the words of Qiita, QIIME 2 and the INSDC."""


@dataclass(frozen=True, eq=False)
class Metadata:
    """Cells as texts.

    Attributes
    ----------
    sample_ids : tuple of str
        ``[N]``.
    columns : mapping of str to tuple of str
        ``[N]`` cells by column, empty where missing.
    kinds : mapping of str to str
        What the file says of its columns.
    lines : tuple of int
        ``[N]`` line of each sample in the file.
    source : str
        The file.
    """

    sample_ids: tuple[str, ...]
    columns: Mapping[str, tuple[str, ...]]
    kinds: Mapping[str, ColumnKind]
    lines: tuple[int, ...]
    source: str

    def require(self, name: str, key: str) -> tuple[str, ...]:
        """Return the cells of a column.

        Raises
        ------
        DataError
            There is none of that name.
        """
        if name not in self.columns:
            hint = suggestion(name, list(self.columns), listed="It has")
            raise DataError(f"{key}: {self.source} has no column '{name}'.{hint}")
        return self.columns[name]

    def kind(self, name: str) -> ColumnKind:
        """Return what a column holds: what the file says, else numbers where all its cells are."""
        if name in self.kinds:
            return self.kinds[name]
        known = [cell for cell in self.columns[name] if cell]
        return "number" if known and all(_number(cell) is not None for cell in known) else "class"

    def numbers(self, name: str) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        """Return a column as numbers ``[N]``, NaN where missing.

        Raises
        ------
        DataError
            A cell is no number: says at which line.
        """
        values = np.full(len(self.sample_ids), np.nan)
        for row, cell in enumerate(self.columns[name]):
            if not cell:
                continue
            value = _number(cell)
            if value is None:
                raise DataError(
                    f"{self.source}:{self.lines[row]}: column '{name}', sample '{self.sample_ids[row]}': {cell!r} is "
                    f"no number. If it means that there is none, name it under 'missing'; else convert '{name}' as a "
                    "class."
                )
            values[row] = value
        return values

    def classes(self, name: str) -> Classes:
        """Return a column as categories in the order of the alphabet."""
        cells = np.asarray(self.columns[name], dtype=object)
        labels = sorted({cell for cell in self.columns[name] if cell})
        numbers = {label: number for number, label in enumerate(labels)} | {"": -1}
        return Classes(np.array([numbers[cell] for cell in cells], dtype=np.int32), tuple(labels))

    def joined(self, names: Sequence[str]) -> Metadata:
        """Return the metadata with one more column, of the cells of several together; empty where one is missing."""
        rows = zip(*(self.columns[name] for name in names), strict=True)
        cells = tuple(JOINT.join(row) if all(row) else "" for row in rows)
        return replace(self, columns={**self.columns, JOINT.join(names): cells})

    def of(self, sample_ids: Sequence[str]) -> Metadata:
        """Return the rows of some samples, in their order; all of them are here."""
        place = {name: row for row, name in enumerate(self.sample_ids)}
        rows = [place[name] for name in sample_ids]
        columns = {name: tuple(own[row] for row in rows) for name, own in self.columns.items()}
        return Metadata(tuple(sample_ids), columns, self.kinds, tuple(self.lines[row] for row in rows), self.source)


def read_metadata(path: Path, missing: Iterable[str] = ()) -> Metadata:
    """Read metadata.

    Parameters
    ----------
    path : Path
        TSV, or CSV where its name ends so.
    missing : iterable of str
        Further marks of missing values, as they stand in the file.

    Raises
    ------
    DataError
        It cannot be read, has no samples, rows of another length than the header, or a sample twice.
    """
    payload = read_payload(path, members=("metadata.tsv",))
    marks = MISSING | {mark.strip().lower() for mark in missing}
    separator = "," if payload.suffix == ".csv" else "\t"
    rows = csv.reader(io.StringIO(payload.text()), delimiter=separator)
    header: list[str] = []
    kinds: dict[str, ColumnKind] = {}
    cells: dict[str, list[str]] = {}
    lines: list[int] = []
    for row in rows:
        if not row or not any(row) or (header and row[0].startswith("#") and row[0] != TYPES):
            continue
        if not header:
            header = [name.strip() for name in row]
            _require_header(payload.source, rows.line_num, header)
        elif row[0] == TYPES:
            kinds = {name: KINDS[own] for name, own in zip(header[1:], row[1:], strict=False) if own in KINDS}
        else:
            _require_row(payload.source, rows.line_num, row, header, cells)
            cells[row[0].strip()] = ["" if cell.strip().lower() in marks else cell.strip() for cell in row[1:]]
            lines.append(rows.line_num)
    if not cells:
        raise DataError(
            f"{payload.source}: no samples. Expected a header, whose first column is the sample id, and rows."
        )
    by_column = zip(*cells.values(), strict=True)
    return Metadata(tuple(cells), dict(zip(header[1:], by_column, strict=True)), kinds, tuple(lines), payload.source)


def _require_header(source: str, line: int, header: Sequence[str]) -> None:
    """Refuse columns of one name, and those without; the first, of sample ids, needs none."""
    for position, name in enumerate(header):
        if (position and not name) or name in header[:position]:
            problem = f"'{name}' is there twice" if name else "has no name"
            raise DataError(f"{source}:{line}: column {position + 1} {problem}; names of columns are unique.")


def _require_row(
    source: str, line: int, row: Sequence[str], header: Sequence[str], known: Mapping[str, object]
) -> None:
    if len(row) != len(header):
        raise DataError(
            f"{source}:{line}: {len(row)} cells in a row, and the header has {len(header)}. Is the separator right? "
            "Metadata are separated by tabs, in .csv files by commas."
        )
    if row[0].strip() in known:
        raise DataError(f"{source}:{line}: the sample '{row[0].strip()}' is there twice; keep one of its rows.")


def _number(cell: str) -> float | None:
    try:
        value = float(cell)
    except ValueError:
        return None
    return value if np.isfinite(value) else None
