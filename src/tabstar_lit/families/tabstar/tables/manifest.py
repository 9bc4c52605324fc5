"""The manifest: a YAML list of the tables a corpus is made of. Light to import: no pandas."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator

from tabstar_lit.config.nodes import Node, to_tree
from tabstar_lit.config.schema.base import Section
from tabstar_lit.config.tree import Problem, raise_problems, suggestion
from tabstar_lit.config.validate import validate
from tabstar_lit.config.yaml_reader import read_document
from tabstar_lit.errors import ConfigError
from tabstar_lit.families.tabstar.tables.reading import Reading

NAME = re.compile(r"\w[\w.\- ]*")
"""Names of tables: they become HDF5 groups, metric names and file names."""


class TableEntry(Reading):
    """One table of a manifest: what it is, and how its cells are read."""

    name: str = Field(description="Name of the table in the corpus, in metrics and in figures.")
    file: str = Field(description="CSV (.csv, .tsv, also .gz) or Parquet file, relative to the manifest.")
    target: str = Field(description="Column to predict.")
    task: Literal["classification", "regression"] = Field(description="What kind of target it is.")
    ignore: tuple[str, ...] = Field(default=(), description="Columns that are no features: ids and leaks.")
    dates: tuple[str, ...] = Field(default=(), description="Text columns to read as dates.")
    weight: str | None = Field(
        default=None, description="Column that says how much a row counts in the loss; it is no feature."
    )
    missing_target: Literal["error", "drop"] = Field(
        default="error", description="What to do with rows without a target."
    )
    description: str = Field(default="", description="What the table is about.")
    source: str = Field(default="", description="Where it came from.")
    commit: str = Field(default="", description="Version of the source.")
    licence: str = Field(default="", description="Terms of the data.")
    subsample: str = Field(default="", description="How rows were chosen.")
    note: str = Field(default="", description="Anything a reader should know.")
    rows: int | None = Field(default=None, description="Number of rows, for readers.")
    columns: int | None = Field(default=None, description="Number of columns, for readers.")
    n_classes: int | None = Field(default=None, description="Number of classes, for readers.")
    smallest_class: int | None = Field(default=None, description="Rows of the rarest class, for readers.")

    def reading(self) -> Reading:
        """Return how cells are read, without the rest."""
        return Reading.model_validate(self.model_dump(include=set(Reading.model_fields)))

    @field_validator("name")
    @classmethod
    def _safe(cls, name: str) -> str:
        if not NAME.fullmatch(name):
            raise ValueError("use letters, digits, '_', '-', '.' and spaces, beginning with a letter or digit")
        return name


class Manifest(Section):
    """All tables of a corpus, in its order."""

    tables: tuple[TableEntry, ...] = Field(description="One entry a table.")

    def problems(self) -> Iterable[Problem]:
        """Find an empty manifest and names that are given twice."""
        if not self.tables:
            yield Problem(("tables",), "the manifest names no table")
        names = [entry.name for entry in self.tables]
        for index, name in enumerate(names):
            if name in names[:index]:
                yield Problem(("tables", index, "name"), f"a table named '{name}' stands above already")


def read_manifest(path: Path) -> tuple[TableEntry, ...]:
    """Read a manifest and check that its files exist.

    Parameters
    ----------
    path : Path
        YAML file whose top is a list of entries.

    Returns
    -------
    tuple of TableEntry
        In the order of the file.

    Raises
    ------
    ConfigError
        With every mistake of the manifest at once, each at its line and column.
    """
    node = read_document(path)
    if not isinstance(node.value, list):
        raise ConfigError(f"{node.position}: expected a list of tables, each beginning with '- name: ...'")
    tree = to_tree(Node({"tables": node}, node.position))
    entries = validate(Manifest, tree).tables
    raise_problems(tree, _missing_files(entries, path.parent))
    return entries


def chosen_entry(entries: Sequence[TableEntry], name: str | None) -> TableEntry:
    """Return the table called ``name``; None: the only one.

    Raises
    ------
    ConfigError
        There is none of that name, or several and none is named.
    """
    names = [entry.name for entry in entries]
    if name is None and len(entries) > 1:
        raise ConfigError(
            f"the manifest has {len(entries)} tables: say with --table which one. It has {', '.join(names)}."
        )
    if name is not None and name not in names:
        raise ConfigError(f"the manifest has no table '{name}'.{suggestion(name, names, listed='It has')}")
    return entries[0 if name is None else names.index(name)]


def _missing_files(entries: Sequence[TableEntry], folder: Path) -> list[Problem]:
    problems = []
    for i, entry in enumerate(entries):
        if not (folder / entry.file).is_file():
            there = sorted(path.name for path in (folder / entry.file).parent.glob("*") if path.is_file())
            problem = f"no file '{Path(entry.file).name}' in {(folder / entry.file).parent}."
            problems.append(Problem(("tables", i, "file"), problem, there))
    return problems
