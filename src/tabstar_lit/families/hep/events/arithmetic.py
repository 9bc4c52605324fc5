"""Numbers of columns: whole ones stay whole up to 64 bits, all others are float64."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product
from typing import Any

import numpy as np

from tabstar_lit.arrays import Array
from tabstar_lit.errors import DataError

WHOLE_IN_FLOAT64 = 1 << 53
"""Whole numbers up to here are exact in float64."""
INT64, UINT64 = (np.iinfo(kind) for kind in (np.int64, np.uint64))
WHOLE = {"add", "subtract", "multiply", "mod", "negative", "positive", "abs", "minimum", "maximum", "float_power"}
"""Functions of NumPy that give whole numbers of whole numbers."""
LOGICAL = {"logical_and", "logical_or", "logical_not", "isnan"}


def numbers(values: Any, text: str) -> Array:
    """Return truth values, int64, uint64 where int64 is too small, or float64.

    Parameters
    ----------
    values : ndarray or scalar
        Numbers of any type.
    text : str
        The expression they come from, for the message.

    Raises
    ------
    DataError
        If it is text.
    """
    array = np.asarray(values)
    if array.dtype.kind in "OUS":
        seen = next((cell for cell in array.ravel() if isinstance(cell, str)), None)
        raise DataError(f"'{text}' needs numbers, but found the text {seen!r}")
    if array.dtype.kind == "u" and array.dtype.itemsize == 8 and array.size and int(array.max()) > INT64.max:
        return array
    kinds = {"i": np.int64, "u": np.int64, "f": np.float64}
    return array.astype(kinds.get(array.dtype.kind, array.dtype), copy=False)


def truth(values: Any, text: str) -> Array:
    """Tell where a condition holds: where its value is neither 0 nor missing.

    Parameters
    ----------
    values : ndarray or scalar
        Numbers or truth values.
    text : str
        The expression they come from, for the message.

    Raises
    ------
    DataError
        If it is text.
    """
    found = numbers(values, text)
    return found if found.dtype == bool else np.asarray((found != 0) & ~np.isnan(found))


def computed(function: str, arguments: Sequence[Array], text: str) -> Any:
    """Apply a function to numbers of the same shape, or scalars.

    Parameters
    ----------
    function : str
        Name of a function of NumPy, or of :data:`KINEMATICS`.
    arguments : sequence of ndarray
        What :func:`numbers` or :func:`truth` return.
    text : str
        The expression, for messages.

    Raises
    ------
    DataError
        If a whole number does not fit into 64 bits, or loses digits beside a fraction.
    """
    if function in KINEMATICS:
        return KINEMATICS[function](*(argument.astype(np.float64) for argument in arguments))
    if function == "where":
        return _chosen(*arguments, text=text)
    if function in LOGICAL or function in _COMPARISONS:
        return getattr(np, function)(*arguments)
    plain = [argument.astype(np.int64) if argument.dtype == bool else argument for argument in arguments]
    if function not in WHOLE or any(argument.dtype.kind == "f" for argument in plain):
        return getattr(np, function)(*plain)
    if function == "float_power" and np.any(plain[1] < 0):
        return np.float_power(*plain)
    if function == "mod" and np.any(plain[1] == 0):
        gaps = np.broadcast_to(plain[1] == 0, np.broadcast_shapes(plain[0].shape, plain[1].shape))
        rest = _whole("mod", [plain[0], np.where(plain[1] == 0, 1, plain[1])], text)
        return with_gaps(np.asarray(rest), gaps, text)
    return _whole(function, plain, text)


def with_gaps(values: Array, absent: Array, name: str) -> Array:
    """Return numbers with NaN where they are absent; where none is, whole numbers stay whole.

    Raises
    ------
    DataError
        If whole numbers are too large to stand beside NaN.
    """
    if not absent.any():
        return values
    _require_exact(values[~absent], name, "gaps")
    return np.where(absent, np.nan, values.astype(np.float64))


def fitted(values: Array, text: str) -> Array:
    """Return Python's whole numbers ``[n]`` of type object as int64, or uint64 where that is too small.

    Raises
    ------
    DataError
        If they do not fit.
    """
    low, high = (min(values), max(values)) if values.size else (0, 0)
    for limits in (INT64, UINT64):
        if low >= limits.min and high <= limits.max:
            return values.astype(limits.dtype)
    seen = low if low < INT64.min else high
    raise DataError(
        f"'{text}': the whole number {seen} does not fit into 64 bits. Write 1.0 * in front of a column to compute "
        "with fractions, which have 16 digits"
    )


def _whole(function: str, arguments: Sequence[Array], text: str) -> Array:
    """Compute with whole numbers: by NumPy where nothing can wrap around, else with Python's."""
    if not all(argument.size for argument in arguments):
        return np.asarray(getattr(np, function)(*arguments).astype(np.int64))
    if all(argument.dtype == np.int64 for argument in arguments) and _fits(function, arguments):
        return np.asarray(getattr(np, _NAMES.get(function, function))(*arguments))
    if function == "float_power" and int(arguments[1].max()) > 64 and int(np.abs(arguments[0]).max()) > 1:
        raise DataError(f"'{text}': a power over 64 of a whole number does not fit into 64 bits. Write 1.0 * before it")
    exact = getattr(np, _NAMES.get(function, function))(*(argument.astype(object) for argument in arguments))
    result = np.asarray(exact, dtype=object)
    return fitted(result.reshape(-1), text).reshape(result.shape)


