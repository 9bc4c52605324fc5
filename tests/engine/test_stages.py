"""Stages hand weights on: load_modules, freeze, unfreeze_last, and the order in run.json."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from toy import ToyModule
from toy_bench import Bench, load_checkpoint, metrics

from tabstar_lit.config import ConfigTree
from tabstar_lit.engine import stages
from tabstar_lit.engine.preflight import trial
from tabstar_lit.engine.runs.files import is_evaluation
from tabstar_lit.engine.runs.signals import heed
from tabstar_lit.errors import CheckpointError, ConfigError, RunInterrupted

TWO_STAGES = (
    "stages=[first, second]",
    "stage_config={second: {model_config: {load_modules: {body: first}, freeze: [body]}}}",
    "model_config.training_config.max_epochs=2",
)


def state_of(bench: Bench, stage: str) -> dict[str, torch.Tensor]:
    best = bench.load_run().record()["stages"][stage]["best_checkpoint"]
    state: dict[str, torch.Tensor] = load_checkpoint(bench.folder / "models/toys/toy" / best)["state_dict"]
    return state


def test_the_second_stage_starts_from_the_best_of_the_first(bench: Bench) -> None:
    run = bench.train(*TWO_STAGES)
    first, second = state_of(bench, "first"), state_of(bench, "second")
    frozen = [name for name in first if name.startswith("network.body")]
    assert frozen
    assert all(torch.equal(first[name], second[name]) for name in frozen)
    assert not torch.equal(first["network.head.weight"], second["network.head.weight"])
    assert [line["stage"] for line in metrics(run) if "val_loss" in line] == ["first", "first", "second", "second"]
    assert {path.name for path in (bench.folder / "models/toys/toy").iterdir()} == {"first", "second"}


def test_resume_goes_on_inside_the_stage_that_was_stopped(bench: Bench, make_bench: Callable[[str], Bench]) -> None:
    unbroken = make_bench("unbroken")
    unbroken.train(*TWO_STAGES)
    stop = "stage_config.second.model_config.architecture_config={signal_step: 30}"
    with pytest.raises(RunInterrupted, match="SIGTERM"):
        bench.train(*TWO_STAGES, stop)
    stages = bench.load_run().record()["stages"]
    assert (stages["first"]["status"], stages["second"]["status"]) == ("finished", "interrupted")
    trained = len(bench.family.modules)
    bench.train(*TWO_STAGES, resume=True)
    assert len(bench.family.modules) == trained + 1, "the finished stage was built again"
    ours, theirs = state_of(bench, "second"), state_of(unbroken, "second")
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_one_stage_later_from_the_same_run(bench: Bench) -> None:
    bench.train(*TWO_STAGES, "stages=[first]")
    first = state_of(bench, "first")
    bench.train(*TWO_STAGES, "stages=[second]")
    assert torch.equal(state_of(bench, "second")["network.body.0.weight"], first["network.body.0.weight"])


def test_a_stage_that_has_not_finished_cannot_be_built_on(bench: Bench) -> None:
    with pytest.raises(RunInterrupted, match="SIGTERM"):
        bench.train(*TWO_STAGES, "stages=[first]", "model_config.architecture_config.signal_step=3")
    with pytest.raises(CheckpointError, match="'first' of this run has not finished"):
        bench.train(*TWO_STAGES, "stages=[second]")


def test_modules_from_a_file_with_another_name_inside(bench: Bench, tmp_path: Path) -> None:
    bench.train("model_config.training_config.max_epochs=1")
    path = bench.folder / "models/toys/toy/toy_last.ckpt"
    head = load_checkpoint(path)["state_dict"]["network.head.weight"]
    settings = (
        "experiment_config.run_name=next",
        "model_config.training_config.max_epochs=1",
        f"model_config.load_modules={{head: {{source: {path}, module: head}}}}",
        "model_config.freeze=[head.weight]",
    )
    bench.train(*settings)
    assert torch.equal(bench.module.network.head.weight, head)


def test_frozen_modules_stay_deterministic(bench: Bench) -> None:
    bench.train("model_config.freeze=['body.*']", "model_config.training_config.max_epochs=1")
    bench.module.train()
    assert not bench.module.network.body.training
    assert bench.module.network.dropout.training


def test_a_pattern_that_freezes_nothing_is_a_mistake(bench: Bench) -> None:
    with pytest.raises(ConfigError, match="bodi"):
        bench.train("model_config.freeze=['bodi.*']")


def test_trial_builds_every_stage_and_leaves_nothing(bench: Bench) -> None:
    said: list[str] = []
    before = sorted(bench.folder.rglob("*"))
    trial(bench.family, bench.load(*TWO_STAGES), said.append)
    assert sorted(bench.folder.rglob("*")) == before
    assert [line.split(":")[0] for line in said if "gradient norm" in line] == ["first", "second"]


def test_trial_takes_modules_from_where_the_run_would_and_from_nowhere_else(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.train("model_config.training_config.max_epochs=1")
    scratch = tmp_path / "scratch"
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    (scratch / "elsewhere").mkdir(parents=True)
    shutil.copyfile(bench.folder / "models/toys/toy/toy_last.ckpt", scratch / "elsewhere/toy_last.ckpt")
    said: list[str] = []
    trial(bench.family, bench.load("model_config.load_modules={body: toy_last.ckpt}"), said.append)
    assert any("gradient norm" in line for line in said)
    shutil.rmtree(bench.folder / "models")
    with pytest.raises(CheckpointError, match=r"toy_last\.ckpt"):
        trial(bench.family, bench.load("model_config.load_modules={body: toy_last.ckpt}"), said.append)


def test_trial_loads_the_checkpoint_that_would_be_evaluated(bench: Bench) -> None:
    bench.train("model_config.training_config.max_epochs=1")
    said: list[str] = []
    trial(bench.family, bench.load("model_config.load_checkpoint=toy_last.ckpt"), said.append)
    assert any(re.search(r"Loaded \d+ tensors of .*toy_last\.ckpt", line) for line in said)
    with pytest.raises(CheckpointError, match="nowhere"):
        trial(bench.family, bench.load("model_config.load_checkpoint=nowhere"), said.append)
    with pytest.raises(CheckpointError, match="do not fit"):
        trial(
            bench.family,
            bench.load("model_config.load_checkpoint=toy_last", "model_config.architecture_config.hidden=5"),
            said.append,
        )


def test_run_json_records_how_the_run_can_be_made_again(bench: Bench) -> None:
    run = bench.train("model_config.training_config.max_epochs=1")
    record = json.loads((run.root / "run.json").read_text())
    assert record["seed"] == 7
    assert record["versions"]["torch"] == torch.__version__
    assert record["stages"]["train"]["data_fingerprint"] == "toy-96"
    again = bench.load(primary=run.root / "config.yaml")
    assert isinstance(again.tree, ConfigTree)
    assert again.experiment == bench.load("model_config.training_config.max_epochs=1").experiment


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (("model_config.training_config.monitor=val_eror",), r"no metric is called 'val_eror'.*'val_error'"),
        (
            ("model_config.training_config.monitor=val_error", "experiment_config.check_metrics_n_epoch=null"),
            "Metrics are switched off",
        ),
        (
            ("model_config.training_config.scheduler={scheduler_name: StepLR, monitor: v}",),
            "no metric is called 'v'",
        ),
    ],
)
def test_a_metric_nobody_computes_is_refused_before_training(
    bench: Bench, settings: tuple[str, ...], message: str
) -> None:
    with pytest.raises(ConfigError, match=f"(?s){message}"):
        bench.train(*settings)
    assert not list((bench.folder / "models").rglob("*.ckpt"))


def test_a_checkpoint_of_other_data_is_refused_before_its_weights_are_looked_at(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = bench.train("model_config.training_config.max_epochs=1")
    last = run.checkpoints / "toy_last.ckpt"
    asked: list[str] = []

    def refuse(self: ToyModule, payload: dict[str, object]) -> None:
        asked.append(str(payload["family"]))
        raise CheckpointError("its rows mean something else")

    monkeypatch.setattr(ToyModule, "accept", refuse)
    wider = "model_config.architecture_config.hidden=16"
    with pytest.raises(CheckpointError, match="its rows mean something else"):
        bench.evaluate(last, wider)
    with pytest.raises(CheckpointError, match="its rows mean something else"):
        bench.train("model_config.training_config.max_epochs=2", wider, resume=True)
    assert asked == ["toy", "toy"]


def test_the_best_weights_are_tested_after_the_training(bench: Bench) -> None:
    plain = bench.train("experiment_config.run_name=plain").stage("train")
    run = bench.train("experiment_config.test_after_fit=true", "experiment_config.plot_metrics_n_epoch=1")
    stage = run.stage("train")
    assert {key: stage[key] for key in ("best_score", "epochs", "steps", "status")} == {
        key: plain[key] for key in ("best_score", "epochs", "steps", "status")
    }
    assert stage["test"]["test_loss"] == pytest.approx(stage["best_score"], rel=1e-6), "the toy tests validation rows"
    assert stage["test_side"] == "val"
    [tested] = [line for line in metrics(run) if "test_loss" in line]
    assert tested["epoch"] == stage["best_epoch"], "the epoch of the weights"
    assert "The data has no test side" in (run.root / "log.txt").read_text()
    assert "test" not in plain
    assert stage["figures"][0] == "history"
    assert list(run.figures.glob("scatter_*/test.png"))
    assert "| `test_loss` |" in (run.root / "report.md").read_text()
    assert not is_evaluation(run.record())


def test_a_run_stopped_in_its_test_tests_again(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(trainer: object, parts: object) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        heed()

    with monkeypatch.context() as patched:
        patched.setattr(stages, "tested", stopped)
        with pytest.raises(RunInterrupted, match="SIGTERM"):
            bench.train("experiment_config.test_after_fit=true")
    assert "test" not in bench.load_run().stage("train")
    begun = bench.load_run().record()
    last = bench.load_run().checkpoints / "toy_last.ckpt"
    run = bench.train("experiment_config.test_after_fit=true", resume=True, checkpoint=last)
    assert run.stage("train")["test"]
    assert run.stage("train")["best_score"] == run.stage("train")["test"]["test_loss"]
    assert begun["created"] == run.record()["created"]
