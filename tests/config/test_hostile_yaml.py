"""Configurations made to exhaust whoever reads them end at once, with a message that says where."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from tabstar_lit.config import yaml_reader
from tabstar_lit.config.defaults import MAX_ENTRIES, parse_defaults
from tabstar_lit.config.tree import MOST_SHOWN, ConfigTree, Problem, raise_problems
from tabstar_lit.config.yaml_reader import parse_yaml, read_yaml
from tabstar_lit.errors import ConfigError, DataError
from tabstar_lit.families.hep.events.conversion_config import read_conversion


def test_aliases_of_a_long_text_are_refused() -> None:
    text = f"a: &long '{'x' * 900_000}'\nb: [{', '.join(['*long'] * 200)}]\n"
    with pytest.raises(ConfigError, match=r"f\.yaml:2:4: aliases expand to more than 4 million characters"):
        parse_yaml(text, "f.yaml")


def test_as_many_characters_as_are_allowed_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(yaml_reader, "MAX_CHARACTERS", 7)
    assert parse_yaml("abc: defghij\n", "f.yaml").plain() == {"abc": "defghij"}
    with pytest.raises(ConfigError, match="aliases expand to more than"):
        parse_yaml("abc: defghijk\n", "f.yaml")


def test_thousands_of_defaults_are_refused_at_once() -> None:
    start = time.process_time()
    with pytest.raises(ConfigError, match=rf"f\.yaml:1:1: defaults lists 5000 entries; at most {MAX_ENTRIES} are read"):
        parse_defaults(parse_yaml("a:\n" + "- b: c\n" * 5000, "f.yaml").value["a"], "", "")
    assert time.process_time() - start < 5


@pytest.mark.parametrize("read", [read_yaml, read_conversion])
def test_a_pipe_is_refused_instead_of_waited_for(tmp_path: Path, read: object) -> None:
    os.mkfifo(tmp_path / "f.yaml")
    with pytest.raises((ConfigError, DataError), match=r"f\.yaml: no regular file but a pipe"):
        read(tmp_path / "f.yaml")


def test_a_message_lists_fifty_problems_and_counts_the_rest() -> None:
    problems = [Problem((f"key{i:04d}",), f"unknown key 'key{i:04d}'") for i in range(1000)]
    with pytest.raises(ConfigError, match="problems in the configuration") as raised:
        raise_problems(ConfigTree({}, {}), problems)
    lines = str(raised.value).splitlines()
    assert lines[0] == "1000 problems in the configuration:"
    assert lines[-1] == f"and {1000 - MOST_SHOWN} more"
    assert len(lines) == MOST_SHOWN + 2
