"""A file is made anew only where what it is made from has changed, and is never made over something else."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from tabstar_lit.data.conversion import bring_up_to_date, fingerprint, outcome_line
from tabstar_lit.data.outputs import whole_file
from tabstar_lit.errors import DataError

Content = dict[str, list[str]]


class Letters:
    """A kind of file that holds, for each part, its fingerprint and how often it was made."""

    def __init__(self, wanted: dict[str, str]) -> None:
        self.wanted = wanted
        self.written: list[tuple[str, ...]] = []

    def open(self, path: Path) -> Content:
        if not path.read_text().startswith("{"):
            raise DataError(f"{path}: is no file of letters.")
        content: Content = json.loads(path.read_text())
        return content

    def fingerprints(self, opened: Content) -> dict[str, str]:
        return {name: own for name, (own, _) in opened.items()}

    def write(self, path: Path, changed: Sequence[str], old: Content | None) -> None:
        self.written.append(tuple(changed))
        content = {
            n: [own, f"{path.stem} {len(changed)}"] if n in changed else old[n] for n, own in self.wanted.items()
        }
        with whole_file(path) as part:
            part.write_text(json.dumps(content))
            if "bad" in self.wanted.values():
                raise DataError("part 'c' cannot be read.")


def convert(path: Path, **wanted: str) -> tuple[tuple[str, ...], bool, list[tuple[str, ...]]]:
    target = Letters(wanted)
    outcome = bring_up_to_date(target, path, wanted)
    assert outcome.opened == target.open(path)
    assert {name: own for name, (own, _) in outcome.opened.items()} == wanted
    return outcome.changed, outcome.written, target.written


def test_only_parts_that_changed_are_made_anew(tmp_path: Path) -> None:
    path = tmp_path / "letters.json"
    assert convert(path, a="1", b="1") == (("a", "b"), True, [("a", "b")])
    before = path.stat().st_mtime_ns
    assert convert(path, a="1", b="1") == ((), False, [])
    assert path.stat().st_mtime_ns == before
    assert convert(path, a="1", b="2") == (("b",), True, [("b",)])
    assert json.loads(path.read_text())["a"] == ["1", "letters 2"], "kept from the first time"


def test_parts_that_were_taken_out_or_put_in_another_order_are_written_without_making_any(tmp_path: Path) -> None:
    path = tmp_path / "letters.json"
    convert(path, a="1", b="1", c="1")
    assert convert(path, c="1", a="1") == ((), True, [()])
    assert list(json.loads(path.read_text())) == ["c", "a"]


def test_something_else_is_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "letters.json"
    path.write_text("precious")
    with pytest.raises(DataError, match=r"is no file of letters\.\nThe file is not overwritten: remove it or choose"):
        convert(path, a="1")
    assert path.read_text() == "precious"


def test_sources_that_cannot_be_converted_leave_the_file_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "letters.json"
    convert(path, a="1")
    before = path.read_text()
    with pytest.raises(DataError, match="part 'c' cannot be read"):
        convert(path, a="1", c="bad")
    assert path.read_text() == before
    assert [found.name for found in tmp_path.iterdir()] == ["letters.json"]


def test_fingerprints_are_of_plain_data_and_of_its_order_where_that_matters() -> None:
    first, second = {"a": 1, "b": {"c": 2, "d": 3}}, {"b": {"d": 3, "c": 2}, "a": 1}
    assert fingerprint(first) == fingerprint(second) == hashlib.sha256(json.dumps(first).encode()).hexdigest()
    assert fingerprint(first, ordered=True) != fingerprint(second, ordered=True)
    assert fingerprint(first) != fingerprint(first | {"a": 2})


def test_a_line_says_what_became_of_the_file() -> None:
    assert outcome_line(Path("c.h5"), True, "2 tables") == "wrote c.h5: 2 tables"
    assert outcome_line(Path("c.h5"), False, "2 tables") == "c.h5 is up to date: nothing was written"
