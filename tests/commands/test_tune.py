"""``tabstar_lit tune`` as it is typed: a study of a real training command to its end, and mistakes in it."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result

from tabstar_lit.commands.cli import main
from tabstar_lit.commands.train import train_signal
from tabstar_lit.commands.tune import training_command
from tabstar_lit.engine.runs.files import RunFiles
from tabstar_lit.errors import RunInterrupted
from tabstar_lit.families import FAMILIES, get_family

STUDY = """
study_name: widths
sampler: RandomSampler
parameters:
  model_config.architecture_config.n_hidden: {type: int, low: 4, high: 16}
  model_config.architecture_config.act: {type: categorical, choices: [ReLU, GELU]}
  model_config.training_config.optimizer.optimizer_params.lr: {type: float, low: 1e-4, high: 1e-1, log: true}
n_trials: 2
"""
SETTINGS = (
    "tuning_config=widths",
    "model_config=signal/mlp",
    "model_config.architecture_config.n_layers=1",
    "model_config.training_config.max_epochs=2",
    "dataset_config.dataloader_kwargs.batch_size=64",
    "dataset_config.features=[met, n_jets, ht]",
    "dataset_config.files=toy.h5",
    "experiment_config.plot_metrics_n_epoch=null",
    "experiment_config.experiment_name=toys",
    "experiment_config.tracker=none",
)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in a folder with events and a study, without the tracking service."""
    from tabstar_lit.families.hep.events.toys import toy_events

    monkeypatch.chdir(tmp_path)
    (tmp_path / "tuning_config").mkdir()
    (tmp_path / "tuning_config" / "widths.yaml").write_text(STUDY)
    toy_events(Path("toy.h5"), 600)
    return tmp_path


def typed(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["tune", *arguments], catch_exceptions=False)


def test_a_study_of_a_classifier(folder: Path) -> None:
    done = typed("train_signal", *SETTINGS)
    assert done.exit_code == 0, done.output
    logs = folder / "runs" / "logs" / "toys"
    trials = [RunFiles(logs / f"widths_trial_{number}") for number in (0, 1)]
    values = [trial.record["trial"]["value"] for trial in trials]
    monitor = trials[0].stages["train"]["monitor"]
    better = max if trials[0].config["model_config.training_config.monitor_mode"] == "max" else min
    assert values == pytest.approx([trial.stages["train"]["best_score"] for trial in trials], rel=1e-6)
    *_, said, command, where = done.stdout.splitlines()
    assert said == f"the best is trial {values.index(better(values))}; this trains with its values:"
    assert where == "report: runs/logs/toys/widths/report.md"
    assert f"| trial | state | {monitor} |" in (logs / "widths" / "report.md").read_text()

    again = typed("train_signal", *SETTINGS)
    assert (again.exit_code, again.stdout.splitlines()) == (0, [said, command, where]), "nothing was left to train"

    name, *words = shlex.split(command)
    assert name == "train_signal"
    best = CliRunner().invoke(train_signal, words, catch_exceptions=False)
    assert best.exit_code == 0, best.output
    trained = RunFiles(logs / "widths_best").stages["train"]["best_score"]
    assert trained == trials[values.index(better(values))].stages["train"]["best_score"]
    config = yaml.safe_load((logs / "widths" / "best.yaml").read_text())["model_config"]["architecture_config"]
    assert RunFiles(logs / "widths_best").config["model_config.architecture_config.act"] == config["act"]


def test_checking_a_study_writes_nothing(folder: Path) -> None:
    before = sorted(folder.rglob("*"))
    done = typed("train_signal", *SETTINGS, "--check")
    assert (done.exit_code, done.stdout.splitlines()[-1]) == (0, "everything fits; nothing was written")
    assert sorted(folder.rglob("*")) == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("train_signl",), "'train_signl' is no training command. Did you mean 'train_signal'?"),
        (("train_tabstar",), "There is nothing to tune: tuning_config is not set."),
        (("train_signal", "tuning_config=signal/bultin"), "Did you mean 'signal/builtin'?"),
        (
            ("train_tabstar", "tuning_config={parameters: {model_config.name: {type: int, low: 1, high: 2}}}"),
            "expected text, got the number 1",
        ),
        (
            ("train_signal", "tuning_config=signal/builtin", "tuning_config.sampler=TPESample"),
            "there is no sampler 'TPESample'. Did you mean 'TPESampler'?",
        ),
    ],
)
def test_a_mistake_exits_with_2(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: str, message: str) -> None:
    monkeypatch.chdir(tmp_path)
    done = typed(*arguments)
    assert (done.exit_code, done.stdout) == (2, "")
    assert message in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_study_says_how_to_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise RunInterrupted(15)

    monkeypatch.setattr("tabstar_lit.commands.tune.search", interrupted)
    done = typed("train_signal")
    assert (done.exit_code, done.stderr) == (
        143,
        "stopped by SIGTERM; the same command goes on with the study\n",
    )


def test_every_family_can_be_tuned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for family in map(get_family, FAMILIES):
        assert "nothing to tune" in typed(family.command).stderr


def test_the_training_command_leaves_the_study_out() -> None:
    words = ["tuning_config=a", "tuning_config.n_trials=3", "~tuning_config.pruner", "a.tuning_config=1", "stages=[b]"]
    command = training_command(get_family("signal"), words, Path("here"))
    assert command == ["train_signal", "--config-dir", "here", "a.tuning_config=1", "stages=[b]"]


def test_help_loads_nothing_heavy() -> None:
    script = (
        "import sys; from tabstar_lit.commands.cli import main\n"
        "try: main(['tune', '--help'])\n"
        "except SystemExit: print(sorted({'optuna', 'torch', 'lightning', 'yaml'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
