from __future__ import annotations

from typing import Any

import pytest

from tabstar_lit.config.interpolation import Interpolation
from tabstar_lit.config.yaml_reader import parse_yaml
from tabstar_lit.errors import ConfigError


def resolved(text: str) -> Any:
    return Interpolation(parse_yaml(text, "f.yaml")).resolve().plain()


@pytest.mark.parametrize(
    ("value", "expected"),
    [("3", 3), ("1e-3", 0.001), ("true", True), ("null", None), ("[1, 2]", [1, 2]), ("{c: 1}", {"c": 1})],
)
def test_a_whole_reference_keeps_the_type(value: str, expected: object) -> None:
    assert resolved(f"a: {{b: {value}}}\nx: ${{a.b}}\n")["x"] == expected


def test_references_inside_text_are_written_as_yaml() -> None:
    text = "a: 1e-3\nb: true\nc: null\nx: '${a}/${b}/${c}'\n"
    assert resolved(text)["x"] == "0.001/true/null"


def test_references_follow_references() -> None:
    assert resolved("a: ${b}\nb: ${c.d}\nc: ${e}\ne: {d: 4}\n")["a"] == 4


@pytest.mark.parametrize(("text", "value"), [("12", 12), ("1e-3", 0.001), ("true", True), ("abc", "abc"), ("", None)])
def test_the_environment_is_read_like_an_override(monkeypatch: pytest.MonkeyPatch, text: str, value: object) -> None:
    monkeypatch.setenv("SOME_VALUE", text)
    assert resolved("x: ${oc.env:SOME_VALUE}\ny: <${oc.env:SOME_VALUE}>\n") == {"x": value, "y": f"<{text}>"}


@pytest.mark.parametrize(
    ("default", "value"), [("5", 5), (" a b", "a b"), ("'7'", "7"), ("", ""), ("null", None), ("a,b", "a,b")]
)
def test_defaults_of_variables(default: str, value: object) -> None:
    assert resolved(f'x: "${{oc.env:NOT_SET_HERE,{default}}}"\n')["x"] == value


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x: ${a}\n", r"f\.yaml:1:1: '\$\{a\}' leads nowhere: no 'a'"),
        ("ab: {name: 1}\nx: ${ab.nam}\n", r"f\.yaml:2:1: .*no 'nam' in ab\. Did you mean 'name'\?"),
        ("x: [1, '${x.7}']\n", r"f\.yaml:1:8: .*no '7' in x"),
        ("x: ${y}\ny: ${z}\nz: ${x}\n", r"f\.yaml:1:1: references lead back to themselves: x -> y -> z -> x"),
        ("a: {b: '${a}'}\n", r"lead back to themselves: a -> a.b -> a"),
        ("x: ${oc.env:NOT_SET_HERE}\n", r"f\.yaml:1:1: the variable NOT_SET_HERE is not set"),
        ("x: ${oc.decode:1}\n", r"f\.yaml:1:1: '\$\{oc\.decode:1\}' is not supported"),
        ("x: ${hydra:runtime.cwd}\n", "is not supported"),
        ("x: ${oc.env:NAME,${y}}\ny: 1\n", "is not supported"),
        ("x: ${.y}\ny: 1\n", "is not supported"),
        ("x: ${y\ny: 1\n", "is not supported"),
        ("x: ${}\n", "is not supported"),
        ("x: <${y}>\ny: [1]\n", "is not a single value"),
    ],
)
def test_mistakes_are_located(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        resolved(text)


@pytest.mark.parametrize("first", ["[1, 2]", "[]", "{b: 1, c: 2}", "{}"])
def test_references_cannot_grow_without_bound(first: str) -> None:
    lists = f"a0: {first}\n" + "".join(f"a{i}: ['${{a{i - 1}}}', '${{a{i - 1}}}']\n" for i in range(1, 18))
    with pytest.raises(ConfigError, match="references expand to more than 100000 values"):
        resolved(lists)


def test_references_cannot_make_a_text_grow_without_bound() -> None:
    texts = "a0: xx\n" + "".join(f"a{i}: '${{a{i - 1}}}${{a{i - 1}}}'\n" for i in range(1, 40))
    with pytest.raises(ConfigError, match="a text of more than 10000 characters"):
        resolved(texts)
