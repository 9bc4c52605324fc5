"""``train_tabstar`` as a user types it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
import torch
import yaml
from checks import assert_takes_less_than
from click.testing import CliRunner
from command_line import TINY, execute, fork, start

from tabstar_lit.commands.train import train_command
from tabstar_lit.engine.runs.records import COSTS

RUN = Path("runs/logs/tiny/run")


def tiny(corpus: Path, *overrides: str) -> tuple[str, ...]:
    return (*TINY, f"dataset_config.corpus={corpus}", *overrides)


def wait_for(path: Path, process: subprocess.Popen[str], text: str, seconds: float = 120) -> None:
    """Wait until ``path`` holds ``text``; fail with the command's output when it ends before."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if path.exists() and text in path.read_text():
            return
        if process.poll() is not None:
            pytest.fail(f"the command ended with {process.returncode}: {process.communicate()[0]}")
        time.sleep(0.02)
    process.kill()
    pytest.fail(f"{path} never held {text!r}")


def last_weights(folder: Path) -> dict[str, torch.Tensor]:
    state: dict[str, torch.Tensor] = torch.load(
        folder / "runs/models/checkpoints/tiny/run/run_last.ckpt", weights_only=True
    )["state_dict"]
    return state


def logged(folder: Path) -> list[dict[str, float]]:
    machine = {"time", *COSTS}
    lines = [json.loads(line) for line in (folder / RUN / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if key not in machine} for line in lines]


def test_help_is_quick_and_names_the_options(tmp_path: Path) -> None:
    with assert_takes_less_than(0.6):
        printed = execute(tmp_path, "train_tabstar", "--help").stdout
    for option in ("KEY=VALUE", "--config-dir", "--resume", "--check", "--print-config", "--multirun", "--list"):
        assert option in printed


def test_train_then_evaluate_the_best_checkpoint(tmp_path: Path, corpus: Path) -> None:
    done = fork(tmp_path, "train_tabstar", *tiny(corpus, "experiment_config.plot_metrics_n_epoch=1"))
    assert done.returncode == 0, done.stderr
    record = json.loads((tmp_path / RUN / "run.json").read_text())
    stage = record["stages"]["pretrain"]
    assert (record["status"], stage["status"]) == ("finished", "finished")
    assert (tmp_path / RUN / "report.md").exists()
    figures = {path.name for path in (tmp_path / "runs/results/tiny/run").iterdir()}
    assert {"scores.png", "score_heat_map.png", "losses.png", "calibration", "predicted_vs_true"} <= figures

    again = tiny(corpus, f"model_config.load_checkpoint={stage['best_checkpoint']}", "experiment_config.run_name=test")
    done = fork(tmp_path, "train_tabstar", *again)
    assert done.returncode == 0, done.stderr
    tested = json.loads((tmp_path / "runs/logs/tiny/test/run.json").read_text())["stages"]["pretrain"]["test"]
    assert tested["test_score"] == pytest.approx(stage["best_score"], abs=1e-6)


def test_continue_training_goes_on_under_the_edited_configuration(tmp_path: Path, corpus: Path) -> None:
    first = fork(tmp_path, "train_tabstar", *tiny(corpus, "model_config.training_config.max_epochs=1"))
    assert first.returncode == 0, first.stderr
    again = tiny(
        corpus, "experiment_config.run_name=null", "model_config.training_config.max_epochs=2",
        "model_config.load_checkpoint=run_last.ckpt", "model_config.continue_training=true",
    )  # fmt: skip
    done = fork(tmp_path, "train_tabstar", *again)
    assert done.returncode == 0, done.stderr
    assert [path.parent.name for path in tmp_path.glob("runs/logs/tiny/*/run.json")] == ["run"]
    assert json.loads((tmp_path / RUN / "run.json").read_text())["stages"]["pretrain"]["epochs"] == 2


