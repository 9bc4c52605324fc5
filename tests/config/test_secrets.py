"""A key that is put in by any way comes out by none."""

from __future__ import annotations

import traceback
from typing import Any

import pytest

from tabstar_lit.config import Loaded, provenance, redact, to_yaml
from tabstar_lit.errors import ConfigError

CANARY = "sk-test-CANARY-1234"
KEY = "experiment_config.comet_api_key"


def everything_printable(loaded: Loaded[Any]) -> str:
    trees = [loaded.tree, *(stage.tree for stage in loaded.stages)]
    parts = [to_yaml(tree) + str(provenance(tree)) + repr(tree) for tree in trees]
    dumps = [repr(loaded), str(loaded.experiment), str(redact(loaded.experiment.model_dump())), str(loaded.notices)]
    return "".join([*parts, *dumps, loaded.experiment.model_dump_json()])


def key_of(loaded: Loaded[Any]) -> str | None:
    key = loaded.experiment.experiment_config.comet_api_key
    return key and key.get_secret_value()


def put_in(project: Any, monkeypatch: pytest.MonkeyPatch, way: str) -> list[str]:
    """Put the key in by a way and give the arguments that it takes."""
    file = project.root / "training_config.yaml"
    line = "experiment_config:\n"
    if way == "file":
        file.write_text(file.read_text().replace(line, f"{line}  comet_api_key: {CANARY}\n"))
    elif way == "reference":
        monkeypatch.setenv("MY_KEY", CANARY)
        file.write_text(file.read_text().replace(line, f"{line}  comet_api_key: ${{oc.env:MY_KEY}}\n"))
    elif way == "environment":
        monkeypatch.setenv("COMET_API_KEY", CANARY)
    return {
        "override": [f"{KEY}={CANARY}"],
        "mapping": [f"experiment_config={{comet_api_key: {CANARY}}}"],
        "copy": [f"{KEY}={CANARY}", "experiment_config.run_name=${experiment_config.comet_api_key}"],
        "stage": [f"stage_config.train.{KEY}={CANARY}"],
    }.get(way, [])


WAYS = ["file", "reference", "environment", "override", "mapping", "stage"]


@pytest.mark.parametrize("way", [*WAYS, "copy"])
def test_the_key_arrives_but_is_never_written(project: Any, monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    loaded = project.load(*put_in(project, monkeypatch, way))
    stage = loaded.stages[0].experiment.experiment_config
    assert stage.comet_api_key is not None
    assert stage.comet_api_key.get_secret_value() == CANARY
    if way != "copy":
        assert CANARY not in everything_printable(loaded)
    assert CANARY not in to_yaml(loaded.tree) + str(provenance(loaded.tree))
    assert CANARY not in str(redact(loaded.tree.data))


@pytest.mark.parametrize("way", [way for way in WAYS if way != "stage"])
@pytest.mark.parametrize(
    "mistake",
    [
        "experiment_config.sed=1",
        "experiment_config.run_name=a/${experiment_config.comet_api_key}",
        "experiment_config.comet_project_name=[1]",
        "stages=[]",
    ],
)
def test_mistakes_beside_the_key_do_not_print_it(
    project: Any, monkeypatch: pytest.MonkeyPatch, way: str, mistake: str
) -> None:
    arguments = put_in(project, monkeypatch, way)
    if way == "environment" and "${" in mistake:
        mistake = "experiment_config.run_name=a/${oc.env:COMET_API_KEY}"
    with pytest.raises(ConfigError, match="command line") as error:
        project.load(*arguments, mistake)
    assert CANARY not in str(error.value)
    assert CANARY not in "".join(traceback.format_exception(error.value))


@pytest.mark.parametrize(
    "override",
    [
        f"{KEY}=[{CANARY}]",
        f"{KEY}={{a: {CANARY}}}",
        f"{KEY}=[{CANARY}",
        f"{KEY}={CANARY}-${{x}}",
        f"experiment_config.comet_api_kye={CANARY}",
        f"experiment_config.api_key={CANARY}",
        f"experiment_config={{comet_apikey: {CANARY}}}",
        f"comet_api_key={CANARY}",
        f"+{KEY}.x={CANARY}",
        f"{KEY}-{CANARY}",
    ],
)
def test_a_misspelt_or_broken_key_is_not_printed(project: Any, override: str) -> None:
    with pytest.raises(ConfigError, match="command line") as error:
        project.load("model_config.training_config.max_epochs=0", override)
    assert CANARY not in str(error.value)


@pytest.mark.parametrize("value", [f"[{CANARY}]", f"{{a: {CANARY}}}", f"{CANARY}${{"])
def test_a_broken_key_in_a_file_is_not_printed(project: Any, value: str) -> None:
    project.write("training_config.yaml", f"experiment_config:\n  comet_api_key: '{value}'\n".replace("'", ""))
    with pytest.raises(ConfigError, match=r"training_config\.yaml") as error:
        project.load()
    assert CANARY not in str(error.value)


def test_secrets_are_known_by_their_type(project: Any) -> None:
    """A family's own secret is masked; keys that only look like one are not."""
    loaded = project.load(f"dataset_config.store.token={CANARY}", "dataset_config.cuts={key_token: 2}")
    assert loaded.experiment.dataset_config.store.token.get_secret_value() == CANARY
    assert CANARY not in everything_printable(loaded)
    assert loaded.tree.data["dataset_config"]["cuts"] == {"key_token": 2.0}


def test_null_switches_the_variable_off(project: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMET_API_KEY", CANARY)
    assert key_of(project.load()) == CANARY
    assert key_of(project.load(f"{KEY}=null")) is None


def test_a_number_in_the_environment_is_a_key_too(project: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", "1234567e8")
    assert key_of(project.load(f"{KEY}=${{oc.env:MY_KEY}}")) == "1234567e8"


def test_a_masked_key_is_taken_from_the_environment_again(project: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    path = project.write("run/config.yaml", to_yaml(project.load(f"{KEY}={CANARY}").tree))
    without = project.load(primary=path)
    assert key_of(without) is None
    assert "set COMET_API_KEY to use Comet" in without.notices[0]
    monkeypatch.setenv("COMET_API_KEY", CANARY)
    assert key_of(project.load(primary=path)) == CANARY


def test_clear_text_has_to_be_asked_for(project: Any) -> None:
    tree = project.load(f"{KEY}={CANARY}").tree
    assert CANARY in to_yaml(tree, redact=False)
