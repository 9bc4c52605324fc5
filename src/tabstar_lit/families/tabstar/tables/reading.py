"""How the cells of a table are read: keys of a manifest that a checkpoint keeps, so that prediction reads the same."""

from __future__ import annotations

import codecs
from collections.abc import Iterable
from typing import Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import ConfigDict, Field, field_validator

from tabstar_lit.config.schema.base import Section
from tabstar_lit.config.tree import Problem

Kind = Literal["text", "number", "date"]

UNITS_OF_TIME = ("s", "ms", "us", "ns")
"""Formats of dates that count from 1970-01-01 in UTC."""


class Reading(Section):
    """Keys about cells. What is null is found out where the table leaves no doubt, and said."""

    # Column names, marks and classes that are numbers need no quotes.
    model_config = ConfigDict(strict=False, coerce_numbers_to_str=True)

    separator: str | None = Field(
        default=None,
        min_length=1,
        max_length=1,
        description="Character between the fields of a text file; null: by its name (.csv a comma, .tsv a tab), or one "
        "of ; | tab comma that every line agrees on.",
    )
    decimal: Literal[".", ","] | None = Field(default=None, description="Decimal mark of numbers; null: found out.")
    thousands: str | None = Field(
        default=None, min_length=1, max_length=1, description="Mark between groups of three digits; null: found out."
    )
    missing: tuple[str, ...] | None = Field(
        default=None,
        description="Cells that stand for a gap, beside empty ones; null: pandas' list (NA, NaN, None, null, n/a …). "
        "[] keeps all of these as text, such as a class called None.",
    )
    encoding: str = Field(default="utf-8", description="Of a text file, as Python calls it: cp1252, latin-1, utf-16.")
    kinds: dict[str, Kind] = Field(
        default={},
        description="Kind of a column where the guess is wrong: text, number (other cells are missing, and counted) or "
        "date. A target of kind text keeps 01 and 1 apart.",
    )
    date_formats: dict[str, str] = Field(
        default={},
        description="Format of a column of dates: as strptime has it (%d.%m.%Y), or s, ms, us, ns since 1970.",
    )
    day_first: bool | None = Field(
        default=None, description="04/01/2024 is 4 January; null: as the dates of the column that leave no doubt."
    )
    time_zone: str | None = Field(
        default=None, description="Show dates that have a time zone on the clock of this one; null: UTC."
    )
    rename: dict[str, str] = Field(
        default={}, description="Names of columns in the texts, where those of the file are too long or read the same."
    )
    class_names: dict[str, str] = Field(
        default={}, description="Names of classes in texts and predictions, where those of the file read the same."
    )

    @field_validator("encoding")
    @classmethod
    def _known(cls, name: str) -> str:
        try:
            return codecs.lookup(name).name
        except LookupError as error:
            raise ValueError(f"Python knows no encoding '{name}'; try utf-8, cp1252, latin-1 or utf-16") from error

    @field_validator("time_zone")
    @classmethod
    def _on_the_map(cls, name: str | None) -> str | None:
        if name is not None:
            try:
                ZoneInfo(name)
            except (ZoneInfoNotFoundError, ValueError) as error:
                raise ValueError(f"no time zone '{name}'; they are called like Europe/Ljubljana or UTC") from error
        return name

    def problems(self) -> Iterable[Problem]:
        """Find marks that mean two things."""
        if self.decimal is not None and self.decimal == self.thousands:
            yield Problem(("thousands",), f"'{self.thousands}' is the decimal mark already")

    def columns_named(self) -> dict[str, tuple[str, ...]]:
        """Return the columns that each key names."""
        return {"kinds": tuple(self.kinds), "date_formats": tuple(self.date_formats), "rename": tuple(self.rename)}

    def dated(self, dates: Iterable[str] = ()) -> tuple[str, ...]:
        """Return the columns of dates: those given, and those that the keys call so."""
        kinds = (name for name, kind in self.kinds.items() if kind == "date")
        return tuple(dict.fromkeys((*dates, *kinds, *self.date_formats)))
