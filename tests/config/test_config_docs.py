"""The page about configuration lists every key with its default and meaning, as the schema has them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from tabstar_lit.config.schema import (
    Experiment,
    ExperimentConfig,
    LoadModule,
    LossConfig,
    ModelConfig,
    NonFinite,
    OptimizerConfig,
    ParameterGroup,
    ParameterGroups,
    SchedulerConfig,
    TrainingConfig,
)
from tabstar_lit.config.schema_walk import yaml_fields

SECTIONS: dict[str, type[BaseModel]] = {
    "Top level": Experiment,
    "experiment_config": ExperimentConfig,
    "model_config": ModelConfig,
    "load_modules, each": LoadModule,
    "training_config": TrainingConfig,
    "loss": LossConfig,
    "optimizer": OptimizerConfig,
    "scheduler": SchedulerConfig,
    "parameter_groups": ParameterGroups,
    "parameter_groups.groups, each": ParameterGroup,
    "non_finite": NonFinite,
}


def default_of(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value: Any = field.get_default(call_default_factory=True)
    assert value is not PydanticUndefined
    if isinstance(value, BaseModel):
        return "see below"
    spelled = {None: "null", True: "true", False: "false"}
    text = spelled[value] if value is None or isinstance(value, bool) else str(value)
    if isinstance(value, tuple | list | dict):
        text = "{}" if isinstance(value, dict) else f"[{', '.join(value)}]"
    return f"`{text}`"


def rows(section: type[BaseModel]) -> list[str]:
    return [f"| `{name}` | {default_of(field)} | {field.description} |" for name, field in yaml_fields(section).items()]


def table(title: str) -> str:
    head = f"### {title}\n\n| Key | Default | Meaning |\n|---|---|---|\n"
    return head + "\n".join(rows(SECTIONS[title])) + "\n"


@pytest.mark.parametrize("title", SECTIONS)
def test_the_page_lists_every_key_as_it_is(repository: Path, title: str) -> None:
    page = (repository / "docs" / "configuration.md").read_text(encoding="utf-8")
    assert table(title) in page
