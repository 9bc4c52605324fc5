from __future__ import annotations

import math

from tabstar_lit.commands.terminal import BRAILLE, DOTS, curve, text_table


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


def test_table_without_rows() -> None:
    assert text_table(["run", "loss"], []) == "run  loss"
