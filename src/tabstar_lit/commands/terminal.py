"""Tables and curves as text."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

GAP = 2
"""Spaces between two columns."""

ENDLESS = 100_000
STATUS_STYLES = {"finished": "green", "running": "cyan", "interrupted": "yellow", "failed": "red", "died": "red"}
BRAILLE = 0x2800
DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
"""Bit of the dot in row 0 to 3 and column 0 to 1 of a braille cell."""


Rows = Sequence[Sequence[object]]


def print_table(header: Sequence[str], rows: Rows, *, first: int = 22, optional: Collection[str] = ()) -> None:
    """Print rows under a header: numbers to the right, text to the left, and never wider than the terminal.

    Where a terminal is too narrow, optional columns go first; then the first column is folded; then the columns are
    printed in several blocks, below each other, each with the first column. In a pipe everything stands in one line.

    Parameters
    ----------
    header : sequence of str
        Names of the columns.
    rows : sequence of sequences
        Numbers are shortened; None is a dash.
    first : int
        Characters of the first column that are kept together.
    optional : collection of str
        Columns that may be left out, the last of the header first.
    """
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = ENDLESS
    blocks = fitted(header, rows, console.width if console.is_terminal else None, first, optional)
    click.echo("\n\n".join(_rendered(console, header, rows, block) for block in blocks), color=console.is_terminal)


class Block(NamedTuple):
    """Columns of a table that are printed together, by number; the first is folded where it is given a width."""

    columns: list[int]
    folded: int | None = None


def fitted(
    header: Sequence[str], rows: Rows, width: int | None, first: int, optional: Collection[str] = ()
) -> list[Block]:
    """Return the blocks in which a table fits into ``width`` characters; None: there is no end to a line."""
    widths = [max(len(_shown(row[i])) for row in [header, *rows]) for i in range(len(header))]
    shown = list(range(len(header)))

    def needed(columns: Sequence[int]) -> int:
        return sum(widths[i] for i in columns) + GAP * (len(columns) - 1)

    if width is None:
        return [Block(shown)]
    for i in reversed(shown[1:]):
        if header[i] in optional and needed(shown) > width:
            shown.remove(i)
    if needed(shown) <= width:
        return [Block(shown)]
    narrow = min(widths[0], max(first, width - needed(shown[1:]) - GAP), width)
    blocks: list[Block] = []
    for i in shown[1:]:
        if not blocks or narrow + GAP + needed([*blocks[-1].columns[1:], i]) > width:
            blocks.append(Block([0], narrow if narrow < widths[0] else None))
        blocks[-1].columns.append(i)
    return blocks


def _rendered(console: Console, header: Sequence[str], rows: Rows, block: Block) -> str:
    """Return a block of a table as text, without spaces at the ends of lines."""
    table = Table(box=None, padding=(0, GAP, 0, 0), pad_edge=False, header_style="bold")
    for i in block.columns:
        numbers = bool(rows) and all(isinstance(row[i], int | float | None) for row in rows)
        width = block.folded if i == 0 else None
        table.add_column(header[i], justify="right" if numbers else "left", overflow="fold", width=width)
    for row in rows:
        cells = [_shown(row[i]) for i in block.columns]
        if block.folded is not None and len(cells[0]) > block.folded:
            cells[0] = cells[0].replace("/", "/\n")
        table.add_row(*(Text(cell, style=STATUS_STYLES.get(cell, "")) for cell in cells))
    with console.capture() as captured:
        console.print(table)
    return "\n".join(line.rstrip() for line in captured.get().splitlines())


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
    labels = [_shown(high), *[""] * (height - 2), _shown(low)]
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


def _shown(value: object) -> str:
    from tabstar_lit.engine.runs.files import format_value  # it brings YAML along, which no help needs

    return format_value(value)
