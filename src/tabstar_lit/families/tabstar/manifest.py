"""The manifest: a YAML list of the tables a corpus is made of. Light to import: no pandas."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from tabstar_lit.config.nodes import Node, to_tree
from tabstar_lit.config.tree import Problem, raise_problems
from tabstar_lit.config.yaml_reader import parse_yaml, shown_path
from tabstar_lit.errors import ConfigError, DataError

NAME = re.compile(r"\w[\w.\- ]*")
"""Names of tables: they become HDF5 groups, metric names and file names."""


class TableEntry(BaseModel):
    """One table of a manifest."""

    model_config = ConfigDict(extra="forbid", frozen=True, coerce_numbers_to_str=True)

    name: str = Field(description="Name of the table in the corpus, in metrics and in figures.")
    file: str = Field(description="CSV (.csv, .tsv, also .gz) or Parquet file, relative to the manifest.")
    target: str = Field(description="Column to predict.")
    task: Literal["classification", "regression"] = Field(description="What kind of target it is.")
    ignore: tuple[str, ...] = Field(default=(), description="Columns that are no features: ids and leaks.")
    dates: tuple[str, ...] = Field(default=(), description="Text columns to read as dates.")
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

    @field_validator("name")
    @classmethod
    def _safe(cls, name: str) -> str:
        if not NAME.fullmatch(name):
            raise ValueError(
                "use letters, digits, '_', '-', '.' and spaces, beginning with a letter or digit"
            )
        return name


class Manifest(BaseModel):
    """All tables of a corpus, in its order."""

    model_config = ConfigDict(frozen=True)

    tables: tuple[TableEntry, ...] = Field(min_length=1, description="One entry a table.")


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
    node = parse_yaml(_text(path), shown_path(path))
    if not isinstance(node.value, list):
        raise ConfigError(f"{node.position}: expected a list of tables, each beginning with '- name: ...'")
    tree = to_tree(Node({"tables": node}, node.position))
    try:
        entries = Manifest.model_validate(tree.data).tables
    except ValidationError as error:
        raise_problems(tree, [_problem(detail) for detail in error.errors(include_url=False)])
        raise
    raise_problems(tree, [*_repeated(entries), *_missing_files(entries, path.parent)])
    return entries


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{shown_path(path)}: not UTF-8 text; save the manifest as UTF-8") from error
    except OSError as error:
        raise DataError(f"{shown_path(path)}: cannot be read: {error.strerror}") from error


def _problem(detail: Any) -> Problem:
    """Say in a user's words what pydantic found."""
    path, kind = detail["loc"], detail["type"]
    key, seen = path[-1], detail["input"]
    if kind == "extra_forbidden":
        return Problem(path, f"unknown key '{key}'", tuple(TableEntry.model_fields))
    if kind == "missing":
        return Problem(path[:-1], f"the key '{key}' is missing in this table")
    if kind == "too_short":
        return Problem(path, "the manifest names no table")
    if kind == "value_error":
        return Problem(path, f"{key} {seen!r}: {detail['ctx']['error']}")
    expected = {
        "literal_error": detail.get("ctx", {}).get("expected", ""),
        "string_type": "a text",
        "int_type": "a whole number",
        "int_parsing": "a whole number",
        "tuple_type": "a list of column names",
        "model_type": "a table with keys such as name, file, target and task",
    }
    return Problem(path, f"expected {expected.get(kind, detail['msg'])}, got {seen!r}")


def _repeated(entries: Sequence[TableEntry]) -> list[Problem]:
    names = [entry.name for entry in entries]
    return [
        Problem(("tables", i, "name"), f"a table named '{name}' stands above already; names are unique")
        for i, name in enumerate(names)
        if name in names[:i]
    ]


def _missing_files(entries: Sequence[TableEntry], folder: Path) -> list[Problem]:
    problems = []
    for i, entry in enumerate(entries):
        if not (folder / entry.file).is_file():
            there = sorted(path.name for path in (folder / entry.file).parent.glob("*") if path.is_file())
            problem = f"no file '{Path(entry.file).name}' in {(folder / entry.file).parent}"
            problems.append(Problem(("tables", i, "file"), problem, there))
    return problems
