"""null stands for the default of sections, mappings and lists, and for itself where a key says what it means."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import Field

from tabstar_lit.config.schema import Section
from tabstar_lit.config.tree import ConfigTree
from tabstar_lit.config.validate import validate
from tabstar_lit.errors import ConfigError


class Deep(Section):
    numbers: list[int] = Field(default_factory=lambda: [1])


class Inner(Section):
    x: int = 1
    deep: Deep = Field(default_factory=Deep)


class Outer(Section):
    section: Inner = Field(default_factory=Inner)
    either: bool | Inner = False
    mapping: dict[str, Any] = Field(default_factory=lambda: {"a": 1})
    names: tuple[str, ...] = ("*",)
    off: Inner | None = Field(default_factory=Inner)
    inside: dict[str, Inner] = Field(default_factory=dict)
    needed: Inner = Field(description="No default.")
    number: int = 3


def read(**data: Any) -> Outer:
    return validate(Outer, ConfigTree({"needed": {}} | data, {}))


@pytest.mark.parametrize("key", ["section", "either", "mapping", "names", "inside"])
def test_null_is_the_default(key: str) -> None:
    assert read(**{key: None}) == read()


def test_null_that_means_something_keeps_its_meaning() -> None:
    assert read(off=None).off is None
    assert read().off == Inner()


def test_null_is_the_default_at_any_depth_and_below_names_that_are_chosen() -> None:
    deep = {"deep": {"numbers": None}}
    below = read(section=deep, inside={"free": {"deep": None}, "deep": deep})  # a name may be that of a key
    assert below == read(inside={"free": {}, "deep": {}})
    assert list(below.inside) == ["free", "deep"]


@pytest.mark.parametrize(
    ("data", "seen"),
    [({"number": None}, "a whole number, got null"), ({"needed": None}, "a mapping, got null"),
     ({"inside": {"k": {"x": None}}}, "a whole number, got null")],
)  # fmt: skip
def test_null_of_a_number_or_of_what_is_needed_is_a_mistake(data: dict[str, Any], seen: str) -> None:
    with pytest.raises(ConfigError, match=seen):
        read(**data)
