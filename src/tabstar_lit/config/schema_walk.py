"""What can be learnt from the schema's types: names of keys, other spellings, and which keys hold secrets."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from tabstar_lit.config.nodes import Node
from tabstar_lit.config.schema.base import AlsoSpelled, Choice
from tabstar_lit.config.tree import OVERLAYS, Path_, fail

Models = tuple[type[BaseModel], ...]


def yaml_fields(model: type[BaseModel]) -> dict[str, FieldInfo]:
    """Give the fields of a model by the name they have in YAML."""
    return {field.alias or name: field for name, field in model.model_fields.items()}


def lookup(data: Any, path: Path_) -> Any:
    """Give the value at a path, None when there is none."""
    for part in path:
        try:
            data = data[part]
        except (KeyError, IndexError, TypeError):
            return None
    return data


def models_in(annotation: Any) -> Models:
    """Find the models inside a type: itself, or members of its union, list, tuple or mapping."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return (annotation,)
    return tuple(dict.fromkeys(model for part in get_args(annotation) for model in models_in(part)))


def models_at(schema: type[BaseModel], data: Any, path: Path_) -> Models:
    """Find the models that may stand at `path`, without those whose ``Literal`` tag contradicts `data`."""
    models: Models = (schema,)
    for part in path:
        data = lookup(data, (part,))
        fields = [yaml_fields(model).get(str(part)) for model in models]
        if any(fields):
            models = tuple(found for field in fields if field for found in models_in(field.annotation))
        models = tuple(model for model in models if _tag_fits(model, data)) or models
    return models


def without_nulls(data: Any, models: Models) -> Any:
    """Leave out each section, mapping or list that is null where its key does not say what null is: it has its default.

    The same for a section in place of which a plain value may stand, such as ``true``.
    """
    if isinstance(data, list):
        return [without_nulls(part, models) for part in data]
    if not isinstance(data, dict) or not models:
        return data
    fitting = tuple(model for model in models if _tag_fits(model, data)) or models
    kept = {}
    for key, value in data.items():
        fields = [field for model in fitting if (field := yaml_fields(model).get(str(key)))]
        below = _below(fitting, str(key))
        if value is None and fields and all(map(_defaults_on_null, fields)):
            continue
        if _has_free_keys(fitting, str(key)) and isinstance(value, dict):
            kept[key] = {name: without_nulls(part, below) for name, part in value.items()}
        else:
            kept[key] = without_nulls(value, below)
    return kept


def _defaults_on_null(field: FieldInfo) -> bool:
    parts = _parts(field.annotation)
    holds = bool(models_in(field.annotation)) or any(get_origin(part) in (dict, list, tuple) for part in parts)
    return holds and not field.is_required() and NoneType not in parts


def _parts(annotation: Any) -> tuple[Any, ...]:
    """Give the members of a union, those in ``Annotated`` too; any other type is its own member."""
    if get_origin(annotation) in (Union, UnionType):
        return tuple(part for member in get_args(annotation) for part in _parts(member))
    return _parts(get_args(annotation)[0]) if get_origin(annotation) is Annotated else (annotation,)


def reachable(schema: type[BaseModel]) -> list[type[BaseModel]]:
    """Find a section and all sections below it."""
    found = [schema]
    for model in found:  # grows while it is walked
        for field in model.model_fields.values():
            found.extend(below for below in models_in(field.annotation) if below not in found)
    return found


def paths_to(name: str, schema: type[BaseModel]) -> list[Path_]:
    """Find the keys called ``name`` with a single place in the whole configuration: not in a list or free mapping."""
    found: list[Path_] = []
    sections: list[tuple[Path_, type[BaseModel]]] = [((), schema)]
    for path, model in sections:  # grows while it is walked
        for key, field in yaml_fields(model).items():
            if key == name and (*path, key) not in found:
                found.append((*path, key))
            if not any(get_origin(part) in (dict, list, tuple) for part in _parts(field.annotation)):
                known = {section for _, section in sections}
                sections.extend(((*path, key), below) for below in models_in(field.annotation) if below not in known)
    return found


def secret_keys(schema: type[BaseModel]) -> frozenset[str]:
    """Name the keys whose values the schema declares secret, at any depth."""
    return frozenset(
        name
        for model in reachable(schema)
        for name, field in yaml_fields(model).items()
        if SecretStr in (field.annotation, *get_args(field.annotation))
    )


def respell(node: Node, models: Models, tell: Callable[[str], None]) -> Node:
    """Rename keys that are written in another accepted spelling, telling of each; write out a choice made by its name.

    Raises
    ------
    ConfigError
        When two spellings of one key stand in the same mapping.
    """
    if isinstance(node.value, list):
        return Node([respell(child, models, tell) for child in node.value], node.position)
    choices = [model for model in models if issubclass(model, Choice)]
    if isinstance(node.value, str) and choices:
        return Node({choices[0].name_key: node}, node.position)
    if not isinstance(node.value, dict) or not models:
        return node
    names: dict[str, str] = {spelling: name for model in models for spelling, name in _spellings(model)}
    entries: dict[str, Node] = {}
    for key, child in node.value.items():
        name = names.get(key, str(key))
        if name in entries:
            fail(
                child.position,
                f"'{key}' is another spelling of a key that is already set at {entries[name].position}",
            )
        if name != key:
            tell(f"{child.position}: '{key}' is taken as `{name}`")
        if key == OVERLAYS and isinstance(child.value, dict):
            stages = {stage: respell(overlay, models, tell) for stage, overlay in child.value.items()}
            entries[key] = Node(stages, child.position)
        elif _has_free_keys(models, name) and isinstance(child.value, dict):
            own = {free: respell(part, _below(models, name), tell) for free, part in child.value.items()}
            entries[name] = Node(own, child.position)
        else:
            entries[name] = respell(child, _below(models, name), tell)
    return Node(entries, node.position)


def _has_free_keys(models: Models, name: str) -> bool:
    """Tell whether a key holds a mapping of names that a user chooses."""
    fields = [field for model in models if (field := yaml_fields(model).get(name))]
    return any(get_origin(part) is dict for field in fields for part in _parts(field.annotation))


def _below(models: Models, name: str) -> Models:
    """Find the models below a key, or below each name of a mapping with free ones."""
    fields = [field for model in models if (field := yaml_fields(model).get(name))]
    return tuple(found for field in fields for found in models_in(field.annotation))


def _spellings(model: type[BaseModel]) -> Iterator[tuple[str, str]]:
    for name, field in yaml_fields(model).items():
        for mark in field.metadata:
            if isinstance(mark, AlsoSpelled):
                yield from ((spelling, name) for spelling in mark.names)


def _tag_fits(model: type[BaseModel], data: Any) -> bool:
    if not isinstance(data, Mapping):
        return True
    return all(
        data[name] in get_args(field.annotation)
        for name, field in yaml_fields(model).items()
        if get_origin(field.annotation) is Literal and len(get_args(field.annotation)) == 1 and name in data
    )
