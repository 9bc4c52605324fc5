"""Tables and curves as text."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise

from tabstar_lit.engine.runs.files import format_value

BRAILLE = 0x2800
DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
"""Bit of the dot in row 0 to 3 and column 0 to 1 of a braille cell."""


def text_table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Return rows under a header, columns aligned: numbers to the right, text to the left.

    Examples
    --------
    >>> print(text_table(["run", "loss"], [["a", 0.5], ["long", 12.0]]))
    run   loss
    a      0.5
    long    12
    """
    cells = [list(header), *[[format_value(cell) for cell in row] for row in rows]]
    widths = [max(len(row[i]) for row in cells) for i in range(len(header))]
    right = [all(isinstance(row[i], int | float | None) for row in rows) and bool(rows) for i in range(len(header))]
    lines = [
        "  ".join(cell.rjust(w) if r else cell.ljust(w) for cell, w, r in zip(row, widths, right, strict=True))
        for row in cells
    ]
    return "\n".join(line.rstrip() for line in lines)


def curve(points: Sequence[tuple[int, float]], *, width: int = 64, height: int = 10) -> str:
    """Return a curve of ``(step, value)`` drawn with braille dots, its range beside it and its steps below.

    Points that are not finite are left out; points that share a column of dots are averaged.

    Parameters
    ----------
    points : sequence of (int, float)
        In order of the steps.
    width, height : int
        Size of the drawing in characters.
    """
    finite = [(step, value) for step, value in points if math.isfinite(value)]
    if not finite:
        return "(no finite values)"
    first, last = finite[0][0], finite[-1][0]
    low, high = min(value for _, value in finite), max(value for _, value in finite)
    grid = [[0] * width for _ in range(height)]
    previous = None
    for x, value in _columns(finite, 2 * width - 1):
        y = 0 if high == low else round((high - value) / (high - low) * (4 * height - 1))
        start = y if previous is None else previous
        for dot in range(min(y, start), max(y, start) + 1):
            grid[dot // 4][x // 2] |= DOTS[dot % 4][x % 2]
        previous = y
    labels = [format_value(high), *[""] * (height - 2), format_value(low)]
    margin = max(map(len, labels))
    lines = [
        f"{label.rjust(margin)} ┤{''.join(chr(BRAILLE + cell) for cell in row).rstrip(chr(BRAILLE))}"
        for label, row in zip(labels, grid, strict=True)
    ]
    axis = f"{' ' * margin} └{'─' * width}"
    steps = f"{' ' * (margin + 2)}{str(first).ljust(width - len(str(last)))}{last}"
    return "\n".join([*lines, axis, steps])


def _columns(points: Sequence[tuple[int, float]], last_column: int) -> Iterator[tuple[int, float]]:
    """Yield every column of dots and its value: the mean of its points, or a straight line between those beside it."""
    first, last = points[0][0], points[-1][0]
    groups: dict[int, list[float]] = {}
    for step, value in points:
        x = 0 if last == first else round((step - first) / (last - first) * last_column)
        groups.setdefault(x, []).append(value)
    means = {x: sum(values) / len(values) for x, values in sorted(groups.items())}
    for (x, value), (following, target) in pairwise(means.items()):
        for between in range(x, following):
            yield between, value + (target - value) * (between - x) / (following - x)
    yield list(means.items())[-1]