def _fits(function: str, arguments: Sequence[Array]) -> bool:
    """Tell whether the result is in int64 whatever values of the arguments meet."""
    bounds = [(int(argument.min()), int(argument.max())) for argument in arguments]
    if function in {"minimum", "maximum", "mod", "positive"}:
        return True
    if function == "float_power" and bounds[1][1] > 64:
        return all(abs(bound) <= 1 for bound in bounds[0])
    ends = [_EXACT[function](*corner) for corner in product(*bounds)]
    return min(ends) >= INT64.min and max(ends) <= INT64.max


def _chosen(condition: Array, yes: Array, no: Array, *, text: str) -> Array:
    yes, no = (side.astype(np.int64) if side.dtype == bool else side for side in (yes, no))
    kinds = {yes.dtype.kind, no.dtype.kind}
    if "f" in kinds:
        for side in (yes, no):
            _require_exact(side, text, "fractions or missing values")
        return np.where(condition, yes.astype(np.float64), no.astype(np.float64))
    if kinds == {"i", "u"}:
        result = np.where(condition, yes.astype(object), no.astype(object))
        return fitted(result.reshape(-1), text).reshape(result.shape)
    return np.where(condition, yes, no)


def _require_exact(values: Array, name: str, beside: str) -> None:
    """Refuse whole numbers that float64 cannot hold."""
    if values.dtype.kind in "iu" and np.any((values > WHOLE_IN_FLOAT64) | (values < -WHOLE_IN_FLOAT64)):
        raise DataError(
            f"'{name}' has whole numbers over 2^53 beside {beside}, where they would lose digits: give each event a "
            "whole number, or use texts"
        )


def _delta_r(eta: Array, phi: Array, other_eta: Array, other_phi: Array) -> Array:
    """Return the distance in pseudorapidity and azimuth."""
    turn = np.remainder(phi - other_phi + np.pi, 2 * np.pi) - np.pi
    return np.asarray(np.hypot(eta - other_eta, turn))


def _mass(*components: Array) -> Array:
    """Return the invariant mass of momenta pt, eta, phi, mass; negative where it is space-like, as in ROOT."""
    x = y = z = energy = np.zeros(())
    for pt, eta, phi, mass in zip(*(components[part::4] for part in range(4)), strict=True):
        x, y, z = x + pt * np.cos(phi), y + pt * np.sin(phi), z + pt * np.sinh(eta)
        energy = energy + np.hypot(pt * np.cosh(eta), mass)
    return signed_root(energy**2 - x**2 - y**2 - z**2)


def signed_root(square: Array) -> Array:
    """Return the mass of a squared mass; that of a space-like momentum is negative, as in ROOT."""
    return np.asarray(np.copysign(np.sqrt(np.abs(square)), square))


KINEMATICS: dict[str, Callable[..., Array]] = {"delta_r": _delta_r, "mass": _mass}
"""Functions that NumPy has not."""
_COMPARISONS = {"equal", "not_equal", "less", "less_equal", "greater", "greater_equal"}
_NAMES = {"float_power": "power"}
_EXACT: dict[str, Callable[..., int]] = {
    "add": lambda a, b: a + b,
    "subtract": lambda a, b: a - b,
    "multiply": lambda a, b: a * b,
    "float_power": lambda a, b: a**b,
    "negative": lambda a: -a,
    "abs": abs,
}