def test_check_writes_nothing(tmp_path: Path) -> None:
    done = fork(tmp_path, "train_tabstar", "--check", "model_config=tabstar/tiny")
    assert done.returncode == 0, done.stderr
    assert "gradient norm" in done.stdout
    assert list(tmp_path.rglob("*")) == []


def test_print_config_can_be_read_again(tmp_path: Path) -> None:
    printed = fork(tmp_path, "train_tabstar", "--print-config", *TINY).stdout
    assert yaml.safe_load(printed)["experiment_config"]["run_name"] == "run"


def test_mistakes_are_all_located_at_once(tmp_path: Path) -> None:
    done = fork(
        tmp_path, "train_tabstar", "model_config.training_config.max_epoch=3", "experiment_config.seed=one",
        "model_config.training_config.optimizer.optimizer_name=AdamV",
    )  # fmt: skip
    assert done.returncode == 2
    assert "Did you mean 'max_epochs'" in done.stderr
    assert "experiment_config.seed=one" in done.stderr
    assert "Traceback" not in done.stderr


def test_names_the_schema_leaves_free_are_located_too(tmp_path: Path) -> None:
    done = fork(
        tmp_path, "train_tabstar", *TINY,
        "model_config.training_config.optimizer.optimizer_name=AdamV",
        "model_config.training_config.loss=multitsk",
    )  # fmt: skip
    assert done.returncode == 2
    assert "Did you mean 'Adam'?" in done.stderr
    assert "'multitask'" in done.stderr


@pytest.mark.parametrize("kind", ["models", "losses", "optimizers", "schedulers"])
def test_list(tmp_path: Path, kind: str) -> None:
    done = fork(tmp_path, "train_tabstar", "--list", kind)
    expected = {"models": "TabSTAR", "losses": "multitask", "optimizers": "AdamW", "schedulers": "CosineWarmup"}
    assert done.returncode == 0, done.stderr
    assert expected[kind] in done.stdout


def test_multirun_trains_every_combination(tmp_path: Path, corpus: Path) -> None:
    done = fork(
        tmp_path, "train_tabstar", "--multirun",
        *tiny(corpus, "model_config.training_config.max_epochs=1", "experiment_config.seed=1,2"),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    seeds = [json.loads(path.read_text())["seed"] for path in sorted(tmp_path.glob("runs/logs/tiny/run-*/run.json"))]
    assert seeds == [1, 2]


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory, corpus: Path) -> Path:
    """Return the folder of a run that was never stopped."""
    folder = tmp_path_factory.mktemp("unbroken")
    done = fork(folder, "train_tabstar", *tiny(corpus, "model_config.training_config.max_epochs=12"))
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGKILL])
def test_stopped_and_resumed_equals_unbroken(
    tmp_path: Path, corpus: Path, unbroken: Path, signum: signal.Signals
) -> None:
    settings = tiny(
        corpus, "model_config.training_config.max_epochs=12", "model_config.training_config.save_every_n_steps=4"
    )
    process = start(tmp_path, "train_tabstar", *settings)
    wait_for(tmp_path / RUN / "metrics.jsonl", process, '"epoch": 2')
    process.send_signal(signum)
    output, _ = process.communicate(timeout=120)
    saves_itself = signum != signal.SIGKILL
    assert process.returncode == (128 + signum if saves_itself else -signum), output
    assert not saves_itself or "--resume goes on" in output

    done = fork(tmp_path, "train_tabstar", "--resume", *settings)
    assert done.returncode == 0, done.stderr
    ours, theirs = last_weights(tmp_path), last_weights(unbroken)
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert logged(tmp_path) == logged(unbroken)
    record = json.loads((tmp_path / RUN / "run.json").read_text())
    assert record["status"] == "finished"


