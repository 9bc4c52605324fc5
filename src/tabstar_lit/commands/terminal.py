"""Tables and curves as text."""

from __future__ import annotations

import math
from collections.abc import Sequence

from tabstar_lit.engine.run_files import format_value

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

    Points that are not finite leave a gap; points that share a column of dots are averaged.

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
    columns = _columns(finite, 2 * width - 1)
    grid = [[0] * width for _ in range(height)]
    previous = None
    for x, value in sorted(columns.items()):
        y = 0 if high == low else round((high - value) / (high - low) * (4 * height - 1))
        for dot in range(min(y, y if previous is None else previous), max(y, y if previous is None else previous) + 1):
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


def _columns(points: Sequence[tuple[int, float]], last_column: int) -> dict[int, float]:
    """Return the mean value of every column of dots that has points."""
    first, last = points[0][0], points[-1][0]
    columns: dict[int, list[float]] = {}
    for step, value in points:
        x = 0 if last == first else round((step - first) / (last - first) * last_column)
        columns.setdefault(x, []).append(value)
    return {x: sum(values) / len(values) for x, values in columns.items()}
