"""Check a composed configuration against a schema and report every mistake at once."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from copy import deepcopy
from types import MappingProxyType
from typing import Any, TypeVar, cast

from pydantic import BaseModel, SecretStr, ValidationError
from pydantic_core import ErrorDetails

from tabstar_lit.config.messages import explain
from tabstar_lit.config.schema.base import Section
from tabstar_lit.config.schema_walk import secret_keys, without_nulls, yaml_fields
from tabstar_lit.config.tree import ConfigTree, Path_, Problem, raise_problems

S = TypeVar("S", bound=Section)


def no_problems(_: Any) -> Iterable[Problem]:
    """Find nothing."""
    return ()


def validate(
    schema: type[S],
    tree: ConfigTree,
    texts: Mapping[Path_, str] = MappingProxyType({}),
    further: Callable[[S], Iterable[Problem]] = no_problems,
) -> S:
    """Make the typed configuration.

    Strict JSON validation is what YAML needs: a list may be a tuple and 1 a float, but ``"10"`` is no int.

    Parameters
    ----------
    texts : mapping of path to str
        Values from the environment as they were written there, for keys that want text.
    further : callable
        Gives what else is wrong with a configuration of the right form. It is only asked where something is wrong
        already, to say everything at once, and then gets a configuration without the values that were refused.

    Raises
    ------
    ConfigError
        With all problems, located.
    """
    content, errors = _attempt(schema, tree.data)
    if errors:
        wanted = {path for path in texts if any(e["loc"] == path and e["type"] == "string_type" for e in errors)}
        if wanted:
            data = tree.data
            for path in wanted:
                data = _with_text(data, path, texts[path])
            return validate(schema, ConfigTree(data, tree.positions), further=further)
    problems = list(explain(errors, schema, tree.data, secret_keys(schema)))
    refused = [problem.path for problem in problems]
    if content is None:
        content, _ = _attempt(schema, _without(tree.data, refused))
    if content is not None:
        # What fits together in a section cannot be said without one of its values.
        incomplete = {path[:-1] for path in refused}
        problems += [found for found in _section_problems(content, ()) if found.path[:-1] not in incomplete]
        problems += further(content) if problems else ()
    raise_problems(tree, problems)
    return cast(S, content)


def _attempt(schema: type[S], data: Any) -> tuple[S | None, list[ErrorDetails]]:
    """Return the typed configuration, or what pydantic says is wrong with it.

    Its own exception ends here: a traceback with its message would show values of secrets.
    """
    try:
        return schema.model_validate_json(json.dumps(without_nulls(data, (schema,)), default=_reveal)), []
    except ValidationError as error:
        return None, error.errors(include_url=False)


def _without(data: Any, paths: Iterable[Path_]) -> Any:
    """Copy `data` without the keys at `paths`; of a list that has a wrong element nothing is left."""
    copy = deepcopy(data)
    for path in paths:
        place, keys = copy, path[: next((i for i, part in enumerate(path) if isinstance(part, int)), len(path))]
        for part in keys[:-1]:
            place = place.get(part) if isinstance(place, dict) else None
        if keys and isinstance(place, dict):
            place.pop(keys[-1], None)
    return copy


def _with_text(data: Any, path: Path_, text: str) -> Any:
    """Copy `data` with `text` at `path`."""
    if not path:
        return text
    copy = data.copy()
    copy[path[0]] = _with_text(data[path[0]], path[1:], text)
    return copy


def complete(content: BaseModel) -> dict[str, Any]:
    """Give a configuration as plain data in YAML names, defaults included; secrets stay ``SecretStr``."""
    plain: dict[str, Any] = _plain(content.model_dump(by_alias=True))
    return plain


def _section_problems(value: Any, path: Path_) -> Iterator[Problem]:
    """Collect what the sections say about keys that do not fit together."""
    if isinstance(value, Section):
        for problem in value.problems():
            yield problem._replace(path=path + problem.path)
        for name, field in zip(yaml_fields(type(value)), type(value).model_fields, strict=True):
            yield from _section_problems(getattr(value, field), (*path, name))
    elif isinstance(value, Mapping):
        for key, child in value.items():
            yield from _section_problems(child, (*path, key))
    elif isinstance(value, list | tuple):
        for index, child in enumerate(value):
            yield from _section_problems(child, (*path, index))


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(child) for key, child in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(child) for child in value]
    return value if isinstance(value, SecretStr | str | int | float | None) else str(value)


def _reveal(value: object) -> str:
    """Give a secret to the validator, which keeps it secret again."""
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    raise TypeError(f"a configuration cannot hold {type(value).__name__}")
