"""Cells of a table as models of offsets read them: which columns are numbers, and which texts are common."""

from __future__ import annotations

import hashlib

import numpy as np

from tabstar_lit.arrays import Int32, Int64
from tabstar_lit.families.tabstar.tables.corpus import Table
from tabstar_lit.families.tabstar.tables.preprocessing import Encoded

LEAST_ROWS = 5
"""Training rows with a text from which on it is common."""


def key(text: str) -> str:
    """Return a hash of a text from which it cannot be read; the text of a cell names its column, so it is of one."""
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def texts_and_numbers(table: Table, features: Int64) -> tuple[Int64, Int64]:
    """Return the places of columns of text and of numbers among those in use."""
    first_number = len(table.feature_names) - sum(column["kind"] == "number" for column in table.schema["columns"])
    return features[features < first_number], features[features >= first_number]


def common(codes: Int32, most: int) -> Int64:
    """Return the codes of up to ``most`` common texts of ``N`` rows, rising; one that all have tells nothing."""
    found, counts = np.unique(codes, return_counts=True)
    telling = (counts >= LEAST_ROWS) & (counts < len(codes))
    order = np.argsort(-counts[telling], kind="stable")[:most]
    return np.sort(found[telling][order]).astype(np.int64)


def evenly(rows: Int64, most: int) -> Int64:
    """Return rows, evenly chosen where there are more than ``most``."""
    return rows[np.unique(np.linspace(0, len(rows) - 1, most).astype(np.int64))] if len(rows) > most else rows


def encoded_rows(table: Table, rows: Int64, features: Int64) -> Encoded:
    """Return rows of a table as predictions of new rows have them."""
    return Encoded(table.vocabulary, table.codes[np.ix_(rows, features)], table.numbers[np.ix_(rows, features)])
