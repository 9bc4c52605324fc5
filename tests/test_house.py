"""What measures the house finds what it is there to find."""

from __future__ import annotations

from pathlib import Path

import house
import pytest

PROJECT = """
[[tool.importlinter.contracts]]
type = "layers"
layers = ["top", "(left) | (right)", "bottom"]
"""
LONG = "\n".join(["def long():", *["    pass"] * 70])
FILES = {
    "__init__.py": '"""A house."""\n',
    "top/__init__.py": '"""Where people come in."""\n',
    "top/door.py": '"""A door."""\nfrom shed.left import wall\nfrom shed.top import bell\n',
    "top/bell.py": '"""A bell."""\n\ndef ring() -> None:\n    """Ring."""\n    from shed.top import door\n',
    "left/__init__.py": '"""The left."""\n',
    "left/wall.py": '"""A wall."""\nfrom shed.right import wall\nfrom shed.bottom import floor\n',
    "right/__init__.py": '"""The right."""\n',
    "right/wall.py": "import shed.right.window\n",
    "right/window.py": '"""A window."""\nimport shed.right.wall\n',
    "bottom/__init__.py": '"""Below."""\n',
    "bottom/floor.py": f'"""A floor."""\nimport shed.top.door\n\n{LONG}\n\n'
    "class Tile:\n    def lay(self, a, b, c, d, e, *, f) -> None: ...\n\n"
    "    def throw(self, a: int, b: int, c: int, d: int, e: int, f: int) -> int:\n"
    '        """Throw."""\n        return a\n',
    "attic/lamp.py": '"""A lamp."""\n',
}


@pytest.fixture
def shed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> house.House:
    (tmp_path / "pyproject.toml").write_text(PROJECT)
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests/test_shed.py").write_text("1\n2\n")
    for name, text in FILES.items():
        (tmp_path / "src/shed" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "src/shed" / name).write_text(text)
    monkeypatch.syspath_prepend(tmp_path / "src")
    return house.read(tmp_path, "shed")


BROKEN = {
    "unseen_folders": ["shed.attic: no __init__.py"],
    "long_files": [],
    "long_functions": ["src/shed/bottom/floor.py:4 long: 71 lines, at most 70"],
    "many_parameters": ["src/shed/bottom/floor.py:79 throw: 6 positional parameters, at most 5"],
    "undocumented": [
        "src/shed/bottom/floor.py:4 long: no docstring",
        "src/shed/bottom/floor.py:76 Tile: no docstring",
        "src/shed/bottom/floor.py:77 lay: no docstring",
        "src/shed/right/wall.py:1 module: no docstring",
    ],
    "without_types": [
        "src/shed/bottom/floor.py:4 long: no annotation of return",
        "src/shed/bottom/floor.py:77 lay: no annotation of a, b, c, d, e, f",
    ],
    "little_tested": ["0.02 lines of tests for a line of source, at least 0.7"],
    "upward_imports": [
        "shed.bottom.floor:2 imports shed.top.door, which stands above it",
        "shed.left.wall:2 imports shed.right.wall, which stands beside it",
    ],
    "circles": [
        "shed.bottom.floor -> shed.top.door -> shed.left.wall -> shed.bottom.floor",
        "shed.right.wall -> shed.right.window -> shed.right.wall",
    ],
    "deferred_circles": ["shed.top.bell -> shed.top.door -> shed.top.bell"],
}


@pytest.mark.parametrize("rule", house.RULES)
def test_what_breaks_a_rule_is_found(shed: house.House, rule: str) -> None:
    assert sorted(normal(line) for line in house.RULES[rule](shed)) == BROKEN[rule]


def normal(line: str) -> str:
    """A circle, from whichever of its modules it was found, begins with the first in the alphabet."""
    if "->" not in line:
        return line
    *path, _ = line.split(" -> ")
    first = path.index(min(path))
    return " -> ".join([*path[first:], *path[:first], path[first]])


def test_medians_are_bounded_too(shed: house.House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(house, "MEDIAN_FILE", 0)
    monkeypatch.setattr(house, "MEDIAN_FUNCTION", 2)
    assert list(house.long_files(shed)) == ["the median file has 1 lines, at most 0"]
    assert list(house.long_functions(shed))[-1] == "the median function has 3 lines, at most 2"


def test_rooms_are_counted_with_their_parts_and_arrows(shed: house.House) -> None:
    rows = {row[0]: row[1:] for row in house.table(shed)}
    assert rows["shed"] == ("1", "1", "1", "1", "0", "0", "0", "5", "4")
    assert rows["shed.right"] == ("3", "4", "1", "2", "0", "0", "0", "2", "2")
    assert rows["all"][0] == str(len(FILES))


def test_the_command_prints_the_table_and_fails(
    shed: house.House, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(house, "read", lambda root: shed)
    assert house.main(tmp_path) == 1
    printed = capsys.readouterr().out
    assert printed.splitlines()[0].split() == list(house.HEADINGS)
    assert "Folders" not in printed
    assert "  shed.attic: no __init__.py" in printed
    assert "tests: 2 lines, 0.02 for a line of source" in printed
