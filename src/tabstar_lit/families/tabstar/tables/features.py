"""The feature columns of a table, in training and in prediction: which there are, and what their cells are read as."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd

from tabstar_lit.arrays import Float64
from tabstar_lit.data.scalers import LARGEST
from tabstar_lit.errors import DataError
from tabstar_lit.families.tabstar.tables.cells import Style, as_numbers, find_style, rows_text
from tabstar_lit.families.tabstar.tables.date_cells import DateStyle, find_date_style, on_one_clock, read_dates
from tabstar_lit.families.tabstar.tables.reading import Reading


@dataclass(frozen=True)
class FeatureReader:
    """What the columns of a table are read as.

    Attributes
    ----------
    left_out : tuple of str
        Columns that are no features.
    dates : tuple of str
        Columns of text or numbers that hold dates.
    reading : Reading
        How cells are read.
    styles : Mapping
        Columns of text that hold numbers, and how these are written.
    flags : tuple of str
        Columns of true, false and gaps, which are read as the texts True and False.
    date_styles : Mapping
        Of the dates of the training: how a column writes them, whatever its rows to come look like.
    """

    left_out: tuple[str, ...]
    dates: tuple[str, ...]
    reading: Reading
    styles: Mapping[str, Style]
    flags: tuple[str, ...] = ()
    date_styles: Mapping[str, DateStyle] = field(default_factory=dict)

    @classmethod
    def fit(
        cls,
        frame: pd.DataFrame,
        reading: Reading,
        *,
        left_out: Sequence[str],
        dates: Sequence[str],
        warnings: list[str],
    ) -> FeatureReader:
        """Find the columns of text that are numbers; ``warnings`` gets a line for each whose style is a guess."""
        dated = reading.dated(dates)
        names = [name for name in frame.columns if name not in (*left_out, *dated)]
        styles = {name: style for name in names if (style := number_style(name, frame[name], reading)) is not None}
        warnings += [
            f"column '{name}' is read as numbers ({style.words}); 'kinds' can say otherwise"
            for name, style in styles.items()
            if name not in reading.kinds
        ]
        flags = tuple(name for name in names if _is_flag(frame[name]))
        return cls(tuple(left_out), dated, reading, styles, flags)

    def with_date_styles(self, frame: pd.DataFrame) -> FeatureReader:
        """Return it knowing how the rows of the training, which it has read without complaint, write their dates."""
        columns = {name: _without_gaps(frame[name], self.reading) for name in self.dates if name in frame.columns}
        found = {name: find_date_style(name, column, self.reading) for name, column in columns.items()}
        return replace(self, date_styles=found)

    def read(self, frame: pd.DataFrame, warnings: list[str]) -> pd.DataFrame:
        """Return the features of rows, in training and in prediction.

        Parameters
        ----------
        frame : DataFrame
            The rows.
        warnings : list of str
            Gets a line for every column with cells of another kind.

        Returns
        -------
        DataFrame
            Numbers, dates on one clock and text, under the names of the texts.

        Raises
        ------
        DataError
            A column holds numbers that cannot be scaled, or no date at all.
        """
        features = frame.drop(columns=[name for name in self.left_out if name in frame.columns])
        columns = {name: self._read(name, features[name], warnings) for name in features.columns}
        return pd.DataFrame(columns, index=features.index).rename(columns=self.reading.rename)

    def to_schema(self) -> dict[str, Any]:
        """Return it as plain data for JSON: what a checkpoint keeps of it."""
        return {
            "ignored": list(self.left_out),
            "parsed_dates": list(self.dates),
            "reading": self.reading.model_dump(mode="json", exclude_defaults=True),
            "number_styles": {column: list(style) for column, style in self.styles.items()},
            "flags": list(self.flags),
            "date_styles": {column: list(style) for column, style in self.date_styles.items()},
        }

    @classmethod
    def from_schema(cls, schema: Mapping[str, Any]) -> FeatureReader:
        """Rebuild it from :meth:`to_schema`'s data; older ones read every cell as it is found."""
        styles = {
            name: Style(decimal, thousands, tuple(gaps), *unit)  # files of before say no unit
            for name, (decimal, thousands, gaps, *unit) in schema.get("number_styles", {}).items()
        }
        reading = Reading.model_validate(schema.get("reading", {}))
        return cls(
            left_out=tuple(schema["ignored"]),
            dates=tuple(schema["parsed_dates"]),
            reading=reading,
            styles=styles,
            flags=tuple(schema.get("flags", ())),
            date_styles={name: DateStyle(*style) for name, style in schema.get("date_styles", {}).items()},
        )

    def _read(self, name: str, column: pd.Series, warnings: list[str]) -> pd.Series:
        if is_text(column):
            column = _without_gaps(column, self.reading)
        if name in self.dates:
            return read_dates(name, column, self._reading_of_dates(name), warnings)
        if name in self.flags:
            return column.map(_flag_text, na_action="ignore")
        if name in self.styles:
            column, other = as_numbers(column, self.styles[name])
            if other.any():
                warnings.append(f"column '{name}' holds no number in {rows_text(other)}: taken as missing")
        elif self.reading.kinds.get(name) == "text" and not is_text(column):
            return column.astype(object).where(column.notna(), None).map(str, na_action="ignore")
        if pd.api.types.is_datetime64_any_dtype(column.dtype):
            return on_one_clock(column, self.reading)
        if pd.api.types.is_numeric_dtype(column.dtype):
            refuse_infinite(f"column '{name}'", column.to_numpy(dtype=np.float64, na_value=np.nan))
        return column

    def _reading_of_dates(self, name: str) -> Reading:
        """Return how the dates of a column are read: once training has seen them, no other rows have a say in it."""
        style = self.date_styles.get(name)
        if style is None:
            return self.reading
        formats = self.reading.date_formats | ({} if style.format is None else {name: style.format})
        return self.reading.model_copy(update={"date_formats": formats, "day_first": style.day_first})


def number_style(name: str, column: pd.Series, reading: Reading) -> Style | None:
    """Return how a column of text writes numbers, by the keys or by its cells; None where it is no such column."""
    kind = reading.kinds.get(name)
    if not is_text(column) or kind in ("text", "date"):
        return None
    found = find_style(_without_gaps(column, reading))
    if kind != "number":
        return found
    own = found or Style()
    return own._replace(decimal=reading.decimal or own.decimal, thousands=reading.thousands or own.thousands)


def refuse_infinite(what: str, values: Float64) -> None:
    """Refuse numbers that cannot be scaled; ``what`` holds them.

    Raises
    ------
    DataError
        With the rows they are in.
    """
    infinite = np.abs(values) > LARGEST
    if infinite.any():
        raise DataError(
            f"{what} is infinite, or too large to scale, in {rows_text(infinite)}. "
            "Empty these cells, drop the rows, or ignore the column."
        )


def is_text(column: pd.Series) -> bool:
    """Tell whether a column holds text: neither numbers nor dates."""
    kind = column.dtype
    return not (pd.api.types.is_numeric_dtype(kind) or pd.api.types.is_datetime64_any_dtype(kind))


def _is_flag(column: pd.Series) -> bool:
    return column.dtype == object and pd.api.types.infer_dtype(column, skipna=True) == "boolean"


def _flag_text(cell: object) -> str:
    """Write true and false as training has read them, however a file spells them."""
    text = str(cell)
    return text.capitalize() if text.lower() in ("true", "false") else text


def _without_gaps(column: pd.Series, reading: Reading) -> pd.Series:
    """Return a column of text with the marks of gaps that the keys name as gaps."""
    return column.mask(column.isin(reading.missing)) if reading.missing else column
