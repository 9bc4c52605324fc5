"""JSON Schemas of the configuration files, with which editors complete and check while one types.

An editor sees one file, not the composition, so every key may be left out, and each file may have a
``defaults:`` list. Any value may be a reference such as ``${oc.env:NAME}``.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from pydantic import BaseModel, TypeAdapter
from pydantic.json_schema import GenerateJsonSchema

from tabstar_lit.config.schema import ArchitectureConfig, DatasetConfig, Experiment, TuningConfig
from tabstar_lit.config.schema.base import OTHER_SPELLINGS
from tabstar_lit.config.schema_walk import models_in, yaml_fields

DRAFT = "https://json-schema.org/draft/2020-12/schema"
PRIMARY = "training_config.schema.json"
TUNING = "tuning_config.schema.json"
REFERENCE = {"$ref": "#/$defs/Reference"}
REFERENCE_TEXT = {"type": "string", "pattern": r"\$\{.+\}", "description": "Another key or a variable."}
DEFAULTS = {
    "type": "array",
    "description": "Files to compose: `group: option`, `option@package`, or `_self_` for this file's place.",
    "items": {"anyOf": [{"type": "string"}, {"type": "object", "minProperties": 1, "maxProperties": 1}]},
}
ANYTHING = {"type": "object", "description": "Depends on the family; see its own file."}

JsonSchema = dict[str, Any]


def schema_files(
    families: Mapping[str, type[Experiment]], commands: Mapping[str, str], conversions: Mapping[str, Any]
) -> dict[str, str]:
    """Generate the schema of every kind of file.

    Parameters
    ----------
    families : mapping of str to type
        Name of a family -> its experiment.
    commands : mapping of str to str
        Name of a command -> what it does.
    conversions : mapping of str to type
        Name of a converter -> what its file says.

    Returns
    -------
    dict of str to str
        Path below the folder of schemas -> content: ``training_config.schema.json``, ``tuning_config.schema.json``, and
        for each family ``model_config.<family>.schema.json`` and ``dataset_config.<family>.schema.json``, and for each
        converter ``convert.<name>.schema.json``.
    """
    files = {PRIMARY: primary_schema(commands), TUNING: file_schema(TuningConfig)}
    for family, experiment in families.items():
        for key in ("model_config", "dataset_config"):
            (section,) = models_in(yaml_fields(experiment)[key].annotation)
            files[f"{key}.{family}.schema.json"] = file_schema(section)
    files |= {f"convert.{name}.schema.json": conversion_schema(content) for name, content in conversions.items()}
    return {path: json.dumps(schema, indent=2, ensure_ascii=False) + "\n" for path, schema in files.items()}


def file_schema(section: type[BaseModel]) -> JsonSchema:
    """Give the schema of a file that holds one section."""
    schema: JsonSchema = {"$schema": DRAFT, **_relaxed(section)}
    schema["$defs"] = {"Reference": REFERENCE_TEXT, **schema.get("$defs", {})}
    schema["properties"] = {"defaults": DEFAULTS, **schema["properties"]}
    return schema


def conversion_schema(content: Any) -> JsonSchema:
    """Give the schema of a file that stands by itself: a section, or a list of one."""
    schema: JsonSchema = {"$schema": DRAFT, **TypeAdapter(content).json_schema(schema_generator=_Untitled)}
    for part in _sections(schema):
        if "properties" in part:
            required = part.get("required", [])
            part["properties"] = dict(_with_spellings(part["properties"], required, references=False))
    return schema


def primary_schema(commands: Mapping[str, str]) -> JsonSchema:
    """Give the schema of ``training_config.yaml``: an experiment of any family, and its commands."""
    schema = file_schema(Experiment)
    for open_section in (ArchitectureConfig, DatasetConfig):
        schema["$defs"][open_section.__name__] = ANYTHING
    schema["$defs"]["Command"] = {
        "type": "object",
        "properties": copy.deepcopy(schema["properties"]),
        "additionalProperties": False,
    }
    schema["properties"]["commands"] = {
        "type": "object",
        "description": "What each command lays over this file when it runs.",
        "properties": {name: {"$ref": "#/$defs/Command", "description": summary} for name, summary in commands.items()},
        "additionalProperties": {"$ref": "#/$defs/Command"},
    }
    return schema


class _Untitled(GenerateJsonSchema):
    """Leaves out the titles pydantic makes of names; they only repeat the key."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False


def _relaxed(section: type[BaseModel]) -> JsonSchema:
    """Give the schema of a section in which keys may be missing and values may be references."""
    schema = section.model_json_schema(by_alias=True, schema_generator=_Untitled)
    for part in _sections(schema):
        required = part.pop("required", [])
        if "properties" in part:
            part["properties"] = dict(_with_spellings(part["properties"], required))
    return schema


def _sections(schema: JsonSchema) -> Iterator[JsonSchema]:
    """Yield the schema and those of its sections, without the titles that only repeat a name."""
    for part in (schema, *schema.get("$defs", {}).values()):
        part.pop("title", None)
        yield part


def _with_spellings(
    properties: Mapping[str, JsonSchema], required: Collection[str], *, references: bool = True
) -> Iterator[tuple[str, JsonSchema]]:
    for name, given in properties.items():
        schema = given if name in required or not _holds(given) else _or_null(given)
        others = schema.pop(OTHER_SPELLINGS, [])
        own = _or_reference(schema) if references else schema
        yield name, own
        for other in others:
            yield other, {**own, "description": f"The same as {name}.", "deprecated": True}


def _holds(schema: JsonSchema) -> bool:
    """Tell whether a section, a mapping or a list may stand there, whose default null means where it means no other."""
    choices = [*schema.get("anyOf", ()), *schema.get("oneOf", ())]
    return "$ref" in schema or schema.get("type") in ("object", "array") or any(map(_holds, choices))


def _or_null(schema: JsonSchema) -> JsonSchema:
    outside = {key: schema[key] for key in ("description", "default", OTHER_SPELLINGS) if key in schema}
    inside = {key: value for key, value in schema.items() if key not in outside}
    choices = inside["anyOf"] if set(inside) == {"anyOf"} else [inside]
    null = {"type": "null"}
    return {**outside, "anyOf": choices if null in choices else [*choices, null]}


def _or_reference(schema: JsonSchema) -> JsonSchema:
    """Allow a reference beside what a key takes, keeping its description where editors look for it."""
    outside: JsonSchema = {key: schema[key] for key in ("description", "default") if key in schema}
    inside = {key: value for key, value in schema.items() if key not in outside}
    return {**outside, "anyOf": [*(inside["anyOf"] if set(inside) == {"anyOf"} else [inside]), REFERENCE]}
