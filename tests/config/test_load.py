from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from checks import assert_takes_less_than

from tabstar_lit.config import Problem, compose_experiment, provenance, to_yaml
from tabstar_lit.config.overrides import parse_override
from tabstar_lit.errors import ConfigError


def test_every_value_knows_where_it_was_written(project: Any) -> None:
    origins = provenance(project.load("model_config.training_config.max_epochs=7").tree)
    assert origins["experiment_config.seed"] == "training_config.yaml:3:3"
    assert origins["model_config.training_config.loss"] == "model_config/mlp.yaml:4:3"
    assert origins["dataset_config.name"] == "dataset_config/toy.yaml:1:1"
    assert origins["model_config.training_config.max_epochs"].startswith("command line: ")
    assert origins["model_config.training_config.monitor"] == "default"


def test_a_composed_configuration_is_complete_and_reads_back_equal(project: Any, tmp_path: Path) -> None:
    first = project.load(
        "model_config.training_config.optimizer.optimizer_params={lr: 1e-5, eps: 1e-20, betas: [0.9, 0.99]}",
        "experiment_config.run_name='1e-3'",
        "dataset_config.files=['no', '12:30', 'null', '#x', 'a: b', 'ä']",
        "stages=[one, two]",
        "stage_config.two.model_config.training_config.max_epochs=2",
        "stage_config.unused.dataset_config.scale=2",
    )
    text = to_yaml(first.tree)
    path = project.write("run/config.yaml", text)
    again = project.load(primary=path)
    assert again.experiment == first.experiment
    assert [stage.experiment for stage in again.stages] == [stage.experiment for stage in first.stages]
    assert to_yaml(again.tree) == text
    assert "!!" not in text


def test_each_stage_sees_its_part_of_the_configuration(project: Any) -> None:
    project.write(
        "training_config.yaml",
        """
        defaults: [{model_config: mlp}, {dataset_config: toy}]
        experiment_config: {experiment_name: demo, seed: 1}
        stages: [pretrain, tune]
        stage_config:
          tune:
            experiment_config: {refresh_rate: 3}
            model_config:
              training_config: {max_epochs: 1, scheduler: {scheduler_name: X}}
              freeze: [encoder]
            dataset_config: {scale: "${experiment_config.seed}"}
          later: {dataset_config: {scale: 5}}
        """,
    )
    loaded = project.load("model_config.training_config.save_top_k=2")
    pretrain, tune = loaded.stages
    assert (pretrain.name, tune.name) == ("pretrain", "tune")
    assert pretrain.experiment == loaded.experiment
    training = tune.experiment.model.training_config
    assert (training.max_epochs, training.save_top_k, training.loss) == (1, 2, "bce")
    assert training.scheduler.scheduler_name == "X"
    assert tune.experiment.model.freeze == ("encoder",)
    assert tune.experiment.experiment_config.tqdm_refresh_rate == 3
    assert tune.experiment.dataset_config.scale == 1
    assert str(tune.tree.position(("model_config", "freeze"))) == "training_config.yaml:9:7"
    assert str(tune.tree.position(("model_config", "name"))) == "model_config/mlp.yaml:1:1"


def test_mistakes_in_a_stage_are_located_in_its_part(project: Any) -> None:
    project.write(
        "training_config.yaml",
        """
        defaults: [{model_config: mlp}, {dataset_config: toy}]
        experiment_config: {experiment_name: demo}
        stages: [pretrain, tune]
        stage_config:
          tune:
            model_config:
              training_config: {max_epoch: 1}
              continue_training: true
        """,
    )
    with pytest.raises(ConfigError, match=r"^2 problems in the configuration:\n") as refused:
        project.load()
    first, second = str(refused.value).splitlines()[1:]
    assert first.startswith("training_config.yaml:7:25: unknown key 'max_epoch' in model_config")
    assert second.startswith("training_config.yaml:8:7: continue_training needs load_checkpoint")
    with pytest.raises(ConfigError, match=r"^training_config\.yaml:7:25: unknown key 'max_epoch'"):
        project.load("~stage_config.tune.model_config.continue_training")
    with pytest.raises(ConfigError, match=r"^training_config\.yaml:8:7: continue_training needs load_checkpoint"):
        project.load("~stage_config.tune.model_config.training_config.max_epoch")


