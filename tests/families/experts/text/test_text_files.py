"""Texts in files: what is no document is refused, and the message says where it stands."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from hand_made_texts import write_texts

from tabstar_lit.errors import DataError
from tabstar_lit.families.experts.text import jsonl
from tabstar_lit.families.experts.text.jsonl import find_domains, read_texts

GOOD = b'{"text": "good"}\n'


def test_only_the_text_is_read_and_blank_lines_are_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"text": "one", "source": 3, "id": null}\n\n  \n{"id": 0, "text": "zw\\u00f6lf"}')
    assert [(line.number, line.text) for line in read_texts(path)] == [(1, "one"), (4, "zwölf")]


def test_sizes_of_lines_add_up_to_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text("".join(json.dumps({"text": "ü" * n}, ensure_ascii=False) + "\n" for n in range(1, 9)))
    assert sum(line.size for line in read_texts(path)) == path.stat().st_size


def test_a_byte_order_mark_is_no_text(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + GOOD)
    assert [line.text for line in read_texts(path)] == ["good"]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b"text: good", "is not JSON"),
        (b'{"text": "cut', "is not JSON"),
        (b'["text", "good"]', "is a list, not an object"),
        (b'"good"', "is a string, not an object"),
        (b'{"txt": "good", "id": 1}', "has no key 'text'; its keys: 'txt', 'id'"),
        (b"{}", "has no key 'text'; its keys: none"),
        (b'{"text": 17}', "'text' is a number, 17, not a string"),
        (b'{"text": null}', "'text' is a null, null, not a string"),
        (b'{"text": ["good"]}', "'text' is a list"),
        (b'{"text": ""}', "'text' is empty"),
        (b'{"text": "\xff\xfe"}', "byte 10 (0xff) is not UTF-8"),
        (b"[" * 100_000, "is not JSON"),
    ],
)
def test_a_bad_line_is_named_with_file_and_number(tmp_path: Path, line: bytes, words: str) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(GOOD + b"\n" + line + b"\n" + GOOD)
    with pytest.raises(DataError, match=re.escape(words)) as refused:
        list(read_texts(path))
    assert str(refused.value).startswith(f"{path}:3: ")


def test_a_line_without_end_is_refused_before_it_fills_the_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jsonl, "MAX_LINE_BYTES", 2**20)
    path = tmp_path / "a.jsonl"
    path.write_bytes(GOOD + b'{"text": "' + b"x" * 2**20)
    with pytest.raises(DataError, match=r"a\.jsonl:2: the line is longer than 1 MiB.*line of its own"):
        list(read_texts(path))


def test_folders_are_domains(tmp_path: Path) -> None:
    write_texts(tmp_path, {"b": ["x"], "a": ["y"]})
    (tmp_path / "a" / "more.jsonl").write_bytes(GOOD)
    (tmp_path / "a" / "readme.md").write_text("not read")
    (tmp_path / ".git").mkdir()
    found = find_domains(tmp_path)
    assert {name: [path.name for path in files] for name, files in found.items()} == {
        "a": ["a.jsonl", "more.jsonl"],
        "b": ["b.jsonl"],
    }


def test_files_in_the_root_are_refused_by_name(tmp_path: Path) -> None:
    write_texts(tmp_path, {"a": ["x"]})
    for number in range(7):
        (tmp_path / f"stray{number}.jsonl").write_bytes(GOOD)
    with pytest.raises(DataError, match=r"stray0\.jsonl, .*stray4\.jsonl and 2 more stands in no domain"):
        find_domains(tmp_path)


def test_an_empty_root_and_an_empty_domain_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no domain in it"):
        find_domains(tmp_path)
    (tmp_path / "void").mkdir()
    with pytest.raises(DataError, match=r"the domain 'void' has no \*\.jsonl file"):
        find_domains(tmp_path)
    with pytest.raises(DataError, match="no such folder"):
        find_domains(tmp_path / "elsewhere")
