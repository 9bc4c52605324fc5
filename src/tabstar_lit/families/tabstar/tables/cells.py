"""Cells as they come: numbers written in other ways, marks for gaps, and what a column of text looks like."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from tabstar_lit.arrays import Bool, Float64

MARKS = frozenset({"?", "-", "--", "---", ".", "..", "*"})
"""Cells that stand for a gap in a column that otherwise holds numbers only."""

MANY_NUMBERS = 50
"""Plain numbers among text make a column of numbers only if more than so many of them differ, as with digits."""

_PLAIN = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_COMMA = re.compile(r"[+-]?\d*,\d+([eE][+-]?\d+)?")
_GROUPED = {
    ",": re.compile(r"[+-]?\d{1,3}(,\d{3})+(\.\d+)?"),
    ".": re.compile(r"[+-]?\d{1,3}(\.\d{3})+(,\d+)?"),
    "'": re.compile(r"[+-]?\d{1,3}('\d{3})+([.,]\d+)?"),
    " ": re.compile(r"[+-]?\d{1,3}( \d{3})+([.,]\d+)?"),
}
_WHOLE = re.compile(r"[+-]?\d+")
_SMALL = re.compile(r"[+-]?\d{1,3}([.,]\d+)?")


class Style(NamedTuple):
    """How the numbers of a column of text are written.

    Attributes
    ----------
    decimal, thousands : str or None
        Marks; None where no cell has one.
    gaps : tuple of str
        Cells that stand for a gap, beside empty ones.
    unit : str
        Sign before or behind every number: of a currency, or of parts in a hundred or a thousand.
    """

    decimal: str | None = None
    thousands: str | None = None
    gaps: tuple[str, ...] = ()
    unit: str = ""

    @property
    def words(self) -> str:
        """The style, for messages."""
        parts = [] if self.decimal is None else [f"decimal mark {self.decimal!r}"]
        parts += [] if self.thousands is None else [f"thousands apart by {self.thousands!r}"]
        parts += [f"in {self.unit}"] if self.unit else []
        parts += [f"{', '.join(map(repr, self.gaps))} missing"] if self.gaps else []
        return ", ".join(parts)


def rows_text(mask: Bool) -> str:
    """Say which rows are meant, counted from 1 below the header, and how many.

    Parameters
    ----------
    mask : ndarray of bool [N]
        True for the rows meant.

    Returns
    -------
    str
        Such as ``3 rows (2, 5, 9)``.
    """
    rows = (np.flatnonzero(mask) + 1).tolist()
    shown = ", ".join(map(str, rows[:5])) + (", …" if len(rows) > 5 else "")
    return f"{len(rows)} row{'s' if len(rows) > 1 else ''} ({shown})"


def find_style(column: pd.Series) -> Style | None:
    """Return how a column of text writes numbers, or None where it holds other things or leaves a doubt.

    Parameters
    ----------
    column : Series
        Cells as text; gaps are ignored.
    """
    unique = {str(cell).strip() for cell in column.dropna().unique()}
    gaps = tuple(sorted(unique & MARKS))
    cells = sorted(unique - MARKS)
    if not cells:
        return None
    unit = _common_unit(cells)
    numbers = [_without_unit(cell, unit) for cell in cells]
    if all(map(_PLAIN.fullmatch, numbers)):
        return Style(gaps=gaps, unit=unit) if unit or (gaps and len(numbers) > MANY_NUMBERS) else None
    for mark in _GROUPED:
        if _is_grouped(numbers, mark):
            return Style(_decimal_beside(mark, numbers), mark, gaps, unit)
    return Style(decimal=",", gaps=gaps, unit=unit) if _has_comma_for_point(numbers) else None


def as_numbers(column: pd.Series, style: Style) -> tuple[pd.Series, Bool]:
    """Return a column of text as numbers.

    Parameters
    ----------
    column : Series
        ``[N]`` cells; numbers stay as they are.
    style : Style
        How they are written.

    Returns
    -------
    numbers : Series of float64
        ``[N]``, NaN where there is none.
    other : ndarray of bool
        ``[N]`` cells that hold something else and stand for no gap.
    """
    if pd.api.types.is_numeric_dtype(column.dtype):
        return column, np.zeros(len(column), dtype=bool)
    texts = column.astype(object).where(column.notna(), "").map(lambda cell: _plain(str(cell).strip(), style))
    numbers = pd.to_numeric(texts, errors="coerce").astype(np.float64)
    return numbers, np.asarray(numbers.isna() & ~texts.isin((*MARKS, "", *style.gaps)))


def decimal_digits(text: str) -> str:
    """Return a text with the digits of other scripts as 0 to 9."""
    return text if text.isascii() else "".join(str(unicodedata.decimal(letter, letter)) for letter in text)


def numbers_of_digits(cells: pd.Series, is_digits: Bool) -> Float64:
    """Return the cells that are digits as numbers, NaN for the others."""
    kept = cells.where(is_digits, np.nan)
    plain = kept.map(lambda cell: decimal_digits(cell) if isinstance(cell, str) else cell)
    return pd.to_numeric(plain, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)


def _plain(text: str, style: Style) -> str:
    """Write a number as Python does."""
    own = decimal_digits(_without_unit(text, style.unit))
    if style.thousands is not None:
        own = own.replace(style.thousands, "")
    return own.replace(",", ".") if style.decimal == "," else own


def _common_unit(cells: Sequence[str]) -> str:
    """Return the sign that every number has before or behind it; empty where there is none, or where they differ."""
    signs = [letter for letter in cells[0] if letter in "%‰" or unicodedata.category(letter) == "Sc"]
    if len(signs) == 1 and all(_without_unit(cell, signs[0]) != cell for cell in cells):
        return signs[0]
    return ""


def _without_unit(cell: str, unit: str) -> str:
    """Take the unit from a number, such as ``-$5`` or ``5 %``; an empty one from none."""
    sign = cell[:1] if cell[:1] in ("+", "-") else ""
    number = cell.removeprefix(sign).removeprefix(unit).removesuffix(unit)
    return cell if sign + number == cell else sign + number.strip()


def _is_grouped(numbers: Sequence[str], mark: str) -> bool:
    """Tell whether all cells are groups of three digits or shorter than a group, beyond doubt.

    ``1,234`` alone may be a number with three decimals. There is no doubt where a cell has two groups or another
    decimal mark, or where cells below a thousand stand beside it without decimals of that mark.
    """
    grouped = [cell for cell in numbers if _GROUPED[mark].fullmatch(cell)]
    others = [cell for cell in numbers if not _GROUPED[mark].fullmatch(cell)]
    if not grouped or any(mark in cell or not _SMALL.fullmatch(cell) for cell in others):
        return False
    decimals = {",", "."} - {mark}
    return mark in "' " or bool(others) or any(cell.count(mark) > 1 or decimals & set(cell) for cell in grouped)


def _decimal_beside(thousands: str, numbers: Sequence[str]) -> str | None:
    marks = {letter for cell in numbers for letter in cell if letter in ".,"} - {thousands}
    return marks.pop() if len(marks) == 1 else None


def _has_comma_for_point(numbers: Sequence[str]) -> bool:
    """Tell whether all cells are whole or have a decimal comma, and one of them has not just three digits behind it."""
    if not all(_COMMA.fullmatch(cell) or _WHOLE.fullmatch(cell) for cell in numbers):
        return False
    return any("," in cell and len(cell.partition(",")[2]) != 3 for cell in numbers)
