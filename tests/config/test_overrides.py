from __future__ import annotations

from typing import Any

import pytest

from tabstar_lit.config import expand_multirun
from tabstar_lit.config.overrides import apply_override, parse_override
from tabstar_lit.config.yaml_reader import parse_yaml
from tabstar_lit.errors import ConfigError


def applied(text: str, *overrides: str) -> Any:
    root = parse_yaml(text, "f.yaml")
    for override in overrides:
        root = apply_override(root, parse_override(override))
    return root.plain()


@pytest.mark.parametrize(
    ("override", "value"),
    [
        ("a=1e-3", 0.001),
        ("a=no", "no"),
        ("a=null", None),
        ("a=", ""),
        ("a='1'", "1"),
        ('a="x, y"', "x, y"),
        ("a=0,1", "0,1"),
        ("a=[0, 1]", [0, 1]),
        ("a={b: {c: [1]}}", {"b": {"c": [1]}}),
        ("a=x=y", "x=y"),
        ("a=${b.c}", "${b.c}"),
        ("a=*", "*"),
        ("a=runs/2024 01", "runs/2024 01"),
        ("a= 3 ", 3),
    ],
)
def test_values_follow_the_rules_of_files(override: str, value: object) -> None:
    assert applied("a: old\n", override) == {"a": value}


def test_missing_parents_are_made() -> None:
    assert applied("a: null\n", "a.b.c=1", "++d.e=2", "f.g=3") == {
        "a": {"b": {"c": 1}},
        "d": {"e": 2},
        "f": {"g": 3},
    }


def test_the_given_configuration_is_left_alone() -> None:
    root = parse_yaml("a: {b: [1, 2]}\n", "f.yaml")
    changed = apply_override(root, parse_override("a.b.1=5"))
    assert (root.plain(), changed.plain()) == ({"a": {"b": [1, 2]}}, {"a": {"b": [1, 5]}})


def test_an_override_is_its_own_position() -> None:
    root = apply_override(parse_yaml("a: {b: 1}\n", "f.yaml"), parse_override("a.b={c: [1]}"))
    b = root.value["a"].value["b"]
    assert str(b.value["c"].value[0].position) == "command line: 'a.b={c: [1]}'"


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("a", "expected key=value"),
        ("=1", "expected key=value"),
        ("+a", "expected key=value"),
        ("+++a=1", "expected key=value"),
        ("a b=1", "expected key=value"),
        ("a..b=1", "expected key=value"),
        ("a=[1", "not valid YAML"),
        ("a=[1] x", "not valid YAML"),
        ("a={b:1}", "needs a space after the colon"),
        ("a=[!!int 1]", "the tag .* is not allowed"),
        ("+a=1", "'a' is already set at f.yaml:1:1; leave out the '\\+'"),
        ("a.x=1", "'a' is not a mapping .set at f.yaml:1:1."),
        ("l.2=1", "'l' has 2 elements"),
        ("l.2.x=1", "'l' has 2 elements"),
        ("~z", "'z' is not set"),
        ("~l.0", "'l.0' is not set, so it cannot be removed"),
        ("~a=2", "'a' has another value"),
    ],
)
def test_mistakes_name_the_argument(override: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as error:
        applied("a: 1\nl: [1, 2]\n", override)
    assert str(error.value).startswith(f"command line: '{override}'")


def test_multirun_is_the_product_of_the_values() -> None:
    assert expand_multirun(["a=1,2", "b=x,y", "c=3"]) == [
        ["a=1", "b=x", "c=3"],
        ["a=1", "b=y", "c=3"],
        ["a=2", "b=x", "c=3"],
        ["a=2", "b=y", "c=3"],
    ]


def test_multirun_leaves_brackets_quotes_and_removals_together() -> None:
    assert expand_multirun(["a=[1,2],[3]", "b='x,y'", "c={d: [1,2], e: 3}", "~f"]) == [
        ["a=[1,2]", "b='x,y'", "c={d: [1,2], e: 3}", "~f"],
        ["a=[3]", "b='x,y'", "c={d: [1,2], e: 3}", "~f"],
    ]


def test_multirun_takes_brackets_inside_quotes_for_text() -> None:
    assert expand_multirun(["a='[',1"]) == [["a='['"], ["a=1"]]
    assert expand_multirun(['a=1,"}",2']) == [["a=1"], ['a="}"'], ["a=2"]]
    assert expand_multirun(["a=['],',2],3"]) == [["a=['],',2]"], ["a=3"]]


def test_nothing_is_one_run() -> None:
    assert expand_multirun([]) == [[]]


CHOICE = "scheduler: {scheduler_name: OneCycleLR, interval: step, scheduler_params: {max_lr: 1, pct_start: 0.3}}\n"


@pytest.mark.parametrize(
    ("override", "left"),
    [
        ("scheduler={scheduler_name: constant}", {"scheduler_name": "constant"}),
        (
            "scheduler={scheduler_name: OneCycleLR, scheduler_params: {max_lr: 2}}",
            {"scheduler_name": "OneCycleLR", "interval": "step", "scheduler_params": {"max_lr": 2, "pct_start": 0.3}},
        ),
        (
            "scheduler={interval: epoch}",
            {"scheduler_name": "OneCycleLR", "interval": "epoch", "scheduler_params": {"max_lr": 1, "pct_start": 0.3}},
        ),
        ("scheduler=null", None),
    ],
)
def test_another_choice_takes_the_place_of_the_old_one_and_its_parameters(override: str, left: object) -> None:
    assert applied(CHOICE, override) == {"scheduler": left}