def test_a_second_signal_exits_at_once(tmp_path: Path, corpus: Path) -> None:
    process = start(tmp_path, "train_tabstar", *tiny(corpus, "model_config.training_config.max_epochs=500"))
    wait_for(tmp_path / RUN / "metrics.jsonl", process, '"epoch": 1')
    process.send_signal(signal.SIGSTOP)  # both signals arrive before the step can end
    process.send_signal(signal.SIGTERM)
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGCONT)
    assert process.wait(timeout=60) in (130, 143)


def test_a_run_directory_that_cannot_be_written(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.touch()
    done = fork(tmp_path, "train_tabstar", *TINY, f"experiment_config.save_dir={blocked}/logs")
    assert done.returncode == 2
    assert "Cannot write to" in done.stderr
    assert "experiment_config.save_dir" in done.stderr


def test_two_processes_cannot_write_one_run(tmp_path: Path, corpus: Path) -> None:
    settings = tiny(corpus, "model_config.training_config.max_epochs=500")
    first = start(tmp_path, "train_tabstar", *settings)
    try:
        wait_for(tmp_path / RUN / "metrics.jsonl", first, '"epoch": 0')
        second = fork(tmp_path, "train_tabstar", "--resume", *settings)
        assert second.returncode == 2
        assert "Another process is writing" in second.stderr
    finally:
        first.kill()
        first.wait()


def test_an_unreachable_hub_says_how_to_work_offline(tmp_path: Path) -> None:
    done = fork(
        tmp_path, "train_tabstar", *TINY,
        "model_config.architecture_config.text_encoder.name=nobody/no-such-model",
    )  # fmt: skip
    assert done.returncode == 2
    assert "To work offline" in done.stderr


@pytest.mark.parametrize("content", [b"not a checkpoint", b""])
def test_a_checkpoint_that_is_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "wrong.ckpt").write_bytes(content)
    done = fork(tmp_path, "train_tabstar", *TINY, "model_config.load_checkpoint=wrong.ckpt")
    assert done.returncode == 2, done.stderr
    assert "wrong.ckpt" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_missing_checkpoint_is_never_from_scratch(tmp_path: Path) -> None:
    done = fork(tmp_path, "train_tabstar", *TINY, "model_config.load_checkpoint=nowhere.ckpt")
    assert done.returncode == 2
    assert not (tmp_path / RUN).exists()
    assert os.listdir(tmp_path) == []


EVERYTHING_WRONG = {
    "experiment_config.devices=[]": "expected a number of devices",
    "experiment_config.strategy=dpp": "no strategy 'dpp'. Did you mean 'ddp'",
    "model_config.training_config.max_epoch=3": "unknown key 'max_epoch'",
    "model_config.training_config.optimizer=AdmW": "unknown optimizer 'AdmW'. Did you mean 'AdamW'",
    "model_config.training_config.scheduler={scheduler_name: OneCycelLR}": "Did you mean 'OneCycleLR'",
    "model_config.training_config.loss=no_such_loss": "no_such_loss",
}


def test_everything_wrong_is_said_at_once_names_included(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(train_command("signal"), ["--check", *EVERYTHING_WRONG])
    assert result.exit_code == 2
    first, *lines = result.stderr.splitlines()
    assert first == f"error: {len(EVERYTHING_WRONG)} problems in the configuration:"
    for override, message in EVERYTHING_WRONG.items():
        (line,) = [line for line in lines if line.startswith(f"command line: '{override}'")]
        assert message in line
    assert list(tmp_path.iterdir()) == []


def test_a_name_alone_chooses_and_replaces_what_the_file_chose() -> None:
    training = "model_config.training_config"
    words = [f"{training}.scheduler=ExponentialLR", f"{training}.scheduler.scheduler_params.gamma=0.5"]
    printed = CliRunner().invoke(train_command("signal"), ["--print-config", *words]).stdout
    scheduler = yaml.safe_load(printed)["model_config"]["training_config"]["scheduler"]
    assert (scheduler["scheduler_name"], scheduler["scheduler_params"]) == ("ExponentialLR", {"gamma": 0.5})
