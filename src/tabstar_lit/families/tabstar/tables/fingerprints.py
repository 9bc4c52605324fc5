"""Whether a table, or much of it, is among the training tables of a model: sketches of rows and columns.

A sketch is the smallest of the hashes of a set (bottom-k, Broder 1997): those of two sets below the lesser of both
bounds are a fair sample of each, whatever their sizes. Sketches stand in the schema of a table, and so in corpora and
checkpoints; no cell can be read out of them.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from tabstar_lit.arrays import UInt64
from tabstar_lit.data.splits import frame_hashes, salt
from tabstar_lit.data.verbalize import column_text

KEY = "fingerprints"
"""Where a schema has them."""

ROWS, VALUES = 512, 32
"""Hashes kept of the rows of a table, and of the values of a column."""

FEW_VALUES, MANY_VALUES = 20, 100
"""A column of fewer values proves nothing; one of many does under another name, too."""

SHARED_ROWS, SHARED_COLUMNS = 0.01, 0.5
"""Shares of a table from which on a warning is due."""


def fingerprints(frame: pd.DataFrame) -> dict[str, Any]:
    """Return the sketches of a table: ``rows``, whatever the order of rows and columns, and ``columns`` by name."""
    rows = np.zeros(len(frame), dtype=np.uint64)
    columns = {}
    for name, hashes in zip(map(_plain, map(str, frame.columns)), frame_hashes(frame), strict=True):
        rows += _scattered(hashes ^ salt(name))
        columns[name] = {"values": len(distinct := np.unique(hashes)), "sketch": _sketch(distinct, VALUES)}
    return {"rows": _sketch(np.unique(rows), ROWS), "columns": columns}


class Overlap(NamedTuple):
    """How much of a table is in another.

    Attributes
    ----------
    rows : float
        Share of its rows, estimated.
    columns : tuple of str
        Its columns with (nearly) the values of one there.
    of : int
        Columns that could have been found.
    """

    rows: float
    columns: tuple[str, ...]
    of: int

    @property
    def is_suspicious(self) -> bool:
        """Whether that is more than chance gives."""
        return self.rows >= SHARED_ROWS or (len(self.columns) > 1 and len(self.columns) >= SHARED_COLUMNS * self.of)


def overlap(table: Mapping[str, Any], other: Mapping[str, Any]) -> Overlap:
    """Compare the fingerprints of a table with those of another."""
    mine, theirs = _sample(table["rows"], other["rows"], ROWS)
    rows = float(np.isin(mine, theirs).mean()) if len(mine) else 0.0
    telling = {name: own for name, own in table["columns"].items() if own["values"] >= FEW_VALUES}
    shared = tuple(name for name, own in telling.items() if _is_there(name, own, other["columns"]))
    return Overlap(rows, shared, len(telling))


def leaks(tables: Mapping[str, Any], trained: Mapping[str, Any], model: str) -> Iterator[str]:
    """Yield a line for each table that seems to be among those that a model was trained on.

    Parameters
    ----------
    tables, trained : Mapping of str to schema
        The tables at hand, and those of the model.
    model : str
        What it is called.
    """
    for name, schema in tables.items():
        for theirs, other in trained.items():
            if KEY not in schema or KEY not in other:
                continue
            found = overlap(schema[KEY], other[KEY])
            if found.is_suspicious:
                yield (
                    f"table '{name}' seems to be known to {model} already: about {found.rows:.0%} of its rows are in "
                    f"its training table '{theirs}', and {len(found.columns)} of {found.of} telling columns have the "
                    f"same values there ({', '.join(found.columns) or 'none'}). Scores on such rows say little."
                )


def _is_there(name: str, column: Mapping[str, Any], others: Mapping[str, Any]) -> bool:
    """Tell whether most values of a column are those of one of the others."""
    many = column["values"] >= MANY_VALUES
    candidates = others.values() if many else [others[name]] if name in others else []
    for other in candidates:
        if _members(column["sketch"]).isdisjoint(_members(other["sketch"])):  # of hundreds of tables, nearly always
            continue
        mine, theirs = _sample(column["sketch"], other["sketch"], VALUES)
        both = len(np.intersect1d(mine, theirs))
        if both > SHARED_COLUMNS * (len(mine) + len(theirs) - both):
            return True
    return False


@lru_cache(maxsize=1 << 16)
def _members(sketch: str) -> frozenset[int]:
    return frozenset(_hashes(sketch).tolist())


def _sample(first: str, second: str, size: int) -> tuple[UInt64, UInt64]:
    """Return the hashes of two sketches below the lesser of their bounds."""
    both = _hashes(first), _hashes(second)
    bound = min((own[-1] for own in both if len(own) == size), default=np.uint64(2**64 - 1))
    one, other = (own[own <= bound] for own in both)
    return one, other


def _hashes(sketch: str) -> UInt64:
    """Read a sketch, in rising order."""
    return np.frombuffer(base64.b64decode(sketch), dtype="<u8").astype(np.uint64)


def _sketch(hashes: UInt64, size: int) -> str:
    """Write down the smallest of sorted hashes."""
    return base64.b64encode(hashes[:size].astype("<u8").tobytes()).decode("ascii")


def _scattered(hashes: UInt64) -> UInt64:
    return np.asarray(pd.util.hash_array(hashes), dtype=np.uint64)


def _plain(name: str) -> str:
    return column_text(name).casefold()
