"""A small project in a temporary folder: files by name, loaded with a schema that has a bit of everything."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from pydantic import Field, SecretStr

from tabstar_lit.config import Loaded, load_experiment
from tabstar_lit.config.schema import ArchitectureConfig, DatasetConfig, Experiment, ModelConfig
from tabstar_lit.config.schema.base import AlsoSpelled, Section


class Mlp(ArchitectureConfig):
    model: Literal["mlp"]
    n_hidden: int = 8
    dropout: float = 0.0


class Attention(ArchitectureConfig):
    model: Literal["attention"]
    heads: int = 2
    head_dims: list[int] = Field(default_factory=list)


class DemoModel(ModelConfig):
    architecture_config: Annotated[Mlp | Attention, Field(discriminator="model")]


class Store(Section):
    address: str = "local"
    token: SecretStr | None = None


class DemoData(DatasetConfig):
    files: tuple[str, ...] = ()
    scale: Annotated[float, AlsoSpelled("scaling")] = 1.0
    store: Store = Field(default_factory=Store)
    cuts: dict[str, float] = Field(default_factory=dict)


class Demo(Experiment):
    dataset_config: DemoData
    model: DemoModel = Field(alias="model_config")


PRIMARY = """
    experiment_config:
      experiment_name: demo
      seed: 1
    commands:
      train_demo:
        defaults:
          - model_config: mlp
          - dataset_config: toy
    """
MLP = """
    name: mlp
    architecture_config: {model: mlp}
    training_config:
      loss: bce
      max_epochs: 3
    """


@dataclass
class Project:
    root: Path

    def write(self, name: str, text: str) -> Path:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text).lstrip("\n"), encoding="utf-8")
        return path

    def load(self, *overrides: str, **options: Any) -> Loaded[Demo]:
        return load_experiment(Demo, command="train_demo", overrides=overrides, **options)


@pytest.fixture
def empty_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A working directory without files."""
    monkeypatch.chdir(tmp_path)
    return Project(tmp_path)


@pytest.fixture
def project(empty_project: Project) -> Project:
    """A working directory with a complete little configuration."""
    empty_project.write("training_config.yaml", PRIMARY)
    empty_project.write("model_config/mlp.yaml", MLP)
    empty_project.write("dataset_config/toy.yaml", "name: toy\n")
    return empty_project


@pytest.fixture
def demo_schema() -> type[Demo]:
    """The schema that ``project`` is loaded with."""
    return Demo
