"""Check a composed configuration against a schema and report every mistake at once."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any, TypeVar

from pydantic import BaseModel, SecretStr, ValidationError
from pydantic_core import ErrorDetails

from tabstar_lit.config.messages import explain
from tabstar_lit.config.schema.base import Section
from tabstar_lit.config.schema_walk import secret_keys, without_nulls, yaml_fields
from tabstar_lit.config.tree import ConfigTree, Path_, Problem, raise_problems

S = TypeVar("S", bound=Section)


def validate(schema: type[S], tree: ConfigTree, texts: Mapping[Path_, str] = MappingProxyType({})) -> S:
    """Make the typed configuration.

    Strict JSON validation is what YAML needs: a list may be a tuple and 1 a float, but ``"10"`` is no int.

    Parameters
    ----------
    texts : mapping of path to str
        Values from the environment as they were written there, for keys that want text.

    Raises
    ------
    ConfigError
        With all problems, located.
    """
    errors: list[ErrorDetails] = []
    try:
        data = without_nulls(tree.data, (schema,))
        content = schema.model_validate_json(json.dumps(data, default=_reveal))
    except ValidationError as error:
        errors = error.errors(include_url=False)
    if errors:  # outside of `except`: a traceback with pydantic's own message would show values of secrets
        wanted = {path for path in texts if any(e["loc"] == path and e["type"] == "string_type" for e in errors)}
        if wanted:
            data = tree.data
            for path in wanted:
                data = _with_text(data, path, texts[path])
            return validate(schema, ConfigTree(data, tree.positions))
        raise_problems(tree, list(explain(errors, schema, tree.data, secret_keys(schema))))
    raise_problems(tree, list(_section_problems(content, ())))
    return content


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
