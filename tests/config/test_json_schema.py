from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from tabstar_lit.commands.schemas import generated, main, stale_files, write_files
from tabstar_lit.config.json_schema import schema_files

MARK = "# yaml-language-server: $schema="


@pytest.fixture
def demo_files(demo_schema: Any) -> dict[str, Any]:
    files = schema_files({"demo": demo_schema}, {"train_demo": "Train the demo."}, {})
    return {name: json.loads(content) for name, content in files.items()}


def errors(schema: Any, text: str) -> list[str]:
    validator = jsonschema.Draft202012Validator(schema)
    return [error.json_path for error in validator.iter_errors(yaml.safe_load(text))]


def test_each_kind_of_file_has_a_schema(demo_files: dict[str, Any]) -> None:
    assert sorted(demo_files) == [
        "dataset_config.demo.schema.json",
        "model_config.demo.schema.json",
        "training_config.schema.json",
        "tuning_config.schema.json",
    ]
    for schema in demo_files.values():
        jsonschema.Draft202012Validator.check_schema(schema)


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("model_config.demo", "training_config: {max_epochs: 3}"),
        ("model_config.demo", "defaults: [mlp, {optional sub: x}]\narchitecture_config: {model: mlp}"),
        ("model_config.demo", "training_config: {max_epochs: '${oc.env:EPOCHS,3}', loss: {loss_name: bce}}"),
        ("dataset_config.demo", "scaling: 2.5\nfiles: [a, b]"),
        ("training_config", "experiment_config: {refresh_rate: 3}\nmodel_config: {architecture_config: {any: 1}}"),
        ("training_config", "commands: {train_demo: {defaults: [{model_config: mlp}], stages: [a]}}"),
        ("tuning_config", "pruning: MedianPruner\nparameters: {a.b: {type: categorical, choices: [[1, 2], x, null]}}"),
    ],
)
def test_parts_of_a_configuration_are_accepted(demo_files: dict[str, Any], kind: str, text: str) -> None:
    assert errors(demo_files[f"{kind}.schema.json"], text) == []


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("model_config.demo", "training_config: {max_epoch: 3}"),
        ("model_config.demo", "training_config: {max_epochs: many}"),
        ("model_config.demo", "training_config: {optimizer: {name: Adam}}"),
        ("dataset_config.demo", "scalingg: 2.5"),
        ("training_config", "experiment_config: {accelerator: gpuu}"),
        ("training_config", "commands: {train_demo: {stage: [a]}}"),
        ("training_config", "defaults: 3"),
        ("tuning_config", "parameters: {a.b: {type: float, low: 1, hight: 2}}"),
    ],
)
def test_mistakes_are_underlined(demo_files: dict[str, Any], kind: str, text: str) -> None:
    assert errors(demo_files[f"{kind}.schema.json"], text) != []


def test_every_key_is_explained(demo_files: dict[str, Any]) -> None:
    """Editors show the description when the pointer rests on a key."""
    definitions = demo_files["training_config.schema.json"]["$defs"]
    unexplained = [
        f"{name}.{key}"
        for name in ("ExperimentConfig", "ModelConfig", "TrainingConfig", "OptimizerConfig", "SchedulerConfig")
        for key, schema in definitions[name]["properties"].items()
        if not schema.get("description")
    ]
    assert unexplained == []


def test_files_are_written_once_and_removed_when_no_longer_made(tmp_path: Path) -> None:
    one, other = "schemas/a.schema.json", "docs/families/a-keys.md"
    files = {one: "{}\n", other: "# A\n", "docs/by_hand.md": "text\n"}
    assert write_files(tmp_path, files) == sorted(files)
    assert write_files(tmp_path, files) == []
    (tmp_path / one).write_text("old", encoding="utf-8")
    assert stale_files(tmp_path, files) == [one]
    assert write_files(tmp_path, {one: "{}\n"}) == [other, one]
    assert not (tmp_path / other).exists()
    assert (tmp_path / "docs/by_hand.md").exists()


def test_what_is_made_from_the_schemas_is_up_to_date(repository: Path) -> None:
    assert stale_files(repository, generated(repository)) == [], "run: make keys"


def test_the_command_says_what_is_stale(tmp_path: Path) -> None:
    from click.testing import CliRunner

    runner = CliRunner()
    checked = runner.invoke(main, ["--check", "--root", str(tmp_path)])
    assert checked.exit_code == 1
    assert "out of date: schemas/" in checked.output
    assert runner.invoke(main, ["--write", "--root", str(tmp_path)]).exit_code == 0
    assert runner.invoke(main, ["--check", "--root", str(tmp_path)]).exit_code == 0


def test_shipped_files_name_their_schema_and_fit_it(repository: Path) -> None:
    folders = [repository / f"{kind}_config" for kind in ("model", "dataset", "tuning")]
    paths = [repository / "training_config.yaml", *(path for folder in folders for path in folder.rglob("*.yaml"))]
    for path in paths:
        text = path.read_text(encoding="utf-8")
        first = text.partition("\n")[0]
        assert first.startswith(MARK), path
        schema = (path.parent / first.removeprefix(MARK)).resolve()
        assert errors(json.loads(schema.read_text(encoding="utf-8")), text) == [], path


@pytest.fixture(scope="module")
def conversion_schemas(repository: Path) -> dict[str, Any]:
    return {
        kind: json.loads((repository / "schemas" / f"convert.{kind}.schema.json").read_text())
        for kind in ("antibody", "events", "microbiome", "tables")
    }


def test_examples_of_conversions_are_accepted(repository: Path, conversion_schemas: dict[str, Any]) -> None:
    examples = sorted((repository / "examples").glob("*/*.yaml"))
    refused = {path.name: errors(conversion_schemas[path.parent.name], path.read_text()) for path in examples}
    assert len(refused) > 10
    assert {name: found for name, found in refused.items() if found} == {}


@pytest.mark.parametrize(
    ("kind", "text", "place"),
    [
        ("tables", "- {name: a, file: a.csv, target: y, task: classify}", "$[0].task"),
        ("tables", "- {name: a, file: a.csv, target: y, tsk: regression}", "$[0]"),
        ("events", "sources: [{file: a.csv, lable: signal}]", "$.sources[0]"),
        ("microbiome", "name: a\ntable: a.biom\nrarefy: {dept: 100}", "$.rarefy"),
        ("antibody", "sources: [{file: a.csv}]\nclusters: {k: many}", "$.clusters"),
    ],
)
def test_mistakes_in_conversions_are_found(
    conversion_schemas: dict[str, Any], kind: str, text: str, place: str
) -> None:
    assert any(found.startswith(place) for found in errors(conversion_schemas[kind], text)), text
