from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from checks import assert_takes_less_than

from tabstar_lit.config.yaml_reader import MAX_BYTES, parse_yaml, read_yaml
from tabstar_lit.errors import ConfigError


def value_of(text: str) -> Any:
    return parse_yaml(f"x: {text}", "f.yaml").plain()["x"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1e-3", 0.001),
        ("3e-4", 0.0003),
        ("1E5", 100000.0),
        (".5", 0.5),
        ("-2.", -2.0),
        ("+7", 7),
        ("010", 10),
        ("0o10", 8),
        ("0x1F", 31),
        ("true", True),
        ("False", False),
        ("null", None),
        ("~", None),
        ("", None),
        (".inf", float("inf")),
        ("-.INF", float("-inf")),
    ],
)
def test_core_schema_scalars(text: str, expected: object) -> None:
    value = value_of(text)
    assert value == expected
    assert type(value) is type(expected)


@pytest.mark.parametrize(
    "text", ["no", "yes", "on", "off", "12:30:00", "2026-01-02", "1_000", "0b1", "1e", "+", "tRuE", "9" * 301]
)
def test_what_only_older_yaml_converts_stays_text(text: str) -> None:
    assert value_of(text) == text


@pytest.mark.parametrize("text", ["'1'", '"1e-3"', "'true'", "'~'", "'no'"])
def test_quoted_scalars_are_text(text: str) -> None:
    assert value_of(text) == text[1:-1]


def test_not_a_number_is_read() -> None:
    assert value_of(".nan") != value_of(".nan")


def test_keys_stay_as_written() -> None:
    assert parse_yaml("no: 1\n1: 2\ntrue: 3\n", "f.yaml").plain() == {"no": 1, "1": 2, "true": 3}


def test_positions_are_those_of_keys_and_elements() -> None:
    root = parse_yaml("a:\n  b: [1,\n      2]\n", "f.yaml")
    b = root.value["a"].value["b"]
    assert str(b.position) == "f.yaml:2:3"
    assert [str(item.position) for item in b.value] == ["f.yaml:2:7", "f.yaml:3:7"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: 2\na: 3\n", r"f\.yaml:3:1: duplicate key 'a', first written at f\.yaml:1:1"),
        ("a: {b: 1, b: 2}\n", r"f\.yaml:1:11: duplicate key 'b'"),
        ("a: !!python/object/apply:os.system [ls]\n", r"f\.yaml:1:4: .*the tag .* is not allowed"),
        ("a: !!str 1\n", r"f\.yaml:1:4: .*the tag"),
        ("! a: 1\n", r"f\.yaml:1:1: .*the tag"),
        ("a: 1\n\tb: 2\n", r"f\.yaml:2:1: a tab is not allowed"),
        ("a: 1\n---\nb: 2\n", r"f\.yaml:2:1: a second document"),
        ("base: &b {x: 1}\na:\n  <<: *b\n", r"f\.yaml:3:3: the merge key '<<' is not supported"),
        ("? [1, 2]\n: 3\n", r"f\.yaml:1:3: a key must be plain text"),
        ("a: [1, 2\nb: 3\n", r"f\.yaml:2:2: not valid YAML: expected .+ \(while parsing a flow sequence\)"),
        ("a: 'x\n", r"f\.yaml:2:1: not valid YAML"),
        ("a: *nowhere\n", r"f\.yaml:1:4: .*undefined alias"),
        ("a: \x07\n", r"f\.yaml:1:1: a character that YAML does not allow"),
        ("a: &a [*a]\n", r"f\.yaml:1:4: nested more than"),
        ("a: " + "[" * 80 + "]" * 80, r"f\.yaml:1:\d+: nested more than"),
        ("a: " + "[" * 5000 + "]" * 5000, r"f\.yaml: nested more than"),
    ],
)
def test_what_could_be_misread_is_refused_where_it_stands(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_yaml(text, "f.yaml")


def test_an_alias_repeats_its_value() -> None:
    assert parse_yaml("a: &a [1, 2]\nb: *a\n", "f.yaml").plain() == {"a": [1, 2], "b": [1, 2]}


def test_a_quoted_merge_key_is_a_key() -> None:
    assert parse_yaml("'<<': 1\n", "f.yaml").plain() == {"<<": 1}


def test_billion_laughs_are_refused_quickly() -> None:
    lines = ["l0: &l0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"l{i}: &l{i} [{', '.join([f'*l{i - 1}'] * 10)}]" for i in range(1, 12)]
    with (
        assert_takes_less_than(5),
        pytest.raises(ConfigError, match=r"f\.yaml:5:5: aliases expand to more than 100000 values"),
    ):
        parse_yaml("\n".join(lines), "f.yaml")


def test_a_byte_order_mark_is_accepted(tmp_path: Path) -> None:
    path = tmp_path / "f.yaml"
    path.write_bytes(b"\xef\xbb\xbfa: 1\n")
    assert read_yaml(path).plain() == {"a": 1}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is empty or holds only comments"),
        (b"# nothing\n", "the file is empty or holds only comments"),
        (b"- 1\n", r":1:1: expected a mapping"),
        (b"a: 1\nb: \xff\n", r":2:1: not UTF-8 text"),
        (b"\n\xff\n", r":2:1: not UTF-8 text"),
        (b"#" * (MAX_BYTES + 1), "larger than 1 MiB"),
    ],
)
def test_files_that_hold_no_mapping_say_so(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "f.yaml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=message):
        read_yaml(path)


def test_a_missing_file_and_a_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.yaml: no such file"):
        read_yaml(tmp_path / "nowhere.yaml")
    with pytest.raises(ConfigError, match="cannot be read"):
        read_yaml(tmp_path)
