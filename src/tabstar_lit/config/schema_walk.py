"""What can be learnt from the schema's types: names of keys, other spellings, and which keys hold secrets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from tabstar_lit.config.nodes import Node
from tabstar_lit.config.schema.base import AlsoSpelled, Choice
from tabstar_lit.config.tree import Path_, fail

Models = tuple[type[BaseModel], ...]
OVERLAYS = "stage_config"


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


def reachable(schema: type[BaseModel]) -> list[type[BaseModel]]:
    """Find a section and all sections below it."""
    found = [schema]
    for model in found:  # grows while it is walked
        for field in model.model_fields.values():
            found.extend(below for below in models_in(field.annotation) if below not in found)
    return found


def secret_keys(schema: type[BaseModel]) -> frozenset[str]:
    """Name the keys whose values the schema declares secret, at any depth."""
    return frozenset(
        name
        for model in reachable(schema)
        for name, field in yaml_fields(model).items()
        if SecretStr in (field.annotation, *get_args(field.annotation))
    )


def respell(node: Node, models: Models) -> Node:
    """Rename keys that are written in another accepted spelling, and write a choice out that is made by its name.

    Raises
    ------
    ConfigError
        When two spellings of one key stand in the same mapping.
    """
    if isinstance(node.value, list):
        return Node([respell(child, models) for child in node.value], node.position)
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
        if key == OVERLAYS and isinstance(child.value, dict):
            stages = {stage: respell(overlay, models) for stage, overlay in child.value.items()}
            entries[key] = Node(stages, child.position)
        else:
            entries[name] = respell(child, _below(models, name))
    return Node(entries, node.position)


def _below(models: Models, name: str) -> Models:
    """Find the models below a key; a mapping with free keys (name -> model) keeps its models."""
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
