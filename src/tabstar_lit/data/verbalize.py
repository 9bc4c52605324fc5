r"""Words for cells: the templates of TabSTAR (arXiv 2505.18125), as its pretrained weights know them.

A cell becomes ``Predictive Feature: {column}\nFeature Value: {value}``. A number's value is its quantile
bin, so that a table has at most twelve texts per numeric column, and missing cells say so.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal

import numpy as np

from tabstar_lit.arrays import Float64

MISSING = "Unknown Value"
"""The text of a missing cell."""

N_BINS = 10
"""Quantile bins between the outer boundaries; below and above them lie two more."""

BinLabels = Literal["official", "numeric"]

_CONTROL = re.compile(r"[\x00-\x1F\x7F]")
_BREAKS = re.compile("[\n\r\t\u00a0]")
_SYMBOLS = re.compile(r"[_\-.:]")


def plain(text: str) -> str:
    """Replace every control character by a space.

    Parameters
    ----------
    text : str
        Any text.

    Returns
    -------
    str
        Text of the same length on one line.
    """
    return _CONTROL.sub(" ", text)


def column_text(name: str) -> str:
    r"""Return the text a column is known by.

    Line breaks, tabs and no-break spaces become spaces; if the name has a space then, ``_ - . :`` become
    spaces too (``snake_case`` alone stays, as the official package has it).

    Parameters
    ----------
    name : str
        Name in the file.

    Returns
    -------
    str
        Name in the texts.
    """
    text = _BREAKS.sub(" ", name)
    return plain(_SYMBOLS.sub(" ", text) if " " in text else text)


def feature_text(column: str, value: str) -> str:
    """Return the text of one cell.

    Parameters
    ----------
    column : str
        From :func:`column_text`.
    value : str
        Printed value, bin label or :data:`MISSING`.

    Returns
    -------
    str
        What the text encoder reads.
    """
    return f"{name_text(column)}\nFeature Value: {plain(value)}"


def name_text(column: str) -> str:
    """Return the text of a cell whose value is given as a number only.

    Parameters
    ----------
    column : str
        From :func:`column_text`.

    Returns
    -------
    str
        The first line of :func:`feature_text`.
    """
    return f"Predictive Feature: {plain(column)}"


def numeric_text(column: str) -> str:
    """Return the text of a numeric cell that TabSTAR v1.1 reads beside six numbers; ``column`` as above."""
    return f"Numerical Feature: {plain(column)}"


def target_texts(column: str, classes: Sequence[str]) -> list[str]:
    """Return the texts of the target elements.

    Parameters
    ----------
    column : str
        Target, from :func:`column_text`.
    classes : sequence of str
        Class names in index order; empty for regression.

    Returns
    -------
    list of str
        One text a class, or a single one for regression.
    """
    if not classes:
        return [f"Numerical Target Feature: {plain(column)}"]
    return [f"Target Feature: {plain(column)}\nFeature Value: {plain(name)}" for name in classes]


def number_text(value: float) -> str:
    """Print a bin boundary with up to four decimals and no trailing zeros.

    Parameters
    ----------
    value : float
        Finite.

    Returns
    -------
    str
        Such as ``12.5`` or ``-3``.
    """
    rounded = float(np.round(value, 4)) + 0.0  # -0.0 prints as 0
    return f"{rounded:.4f}".rstrip("0").rstrip(".")


def bin_labels(boundaries: Float64, style: BinLabels) -> list[str]:
    """Name the twelve bins of a numeric column.

    The official package takes the least and greatest boundary of the two open bins among the *printed*
    boundaries, that is alphabetically: for 5 … 100 it says "Lower than 10" and "Higher than 9". Its weights
    were trained on such texts, so ``official`` keeps them; ``numeric`` says "Lower than 5" and "Higher than
    100".

    Parameters
    ----------
    boundaries : ndarray of float64 [11]
        Quantiles 0, 10 … 100 %.
    style : str
        ``official`` or ``numeric``.

    Returns
    -------
    list of str
        Labels for the indices that ``numpy.digitize(values, boundaries)`` returns.
    """
    printed = [number_text(value) for value in boundaries]
    low, high = (min(printed), max(printed)) if style == "official" else (printed[0], printed[-1])
    inner = [f"{printed[i]} to {printed[i + 1]} (Quantile {i * N_BINS} - {(i + 1) * N_BINS}%)" for i in range(N_BINS)]
    return [f"Lower than {low} (Quantile 0%)", *inner, f"Higher than {high} (Quantile 100%)"]
