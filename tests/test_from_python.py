"""``tabstar_lit.train`` and ``tabstar_lit.load``: what the commands do, without a command line."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner

import tabstar_lit
from tabstar_lit.api import Run
from tabstar_lit.commands.train import train_signal
from tabstar_lit.errors import CheckpointError, ConfigError, RunError
from tabstar_lit.families.hep.events.toys import toy_events

SMALL = (
    "model_config=signal/mlp",
    "model_config.architecture_config.n_hidden=8",
    "model_config.architecture_config.n_layers=1",
    "model_config.training_config.max_epochs=2",
    "dataset_config.dataloader_kwargs.batch_size=64",
    "dataset_config.features=[met,n_jets,ht]",
    "dataset_config.files=toy.h5",
    "experiment_config.accelerator=cpu",
    "experiment_config.experiment_name=toys",
    "experiment_config.tracker=none",
    "experiment_config.plot_metrics_n_epoch=null",
)


def named(name: str, *more: str) -> tuple[str, ...]:
    return (*SMALL, f"experiment_config.run_name={name}", *more)


@pytest.fixture(scope="module", autouse=True)
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Work in a folder with events."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("python"))
        toy_events(Path("toy.h5"), 800)
        yield Path.cwd()


@pytest.fixture(scope="module")
def run(folder: Path) -> Run:
    return tabstar_lit.train("train_signal", named("python"))


def weights(path: Path) -> dict[str, torch.Tensor]:
    state: dict[str, torch.Tensor] = torch.load(path, weights_only=True)["state_dict"]
    return state


def test_a_run_from_python_is_that_of_the_command(run: Run, folder: Path) -> None:
    done = CliRunner().invoke(train_signal, named("command"), catch_exceptions=False)
    assert done.exit_code == 0, done.output
    theirs = folder / "runs/models/checkpoints/toys/command/command_last.ckpt"
    ours = folder / "runs/models/checkpoints/toys/python/python_last.ckpt"
    torch.testing.assert_close(weights(ours), weights(theirs), rtol=0, atol=0)


def test_what_a_run_leaves(run: Run, folder: Path) -> None:
    assert run.directory == folder / "runs/logs/toys/python"
    assert run.report.read_text().startswith("# ")
    record = json.loads((run.directory / "run.json").read_text())
    assert record["argv"] == ["train_signal", *named("python")]
    assert run.best_checkpoint is not None
    assert run.best_checkpoint.name == record["stages"]["train"]["best_checkpoint"]
    assert run.best_checkpoint.is_file()


def test_metrics_are_a_table_of_everything_logged(run: Run) -> None:
    lines = [json.loads(line) for line in (run.directory / "metrics.jsonl").read_text().splitlines()]
    assert [*run.metrics][:3] == ["stage", "epoch", "step"]
    assert "time" not in run.metrics
    assert len(run.metrics) == len(lines)
    assert list(run.metrics["step"]) == [line["step"] for line in lines]
    losses = [line["val_loss"] for line in lines if "val_loss" in line]
    np.testing.assert_array_equal(run.metrics["val_loss"].dropna(), losses)
    assert len(losses) == 2


def test_resume_goes_on_in_the_same_run(folder: Path) -> None:
    first = tabstar_lit.train("train_signal", named("long", "model_config.training_config.max_epochs=1"))
    more = ["model_config.training_config.max_epochs=3", *SMALL[-2:-1]]
    for wanted in ("long", first.directory):
        again = tabstar_lit.train("train_signal", more, resume=wanted)
        assert again.directory == first.directory
    assert sorted(set(again.metrics["epoch"])) == [0, 1, 2]
    newest = tabstar_lit.train("train_signal", [*more, "model_config.training_config.max_epochs=4"], resume=True)
    assert newest.directory == first.directory
    with pytest.raises(RunError, match="No run 'lost'"):
        tabstar_lit.train("train_signal", more, resume="lost")


def test_an_evaluation_has_no_best_checkpoint(run: Run) -> None:
    tested = tabstar_lit.train("train_signal", named("tested", f"model_config.load_checkpoint={run.best_checkpoint}"))
    assert tested.best_checkpoint is None
    assert "test_auroc" in tested.report.read_text()


def test_a_checkpoint_is_loaded_by_path_or_name(run: Run) -> None:
    assert run.best_checkpoint is not None
    by_path, by_name = tabstar_lit.load(run.best_checkpoint), tabstar_lit.load("python_last")
    assert by_path.path == run.best_checkpoint
    for model in (by_path, by_name):
        assert model.family == "signal"
        scores = model.predict("toy.h5", split="test", device="cpu")
        assert scores["p_signal"].between(0, 1).all()


def test_a_single_setting_may_stand_alone(folder: Path) -> None:
    with pytest.raises(ConfigError, match="max_epoch"):
        tabstar_lit.train("train_signal", "model_config.training_config.max_epoch=1")


def test_a_folder_of_configurations_can_be_given(folder: Path) -> None:
    (folder / "mine/model_config/signal").mkdir(parents=True)
    (folder / "mine/model_config/signal/mlp.yaml").write_text("name: Mine\nno_such_key: 1\n")
    with pytest.raises(ConfigError, match=r"mine/model_config/signal/mlp\.yaml:2:1: unknown key 'no_such_key'"):
        tabstar_lit.train("train_signal", named("mine"), "mine")


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: tabstar_lit.train("train_signl"), ConfigError, "'train_signl' is no training command. Did you mean"),
        (lambda: tabstar_lit.load("nowhere"), CheckpointError, "There is no checkpoint 'nowhere'"),
        (lambda: tabstar_lit.load("toy.h5"), CheckpointError, r"toy\.h5 is not a usable checkpoint"),
        (lambda: tabstar_lit.lood, AttributeError, "no attribute 'lood'"),
    ],
)
def test_mistakes_are_errors_with_a_message(call: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        call()


def test_importing_the_package_is_light() -> None:
    script = (
        "import sys, tabstar_lit; print(sorted({'torch', 'numpy', 'click', 'pydantic', 'yaml'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
