"""Some events of a source while they are converted: their columns, and what expressions make of them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd

from tabstar_lit.arrays import Array, Bool, Float64
from tabstar_lit.errors import DataError
from tabstar_lit.families.hep.events.conversion_config import ConversionConfig
from tabstar_lit.families.hep.events.expressions import Jagged, truth
from tabstar_lit.families.hep.events.readers import Value

MAX_SHOWN = 5


class SourceEvents(NamedTuple):
    """Columns of some events of a source, the rows of the file they stand in, counted from 0, and the conversion."""

    columns: dict[str, Value]
    rows: Array
    config: ConversionConfig

    def value(self, text: str) -> Value:
        """Evaluate an expression."""
        return self.config.expression(text)(self.columns, len(self.rows))

    def flat(self, text: str, what: str) -> Array:
        """Evaluate an expression that must have one value an event."""
        value = self.value(text)
        if isinstance(value, Jagged):
            one = f"; take one, as in {text}[0], or count(...), sum(...), max(...)"
            raise DataError(f"{what} '{text}' has one value an object, not one an event{one}")
        return value

    def objects(self, text: str, what: str) -> Jagged:
        """Evaluate an expression that must have one number an object."""
        value = self.value(text)
        if not isinstance(value, Jagged):
            raise DataError(f"{what} '{text}' has one value an event, not one an object")
        return Jagged(as_floats(value.values, text), value.counts)

    def condition(self, text: str, what: str) -> Bool:
        """Tell for which events a condition holds; it does not where it is missing."""
        return np.asarray(truth(self.flat(text, what), text))

    def selected(self, keep: Array) -> SourceEvents:
        """Return the events at positions ``keep``."""
        columns = {name: _selected(value, keep) for name, value in self.columns.items()}
        return self._replace(columns=columns, rows=self.rows[keep])

    def require(self, good: Array, what: str, problem: str, counts: Array | None = None) -> None:
        """Refuse values that are not all good; ``counts`` for values of objects."""
        if not np.all(good):
            rows = self.rows if counts is None else np.repeat(self.rows, counts)
            bad = rows[~good]
            shown = ", ".join(map(str, dict.fromkeys(bad[:MAX_SHOWN].tolist())))
            raise DataError(f"{what}: {len(bad)} values are {problem} (first in rows {shown}, counted from 0)")


def as_floats(values: Array, name: str) -> Float64:
    """Return the values of a column as numbers.

    Raises
    ------
    DataError
        They are texts.
    """
    if values.dtype != object:
        return values.astype(np.float64)
    texts = [cell for cell in values if isinstance(cell, str)]
    unread = pd.to_numeric(pd.Series(texts, dtype=object), errors="coerce").isna()
    seen = next((text for text, is_word in zip(texts, unread, strict=True) if is_word), texts[0] if texts else None)
    raise DataError(f"column '{name}' holds the text {seen!r}; make it 'kind: categorical', or declare missing_code")


def _selected(value: Value, keep: Array) -> Value:
    if not isinstance(value, Jagged):
        return value[keep]
    mask = np.zeros(len(value.counts), dtype=bool)
    mask[keep] = True
    return Jagged(value.values[np.repeat(mask, value.counts)], value.counts[keep])
