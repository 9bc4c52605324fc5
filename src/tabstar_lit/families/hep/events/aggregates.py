"""From one value an object to one value an event: sums, extremes, means and single objects."""

from __future__ import annotations

import numpy as np

from tabstar_lit.arrays import Array
from tabstar_lit.errors import DataError
from tabstar_lit.families.hep.events.arithmetic import INT64, fitted, numbers, truth, with_gaps
from tabstar_lit.families.hep.events.jagged import Jagged


def aggregated(name: str, argument: object, text: str) -> Array:
    """Return one value an event.

    Parameters
    ----------
    name : str
        ``count``, ``sum``, ``mean``, ``min``, ``max``, ``argmin`` or ``argmax``.
    argument : Jagged
        One value an object.
    text : str
        The expression, for messages.

    Returns
    -------
    ndarray [n]
        Of an event without objects 0 for ``count`` and ``sum``, else NaN. NaN of an object is passed on.

    Raises
    ------
    DataError
        If the argument is not jagged, or is text, or a sum does not fit into 64 bits.
    """
    if not isinstance(argument, Jagged):
        raise DataError(f"'{text}': '{name}' needs a jagged column, which has one value an object")
    if name == "count":
        return _sum(truth(argument.values, text).astype(np.int64), argument.counts, text)
    values, counts = numbers(argument.values, text), argument.counts
    values = values.astype(np.int64) if values.dtype == bool else values
    if name == "sum":
        return _sum(values, counts, text)
    if name == "mean":
        with np.errstate(all="ignore"):  # 0/0 is the mean of nothing
            return _sum(values.astype(np.float64), counts, text) / counts
    extreme = np.maximum if name in {"max", "argmax"} else np.minimum
    best = _reduced(extreme, values, counts)
    if name in {"min", "max"}:
        return with_gaps(best, counts == 0, text)
    return _first(values == np.repeat(best, counts), counts)


def element(argument: object, index: object, text: str) -> Array:
    """Return one object of each event, by its place from 0, or from -1 backwards; missing where there is none.

    Parameters
    ----------
    argument : Jagged
        One value an object.
    index : ndarray or scalar
        The place, the same or another one in each event.
    text : str
        The expression, for messages.

    Returns
    -------
    ndarray [n]
        NaN, or None among texts, where an event has no such object.

    Raises
    ------
    DataError
        If the argument is not jagged or a place is not whole.
    """
    if not isinstance(argument, Jagged):
        raise DataError(f"'{text}': [...] takes one of the values of an event, but there is one value an event")
    if isinstance(index, Jagged):
        raise DataError(f"'{text}': the place in [...] has one value an object, not one an event")
    counts = argument.counts
    place = np.broadcast_to(numbers(index, text).astype(np.float64), counts.shape)
    if np.any(place != np.round(place), where=~np.isnan(place)):
        raise DataError(f"'{text}': the place in [...] is not a whole number")
    place = np.where(place < 0, place + counts, place)
    there = (place >= 0) & (place < counts)  # not where it is NaN
    rows = (np.cumsum(counts) - counts)[there] + place[there].astype(np.int64)
    if argument.values.dtype == object:
        texts = np.full(len(counts), None, dtype=object)
        texts[there] = argument.values[rows]
        return texts
    found = np.zeros(len(counts), dtype=argument.values.dtype)
    found[there] = argument.values[rows]
    return with_gaps(found, ~there, text)


def _sum(values: Array, counts: Array, text: str) -> Array:
    if values.dtype.kind == "f":
        return np.bincount(np.repeat(np.arange(len(counts)), counts), values, minlength=len(counts))
    if values.size and max(int(values.max()), -int(values.min())) * int(counts.max()) > INT64.max:
        return fitted(_reduced(np.add, values.astype(object), counts), text)
    return _reduced(np.add, values, counts)


def _reduced(function: np.ufunc, values: Array, counts: Array) -> Array:
    """Combine the values of each event; 0 for those that have none."""
    filled = counts > 0
    result = np.zeros(len(counts), dtype=values.dtype)
    if filled.any():
        result[filled] = function.reduceat(values, (np.cumsum(counts) - counts)[filled])
    return result


def _first(holds: Array, counts: Array) -> Array:
    """Return the place of the first object of each event for which something holds; NaN where it does for none."""
    starts = np.cumsum(counts) - counts
    rows = np.flatnonzero(holds)
    events, first = np.unique(np.repeat(np.arange(len(counts)), counts)[rows], return_index=True)
    result = np.full(len(counts), np.nan)
    result[events] = rows[first] - starts[events]
    return result
