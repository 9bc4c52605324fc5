"""Columns with several values an event. Light to import."""

from __future__ import annotations

from dataclasses import dataclass

from tabstar_lit.arrays import Array


@dataclass(frozen=True)
class Jagged:
    """One value an object, event after event.

    Attributes
    ----------
    values : ndarray [m]
        Of all objects.
    counts : ndarray of int [n]
        Objects in each event; they sum to m.
    """

    values: Array
    counts: Array
