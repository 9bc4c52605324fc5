from __future__ import annotations

import math
import sys
from pathlib import Path

import pytest
from screen import watch

from tabstar_lit.commands.terminal import BRAILLE, DOTS, Block, curve, fitted, print_table


def dots(drawing: str, height: int) -> set[tuple[int, int]]:
    """Return the (x, y) of every dot set, y from the top."""
    found = set()
    for row, line in enumerate(drawing.splitlines()[:height]):
        for column, character in enumerate(line.split("┤", 1)[1]):
            bits = ord(character) - BRAILLE
            found |= {(2 * column + x, 4 * row + y) for y in range(4) for x in range(2) if bits & DOTS[y][x]}
    return found


def test_a_rising_line_is_a_diagonal() -> None:
    drawing = curve([(step, float(step)) for step in range(8)], width=4, height=2)
    heights = {x: min(y for column, y in dots(drawing, 2) if column == x) for x in range(8)}
    assert heights == {x: 7 - x for x in range(8)}


def test_two_points_are_joined() -> None:
    found = dots(curve([(0, 0.0), (100, 1.0)], width=8, height=4), 4)
    assert {x for x, _ in found} == set(range(16))
    assert {y for _, y in found} == set(range(16))


def test_labels_give_the_range_and_the_steps() -> None:
    lines = curve([(10, 2.0), (20, -1.5), (250, 0.0)], width=20, height=4).splitlines()
    assert [line.split("┤")[0].strip() for line in lines[:4]] == ["2", "", "", "-1.5"]
    assert lines[-1].split() == ["10", "250"]
    assert len(lines[-1]) == len(lines[-2])


def test_constant_single_and_missing_values() -> None:
    assert dots(curve([(1, 3.0), (9, 3.0)], width=4, height=2), 2) == {(x, 0) for x in range(8)}
    assert dots(curve([(5, 3.0)], width=4, height=2), 2) == {(0, 0)}
    assert curve([(1, math.nan), (2, math.inf)]) == "(no finite values)"
    assert curve([(0, 1.0), (1, math.nan), (2, 2.0)]) == curve([(0, 1.0), (2, 2.0)])


def test_many_points_are_averaged_into_the_columns() -> None:
    points = [(step, float(step % 2)) for step in range(1, 10_001)]
    assert len({y for _, y in dots(curve(points, width=10, height=5), 5)}) < 20
    assert len(curve(points, width=10, height=5).splitlines()) == 7


def test_a_table_in_a_pipe_has_one_line_a_row_and_no_spaces_behind(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(["run", "loss", "status"], [["a", 0.5, "finished"], ["x" * 300, 12.0, None]])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["run", "loss", "status"]
    assert lines[1] == "a".ljust(300) + "   0.5  finished"
    assert lines[2] == "x" * 300 + "    12  –"
    print_table(["run", "loss"], [])
    assert capsys.readouterr().out == "run  loss\n"


HEADER = ["run", "status", "epochs", "created"]
ROWS = [["experiment/a_long_name_of_a_run", "finished", 3, "2026-11-26 21:47"]]


@pytest.mark.parametrize(
    ("width", "blocks"),
    [
        (None, [Block([0, 1, 2, 3])]),
        (70, [Block([0, 1, 2, 3])]),
        (60, [Block([0, 1, 2])]),
        (40, [Block([0, 1, 2], 22)]),
        (34, [Block([0, 1], 22), Block([0, 2], 22)]),
    ],
)
def test_a_narrow_terminal_loses_what_it_may_then_folds_then_has_blocks(width: int | None, blocks: list[Block]) -> None:
    assert fitted(HEADER, ROWS, width, 22, ["created"]) == blocks


PRINT = """
from tabstar_lit.commands.terminal import print_table
header = ["epoch", *(f"metric_{i}" for i in range(18))]
print_table(header, [[row, *(row / (i + 7) for i in range(18))] for row in range(3)])
print_table(["run", "status"], [["experiment/" + "long" * 20, "died"]])
"""


@pytest.mark.parametrize("columns", [40, 80, 200])
def test_eighteen_metrics_are_readable_at_any_width(columns: int, tmp_path: Path) -> None:
    screen = watch([sys.executable, "-c", PRINT], columns, tmp_path)
    assert screen.exit_code == 0
    headers = [line.split() for line in screen.last if line.startswith("epoch")]
    assert all(names[0] == "epoch" for names in headers)
    assert [name for names in headers for name in names[1:]] == [f"metric_{i}" for i in range(18)]
    assert len(headers) == {40: 6, 80: 3, 200: 1}[columns]
    rows = [line.split() for line in screen.last if line[:5].strip() in ("0", "1", "2")]
    assert sum(len(row) - 1 for row in rows) == 3 * 18
    assert any(line.startswith("experiment/") for line in screen.last)
    assert b"\x1b[31mdied" in screen.written