def test_text_from_the_environment_fits_where_text_is_wanted(project: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUN", "2024")
    loaded = project.load(
        "experiment_config.run_name=${oc.env:RUN}", "model_config.training_config.max_epochs=${oc.env:RUN}"
    )
    assert loaded.experiment.experiment_config.run_name == "2024"
    assert loaded.experiment.model.training_config.max_epochs == 2024
    monkeypatch.setenv("RUN", "2024x")
    with pytest.raises(ConfigError, match="expected a whole number, got the text '2024x'"):
        project.load("model_config.training_config.max_epochs=${oc.env:RUN}")


def test_the_command_line_wins_in_order(project: Any) -> None:
    loaded = project.load("experiment_config.seed=2", "experiment_config={seed: 3}", "+dataset_config.scale=1.5")
    assert (loaded.experiment.experiment_config.seed, loaded.experiment.dataset_config.scale) == (3, 1.5)


def test_a_default_may_be_asked_for_by_removing_a_key(project: Any) -> None:
    assert project.load("~model_config.training_config.max_epochs").experiment.model.training_config.max_epochs == 10


def test_loading_is_fast(project: Any) -> None:
    project.load()
    with assert_takes_less_than(0.2):
        project.load("experiment_config.seed=2")


def test_the_packaged_copy_answers_anywhere(empty_project: Any) -> None:
    """Without any file here, the primary file that comes with the program is found."""
    with pytest.raises(ConfigError, match="the key 'dataset_config' is missing"):
        empty_project.load()


def test_values_are_laid_over_what_was_composed_once(project: Any, demo_schema: Any) -> None:
    reference = "dataset_config.scale=${model_config.training_config.max_epochs}"
    composition = compose_experiment(demo_schema, command="train_demo", overrides=[reference])
    project.write("model_config/mlp.yaml", "name: another\n")
    project.write("training_config.yaml", "experiment_config: {}\n")
    first = composition.load([parse_override("model_config.training_config.max_epochs=5")]).experiment
    second = composition.load([parse_override("dataset_config.scaling=0.5")]).experiment
    assert (first.model.training_config.max_epochs, first.dataset_config.scale) == (5, 5.0)
    assert (second.model.training_config.max_epochs, second.dataset_config.scale) == (3, 0.5)
    assert composition.load().experiment.dataset_config.scale == 3.0
    with pytest.raises(ConfigError, match="unknown key 'max_epoch'"):
        composition.load([parse_override("model_config.training_config.max_epoch=5")])


def test_what_is_wrong_beyond_the_schema_is_said_with_the_rest_and_not_without_it(project: Any) -> None:
    def further(experiment: Any) -> list[Problem]:
        name = experiment.model.training_config.optimizer.optimizer_name
        return [Problem(("model_config", "training_config", "optimizer", "optimizer_name"), f"no optimizer '{name}'")]

    project.write(
        "training_config.yaml",
        """
        defaults: [{model_config: mlp}, {dataset_config: toy}]
        experiment_config: {experiment_name: demo, devices: []}
        """,
    )
    words = ["model_config.training_config.optimizer=AdmW"]
    with pytest.raises(ConfigError, match=r"(?s)2 problems.*no optimizer 'AdmW'.*expected a number of devices"):
        project.load(*words, further=further)
    with pytest.raises(ConfigError, match=r"^training_config\.yaml:2:\d+: expected a number of devices"):
        project.load(*words)
    loaded = project.load(*words, "experiment_config.devices=1", further=further)
    assert loaded.experiment.model.training_config.optimizer.optimizer_name == "AdmW"
