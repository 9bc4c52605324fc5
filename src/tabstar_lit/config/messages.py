"""Turn the errors of pydantic into problems a person can act on."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from typing import Any, NamedTuple

from pydantic import BaseModel, SecretStr
from pydantic_core import ErrorDetails

from tabstar_lit.config.foreign import answer
from tabstar_lit.config.schema_walk import lookup, models_at, paths_to, yaml_fields
from tabstar_lit.config.tree import Path_, Problem, dotted, nearest_names

EXPECTED = {
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "string_type": "text",
    "list_type": "a list",
    "tuple_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
    "none_required": "null",
}
BOUNDS = {"greater_than": ("gt", "greater than"), "greater_than_equal": ("ge", "at least"),
          "less_than": ("lt", "less than"), "less_than_equal": ("le", "at most")}  # fmt: skip
MAX_SHOWN = 60
MAX_PLACES = 2


class Located(NamedTuple):
    """An error, its path in the data, and where the union stands that it is about, if any."""

    error: ErrorDetails
    path: Path_
    union: Path_ | None


def explain(
    errors: Collection[ErrorDetails],
    schema: type[BaseModel],
    data: dict[str, Any],
    secret_keys: Collection[str],
) -> Iterator[Problem]:
    """Give one problem for each mistake, however many members of a union it made pydantic complain about."""
    unions: dict[Path_, list[Located]] = {}
    for error in errors:
        located = _locate(error, data)
        if error["type"] == "too_short" and _has_deeper(error, errors):
            continue  # its entries were refused, which leaves too few
        if located.union is None:
            yield _problem(located, schema, data, secret_keys)
        else:
            unions.setdefault(located.union, []).append(located)
    for path, members in unions.items():
        chosen = _relevant(members, path)
        if chosen:
            yield from (_problem(located, schema, data, secret_keys) for located in chosen)
        else:
            yield _mismatch(path, members, data, secret_keys)


def _has_deeper(error: ErrorDetails, errors: Collection[ErrorDetails]) -> bool:
    """Tell whether another mistake lies inside the value of this one."""
    place = error["loc"]
    return any(len(other["loc"]) > len(place) and other["loc"][: len(place)] == place for other in errors)


def describe(value: Any) -> str:
    """Say what a value is: ``the text 'abc'``, ``the number 0.5``, ``null``, ``a list``."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, SecretStr):
        return "a secret"
    if isinstance(value, str):
        return f"the text {value if len(value) <= MAX_SHOWN else value[:MAX_SHOWN] + '...'!r}"
    if isinstance(value, int | float):
        return f"the number {value}"
    return "a mapping" if isinstance(value, dict) else "a list"


def _locate(error: ErrorDetails, data: Any) -> Located:
    """Follow pydantic's location through the data; parts that are not in the data name members of unions."""
    path: Path_ = ()
    union: Path_ | None = None
    *parts, last = error["loc"] or ("",)
    for part in [*parts, last] if error["loc"] else []:
        inside = isinstance(data, dict) and part in data
        if inside or (isinstance(data, list) and isinstance(part, int) and part < len(data)):
            path, data = (*path, part), data[part]
        elif part is last and error["type"] == "missing":
            path = (*path, part)
        elif union is None and part != "[key]":
            union = path
    return Located(error, path, union)


def _relevant(members: list[Located], union: Path_) -> list[Located]:
    """Choose the errors of the member that was meant: deeper ones first, then broken bounds."""
    deeper = [located for located in members if located.path != union]
    if deeper:
        return deeper
    return [located for located in members if located.error["type"] not in {*EXPECTED, "literal_error"}][:1]


def _mismatch(path: Path_, members: list[Located], data: Any, secret_keys: Collection[str]) -> Problem:
    """Say that a value is none of the things a union allows."""
    expected = list(dict.fromkeys(_expected(located.error) for located in members))
    return Problem(path, f"expected {' or '.join(expected)}, got {_shown(path, data, secret_keys)}")


def _expected(error: ErrorDetails) -> str:
    return EXPECTED.get(error["type"]) or error.get("ctx", {}).get("expected") or error["msg"]


def _shown(path: Path_, data: Any, secret_keys: Collection[str]) -> str:
    return "a secret" if any(part in secret_keys for part in path) else describe(lookup(data, path))


def _problem(located: Located, schema: type[BaseModel], data: dict[str, Any], secret_keys: Collection[str]) -> Problem:
    error, path = located.error, located.path
    kind, context = error["type"], error.get("ctx", {})
    shown = _shown(path, data, secret_keys)
    if kind == "extra_forbidden":
        if instead := answer(getattr(schema, "foreign_keys", ()), path):
            return Problem(path, f"there is no '{path[-1]}' here{_section(path[:-1])}: {instead}")
        names = [name for model in models_at(schema, data, path[:-1]) for name in yaml_fields(model)]
        unknown = f"unknown key '{path[-1]}'{_section(path[:-1])}."
        if elsewhere := [] if nearest_names(str(path[-1]), names) else _elsewhere(path, schema):
            return Problem(path, f"{unknown} Did you mean {' or '.join(map(repr, elsewhere))}?")
        return Problem(path, unknown, names)
    if kind == "missing":
        return Problem(path, f"the key '{path[-1]}' is missing{_section(path[:-1])}")
    if kind == "union_tag_not_found":
        return Problem(path, f"the key {context['discriminator']} is missing{_section(path)}")
    if kind == "union_tag_invalid":
        path = (*path, context["discriminator"].strip("'"))
        return _not_allowed(path, describe(context["tag"]), context["expected_tags"])
    if kind == "literal_error":
        return _not_allowed(path, shown, context["expected"])
    if kind in EXPECTED:
        return Problem(path, f"expected {EXPECTED[kind]}, got {shown}{_hint(kind, lookup(data, path))}")
    if kind in BOUNDS:
        key, words = BOUNDS[kind]
        return Problem(path, f"must be {words} {context[key]:g}, got {shown}")
    if kind in {"too_short", "string_too_short"}:
        return Problem(path, f"must not be empty, got {shown}")
    return Problem(path, str(context.get("error") or f"{error['msg']}, got {shown}"))


def _elsewhere(path: Path_, schema: type[BaseModel]) -> list[str]:
    """Return where the rest of the configuration has a key of this name."""
    return [dotted(found) for found in paths_to(str(path[-1]), schema) if found != path][:MAX_PLACES]


def _not_allowed(path: Path_, shown: str, expected: str) -> Problem:
    """Refuse a value that is none of the choices pydantic lists as ``'a', 'b' or 3``."""
    choices = [quoted or bare for quoted, bare in re.findall(r"'([^']*)'|(\d+)", expected)]
    return Problem(path, f"{path[-1]} cannot be {shown}.", choices)


def _section(path: Path_) -> str:
    return f" in {dotted(path)}" if path else ""


def _hint(kind: str, value: Any) -> str:
    """Help with a number or truth value that was written in quotes."""
    if not isinstance(value, str) or kind == "string_type":
        return ""
    if re.fullmatch(r"[-+.\deE]+|true|false", value):
        return "; remove the quotes"
    return "; write true or false" if kind == "bool_type" and value.lower() in {"yes", "no", "on", "off"} else ""
