from __future__ import annotations

import warnings
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tabstar_lit.config.schema import Experiment
from tabstar_lit.engine.runs.directory import RunDirectory
from tabstar_lit.engine.runs.records import read_records
from tabstar_lit.engine.tracking.comet import CometLogger
from tabstar_lit.engine.tracking.jsonl import JsonlLogger
from tabstar_lit.engine.tracking.loggers import (
    build_loggers,
    check_tracker,
    chosen_tracker,
    finish_loggers,
    start_parent,
    tracking_run_id,
)
from tabstar_lit.engine.tracking.mlflow import MlflowLogger, import_client

CANARY = "sk-test-CANARY-0123456789"


def experiment(**settings: Any) -> Experiment:
    return Experiment.model_validate(
        {
            "experiment_config": {"experiment_name": "physics", "seed": 1, **settings},
            "dataset_config": {"name": "toy"},
            "model_config": {"name": "mlp", "architecture_config": {}, "training_config": {}},
        }
    )


@pytest.fixture(scope="session")
def mlruns(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One store for all tests here; making one takes seconds."""
    return tmp_path_factory.mktemp("mlruns")


@pytest.fixture
def run(tmp_path: Path, mlruns: Path) -> RunDirectory:
    directory = RunDirectory(
        root=tmp_path / "logs" / "physics" / "first",
        figures=tmp_path / "figures",
        checkpoints=tmp_path / "models",
        mlruns=mlruns,
    )
    directory.create()
    directory.write("config.yaml", "seed: 1\n")
    return directory


def everything_below(folder: Path) -> bytes:
    parts = [path.read_bytes() for path in folder.rglob("*") if path.is_file()]
    for archive in folder.rglob("*.zip"):
        with zipfile.ZipFile(archive) as opened:
            parts += [opened.read(name) for name in opened.namelist()]
    return b"".join(parts)


def test_mlflow_is_the_default_beside_the_local_file(run: RunDirectory) -> None:
    loggers = build_loggers(experiment(), run, stage="pretrain")
    assert [type(logger) for logger in loggers] == [JsonlLogger, MlflowLogger]
    for logger in loggers:
        logger.log_metrics({"loss": 0.5, "epoch": 0}, step=1)
    finish_loggers(loggers, "finished")
    [line] = read_records(run.root / "metrics.jsonl")
    assert (line["stage"], line["step"], line["loss"]) == ("pretrain", 1, 0.5)
    stored = import_client()(run.mlflow_uri).get_run(tracking_run_id(loggers))
    assert stored.info.run_name == "first"
    assert stored.data.metrics["loss"] == 0.5
    assert stored.data.params["experiment_config.seed"] == "1"
    assert stored.data.params["model_config.name"] == "mlp"
    assert stored.data.tags["tabstar_lit.stage"] == "pretrain"
    artifacts = run.mlruns / "artifacts" / stored.info.run_id / "artifacts"
    assert (artifacts / "config.yaml").read_text() == "seed: 1\n"


def test_stages_stand_under_one_run(run: RunDirectory) -> None:
    run = replace(run, several_stages=True)
    parent = start_parent(experiment(), run)
    assert parent is not None
    loggers = build_loggers(experiment(), run, stage="finetune", parent_run_id=parent.run_id)
    finish_loggers([*loggers, parent], "interrupted")
    client = import_client()(run.mlflow_uri)
    child = client.get_run(tracking_run_id(loggers))
    assert child.data.tags["mlflow.parentRunId"] == parent.run_id
    assert child.info.run_name == "first/finetune"
    assert [client.get_run(run_id).info.status for run_id in (child.info.run_id, parent.run_id)] == ["KILLED"] * 2


def test_a_resumed_stage_has_no_gap_and_no_repeat_in_either(run: RunDirectory) -> None:
    first = build_loggers(experiment(), run, stage="pretrain")
    for step in range(1, 8):
        for logger in first:
            logger.log_metrics({"loss": float(step)}, step=step)
    finish_loggers(first, "interrupted")
    run_id = tracking_run_id(first)
    second = build_loggers(experiment(), run, stage="pretrain", resume_run_id=run_id, resume_step=5)
    for step in range(5, 11):
        for logger in second:
            logger.log_metrics({"loss": float(step)}, step=step)
    finish_loggers(second, "finished")
    expected = [(step, float(step)) for step in range(1, 11)]
    assert [(line["step"], line["loss"]) for line in read_records(run.root / "metrics.jsonl")] == expected
    history = import_client()(run.mlflow_uri).get_metric_history(run_id, "loss")
    assert [(metric.step, metric.value) for metric in history] == expected
    assert tracking_run_id(second) == run_id


def test_a_key_chooses_comet_and_is_written_nowhere(
    run: RunDirectory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COMET_START_ONLINE", "0")
    keyed = experiment(comet_api_key=CANARY, comet_project_name="physics")
    loggers = build_loggers(keyed, run, stage="pretrain")
    assert [type(logger) for logger in loggers] == [JsonlLogger, CometLogger]
    assert start_parent(keyed, run) is None
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for logger in loggers:
            logger.log_metrics({"val_loss": 0.0625}, step=3)
        finish_loggers(loggers, "finished")
    written = everything_below(tmp_path)
    assert b"0.0625" in written
    assert (run.root / "comet" / f"{tracking_run_id(loggers)}.zip").exists()
    assert CANARY.encode() not in written


def test_mlflow_never_sees_the_key(run: RunDirectory, mlruns: Path) -> None:
    logger = build_loggers(experiment(), run, stage="pretrain")[1]
    assert isinstance(logger, MlflowLogger)
    keyed = experiment(comet_api_key=CANARY)
    logger.log_hyperparams({"config": str(keyed), "key": keyed.experiment_config.comet_api_key})
    finish_loggers([logger], "finished")
    assert CANARY.encode() not in everything_below(mlruns)


@pytest.mark.parametrize(
    ("tracker", "key", "chosen"),
    [
        ("auto", None, "mlflow"),
        ("auto", "", "mlflow"),
        ("auto", CANARY, "comet"),
        ("mlflow", CANARY, "mlflow"),
        ("comet", CANARY, "comet"),
        ("none", CANARY, "none"),
    ],
)
def test_a_key_decides_only_where_nothing_is_chosen(tracker: str, key: str | None, chosen: str) -> None:
    configured = experiment(tracker=tracker, comet_api_key=key)
    assert chosen_tracker(configured) == chosen
    assert list(check_tracker(configured)) == []


def test_comet_without_a_key_is_refused_unless_it_stays_here(monkeypatch: pytest.MonkeyPatch) -> None:
    keyless = experiment(tracker="comet")
    (problem,) = check_tracker(keyless)
    assert problem.path == ("experiment_config", "tracker")
    assert "COMET_API_KEY" in problem.message
    monkeypatch.setenv("COMET_START_ONLINE", "0")
    assert list(check_tracker(keyless)) == []


def test_without_a_tracker_there_is_the_local_file_alone(run: RunDirectory) -> None:
    untracked = experiment(tracker="none", comet_api_key=CANARY)
    loggers = build_loggers(untracked, run, stage="pretrain")
    assert [type(logger) for logger in loggers] == [JsonlLogger]
    assert start_parent(untracked, run) is None
    assert tracking_run_id(loggers) is None
    loggers[0].log_metrics({"loss": 0.5, "epoch": 0}, step=1)
    finish_loggers(loggers, "finished")
    assert [line["loss"] for line in read_records(run.root / "metrics.jsonl")] == [0.5]
