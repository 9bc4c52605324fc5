"""The manifest: which tables a corpus is made of. Light to import: no pandas."""

from __future__ import annotations

import re
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

NAME = re.compile(r"\w[\w.\- ]*")
"""Names of tables: they become HDF5 groups, metric names and file names."""


class TableEntry(BaseModel):
    """One table of a manifest."""

    model_config = ConfigDict(extra="forbid", frozen=True)

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
