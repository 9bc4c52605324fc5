"""Keys of another program's files: moved, left out or answered, each with its place."""

from __future__ import annotations

from typing import Any

import pytest

from tabstar_lit.config.foreign import ForeignKey, answer, foreign_table, translate, translate_override
from tabstar_lit.config.nodes import Node, find
from tabstar_lit.config.overrides import parse_override
from tabstar_lit.config.tree import Position
from tabstar_lit.config.yaml_reader import parse_yaml
from tabstar_lit.errors import ConfigError


def double(value: Any) -> Any:
    return 2 * value


def renamed(value: Any) -> Any:
    return {"b" if key == "a" else key: part for key, part in value.items()}


TABLE = (
    ForeignKey("model.old.inner", "moved", "is taken as `model.new`", to="model.new"),
    ForeignKey("model.old", "left out", "is left out"),
    ForeignKey("data.n", "moved", "is doubled", to="data.n", only=(-1,), value=double),
    ForeignKey("data.flag", "moved", "is null", to="data.flag", only=(False,), value=lambda _: None),
    ForeignKey("tuned.*.kind", "moved", "is taken as `type`", to="tuned.*.type"),
    ForeignKey("data.files", "answered", "write `data.file`"),
    ForeignKey("same", "moved", "is read anew", to="same", value=renamed),
    ForeignKey("a habit", "differs", "another habit"),
)


def translated(text: str) -> tuple[Node, list[str]]:
    notices: list[str] = []
    return translate(parse_yaml(text, "a.yaml"), TABLE, notices.append), notices


def test_a_key_moves_with_its_place_and_what_is_left_goes() -> None:
    node, notices = translated("model:\n  old:\n    inner: {x: 1}\n    other: 2\n  kept: 3\n")
    assert node.plain() == {"model": {"kept": 3, "new": {"x": 1}}}
    moved = find(node, ("model", "new", "x"))
    assert moved is not None
    assert moved.position == Position("a.yaml", 3, 13)
    assert notices == [
        "a.yaml:3:5: 'model.old.inner' is taken as `model.new`",
        "a.yaml:2:3: 'model.old' is left out",
    ]


def test_only_the_values_that_are_meant_change() -> None:
    assert translated("data: {n: -1, flag: false}")[0].plain() == {"data": {"n": -2, "flag": None}}
    node, notices = translated("data: {n: 3, flag: true}")
    assert (node.plain(), notices) == ({"data": {"n": 3, "flag": True}}, [])
    assert translated("data: {n: -1.0, flag: 0}")[1] == []  # another type is another value


def test_a_star_is_any_key_and_stages_are_read_too() -> None:
    assert translated("tuned: {x: {kind: int}, y: {kind: float}}")[0].plain() == {
        "tuned": {"x": {"type": "int"}, "y": {"type": "float"}}
    }
    node, notices = translated("stage_config: {one: {data: {n: -1}}}")
    assert node.plain() == {"stage_config": {"one": {"data": {"n": -2}}}}
    assert len(notices) == 1


def test_a_value_that_is_read_anew_and_comes_out_the_same_is_not_told_of() -> None:
    node, notices = translated("same: {a: [1, {x: 2}], c: [3]}")
    assert node.plain() == {"same": {"b": [1, {"x": 2}], "c": [3]}}
    kept = find(node, ("same", "c", 0))
    assert kept is not None
    assert (kept.position, len(notices)) == (Position("a.yaml", 1, 28), 1)
    assert translated("same: {b: [1]}") == (parse_yaml("same: {b: [1]}", "a.yaml"), [])


def test_two_words_for_one_key_are_refused() -> None:
    with pytest.raises(
        ConfigError, match=r"a\.yaml:1:15: 'model\.old\.inner' means 'model\.new', .* set at a\.yaml:1:26"
    ):
        translated("model: {old: {inner: 1}, new: 2}")


@pytest.mark.parametrize(
    ("text", "key", "value"),
    [
        ("model.old.inner=5", "model.new", 5),
        ("data.n=-1", "data.n", -2),
        ("model.kept=1", "model.kept", 1),
        ("+tuned.x.kind=int", "tuned.x.type", "int"),
    ],
)
def test_overrides_are_taken_over(text: str, key: str, value: object) -> None:
    override = translate_override(parse_override(text), TABLE, print)
    assert override is not None
    assert override.node is not None
    assert (override.key, override.node.plain()) == (key, value)


def test_an_override_may_be_left_out() -> None:
    notices: list[str] = []
    assert translate_override(parse_override("model.old.other=5"), TABLE, notices.append) is None
    assert notices == ["command line: 'model.old.other=5': 'model.old' is left out"]
    removal = parse_override("~model.old")
    assert translate_override(removal, TABLE, print) is removal


def test_answers_and_the_table_of_the_documentation() -> None:
    assert answer(TABLE, ("data", "files")) == "write `data.file`"
    assert answer(TABLE, ("data", "n")) == answer(TABLE, ("data", "file")) == ""
    lines = foreign_table(TABLE).splitlines()
    assert lines[2] == "| `model.old.inner` | `model.new` | taken over, with a notice |"
    assert "| `data.flag`: `false` | is null | taken over, with a notice |" in lines
    assert lines[-1] == "| a habit | another habit | differs |"
