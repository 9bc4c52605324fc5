from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tabstar_lit.config import load_experiment
from tabstar_lit.errors import ConfigError


def test_the_command_is_laid_over_the_file(project: Any) -> None:
    project.write(
        "training_config.yaml",
        """
        defaults: [{model_config: mlp}]
        experiment_config: {experiment_name: base, seed: 1}
        commands:
          train_demo:
            defaults: [{model_config: other}, {dataset_config: toy}]
            experiment_config: {experiment_name: demo}
            stages: [first, second]
          train_else:
            experiment_config: {experiment_name: another}
        """,
    )
    project.write("model_config/other.yaml", "name: other\narchitecture_config: {model: mlp}\n")
    experiment = project.load().experiment
    assert (experiment.experiment_config.experiment_name, experiment.experiment_config.seed) == ("demo", 1)
    assert (experiment.model.name, experiment.stages) == ("other", ("first", "second"))


def test_the_first_directory_wins_file_by_file(project: Any, tmp_path: Path, demo_schema: Any) -> None:
    project.write("mine/model_config/mlp.yaml", "name: mine\narchitecture_config: {model: mlp}\n")
    loaded = load_experiment(demo_schema, command="train_demo", config_dir=tmp_path / "mine")
    assert (loaded.experiment.model.name, loaded.experiment.dataset_config.name) == ("mine", "toy")


def test_the_variable_names_a_directory(project: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project.write("elsewhere/dataset_config/toy.yaml", "name: elsewhere\n")
    monkeypatch.setenv("ANALYSIS_ML_CONFIG_DIR", str(tmp_path / "elsewhere"))
    assert project.load().experiment.dataset_config.name == "elsewhere"


def test_a_family_may_have_a_directory_of_its_own(project: Any, demo_schema: Any) -> None:
    """The layout of SeeSawML: one folder with everything for each kind of training."""
    project.write(
        "signal/training_config.yaml",
        """
        defaults:
          - model_config: net
          - dataset_config: toy
          - override hydra/job_logging: disabled
          - _self_
        hydra: {output_subdir: null, run: {dir: .}}
        experiment_config: {experiment_name: signal, refresh_rate: 7}
        """,
    )
    project.write("signal/model_config/net.yaml", "name: net\narchitecture_config: {model: attention}\n")
    loaded = load_experiment(demo_schema, command="train_demo", family_directory="signal")
    assert loaded.experiment.model.name == "net"
    assert loaded.experiment.experiment_config.tqdm_refresh_rate == 7
    assert sorted(notice.split(": ")[1] for notice in loaded.notices) == [
        "'hydra' is ignored",
        "'hydra/job_logging' is ignored",
        "'refresh_rate' is taken as `tqdm_refresh_rate`",
    ]


@pytest.mark.parametrize(
    ("defaults", "message"),
    [
        ("{model_config: mlp}", r"training_config\.yaml:1:1: defaults must be a list"),
        ("[{model_config: mlp, dataset_config: toy}]", r"1:12: an entry of defaults has one `group: option`"),
        ("[3]", r"1:12: 3 is not an entry"),
        ("['a b']", r"1:12: 'a b' is not an entry"),
        ("[{model_config: 1}]", r"1:13: 1 cannot name a file"),
        ("[{model_config: ../../etc/passwd}]", r"1:13: '\.\./\.\./etc/passwd' cannot name a file"),
        ("[{../model_config: mlp}]", r"1:13: '\.\./model_config' cannot name a file"),
        ("[{model_config: '${x}'}]", r"cannot name a file"),
        ("[{'model config': mlp}]", r"'model config' is not a group"),
        ("[{model_config: mpl}]", r"1:13: no file 'model_config/mpl\.yaml' in any of: .*Did you mean 'mlp'\?"),
        ("[{model: mlp}]", r"no file 'model/mlp\.yaml'"),
        ("[{model_config: mlp}, {model_config: mlp}]", r"was chosen before, at training_config\.yaml:1:13"),
        ("[{override model_conf: mlp}]", r"no defaults list chooses group 'model_conf'"),
        ("[_self_, _self_]", r"_self_ stands twice"),
        ("[{model_config: a}]", r"defaults lead back.*training_config\.yaml -> .*a\.yaml -> .*b\.yaml -> .*a\.yaml"),
        ("[{model_config: link}]", r"link\.yaml is a link that leaves the configuration directory"),
    ],
)
def test_mistakes_in_defaults_are_located(project: Any, tmp_path: Path, defaults: str, message: str) -> None:
    project.write("training_config.yaml", f"defaults: {defaults}\n")
    project.write("model_config/a.yaml", "defaults: [b]\n")
    project.write("model_config/b.yaml", "defaults: [a]\n")
    outside = tmp_path.with_name(tmp_path.name + "_outside.yaml")
    outside.write_text("name: outside\n", encoding="utf-8")
    (tmp_path / "model_config" / "link.yaml").symlink_to(outside)
    with pytest.raises(ConfigError, match=message):
        project.load()


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("model_config=mpl", r"command line: 'model_config=mpl': no file .*Did you mean 'mlp'\?"),
        ("model_config=../mlp", r"command line: .*cannot name a file"),
        ("model_config@foo=mlp", r"chooses group 'model_config@foo'.*Did you mean 'model_config'\?"),
        ("+model_config=mlp", r"command line: .*was chosen before, at training_config\.yaml"),
    ],
)
def test_mistakes_in_choosing_files_name_the_argument(project: Any, override: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        project.load(override)


def test_a_command_must_be_a_mapping(project: Any) -> None:
    project.write("training_config.yaml", "commands: {train_demo: [1]}\n")
    with pytest.raises(ConfigError, match=r"training_config\.yaml:1:12: commands\.train_demo must be a mapping"):
        project.load()


def test_a_composed_file_takes_values_but_no_files(project: Any, tmp_path: Path) -> None:
    from tabstar_lit.config import to_yaml

    path = tmp_path / "config.yaml"
    first = project.load("model_config.training_config.max_epochs=9")
    path.write_text(to_yaml(first.tree), encoding="utf-8")
    again = project.load("experiment_config.seed=5", primary=path).experiment
    assert (again.model, again.experiment_config.seed) == (first.experiment.model, 5)
    chosen = project.load("model_config=mlp", primary=path)
    assert chosen.experiment == first.experiment
    assert [notice for notice in chosen.notices if "'model_config=mlp' is left out" in notice]


def test_two_spellings_of_a_key_meet_across_files(project: Any) -> None:
    project.write("dataset_config/toy.yaml", "name: toy\nscale: 2\n")
    data = project.load("dataset_config={scaling: 3}").experiment.dataset_config
    assert data.scale == 3
    assert project.load("dataset_config.scaling=4").experiment.dataset_config.scale == 4
    project.write("dataset_config/toy.yaml", "name: toy\nscale: 2\nscaling: 2\n")
    with pytest.raises(ConfigError, match=r"toy\.yaml:3:1: 'scaling' is another spelling .*toy\.yaml:2:1"):
        project.load()


@pytest.mark.parametrize("key", ["/", "/etc", "../x", "x/../..", "model_config/"])
def test_only_folders_of_the_configuration_are_groups(project: Any, key: str) -> None:
    """A key that looks like a path of the file system is not searched for options."""
    with pytest.raises(ConfigError, match="command line: "):
        project.load(f"{key}=mlp")
