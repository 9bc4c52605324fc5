"""The page of promises names tests that exist, for every row of its table."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROWS = 24


@pytest.fixture(scope="module")
def page(repository: Path) -> str:
    return (repository / "docs/reliability.md").read_text(encoding="utf-8")


def rows(page: str) -> list[list[str]]:
    """Return the cells of the numbered rows."""
    lines = re.findall(r"^\| (\d+) \|(.+)\|$", page, flags=re.MULTILINE)
    return [[number, *(cell.strip() for cell in rest.split(" | "))] for number, rest in lines]


def test_every_row_names_its_tests(page: str) -> None:
    assert [int(number) for number, _, _ in rows(page)] == list(range(1, ROWS + 1))
    assert all(re.search(r"`tests/\S+::test_\w+`", tests) for _, _, tests in rows(page))


def test_the_tests_exist(page: str, repository: Path) -> None:
    named = re.findall(r"`(tests/[\w/]+\.py)::(test_\w+)`", page)
    assert len(named) == page.count("`tests/")
    missing = [
        f"{file}::{name}"
        for file, name in named
        if name
        not in {
            node.name
            for node in ast.parse((repository / file).read_text(encoding="utf-8")).body
            if isinstance(node, ast.FunctionDef)
        }
    ]
    assert missing == []


def test_those_called_soak_are(page: str, repository: Path) -> None:
    for file, name in re.findall(r"\*soak\* `(tests/[\w/]+\.py)::(test_\w+)`", page):
        (function,) = (
            node
            for node in ast.parse((repository / file).read_text(encoding="utf-8")).body
            if isinstance(node, ast.FunctionDef) and node.name == name
        )
        assert "pytest.mark.soak" in map(ast.unparse, function.decorator_list)
