"""A run in MLflow: one run a stage under one parent, the same run after a resume, figures among its artifacts."""

from __future__ import annotations

import json
from getpass import getuser
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run
from toy_bench import Bench

from tabstar_lit.engine.runs.files import RunFiles
from tabstar_lit.errors import RunInterrupted

TRACKED = "experiment_config.tracker=mlflow"


def runs_of(bench: Bench) -> list[Run]:
    client = MlflowClient(bench.load_run().mlflow_uri)
    return list(client.search_runs([e.experiment_id for e in client.search_experiments()]))


def test_interrupted_and_resumed_is_one_run(bench: Bench) -> None:
    best_two = "model_config.training_config.save_top_k=2"
    settings = (TRACKED, "experiment_config.plot_metrics_n_epoch=1", best_two)
    with pytest.raises(RunInterrupted, match="SIGTERM"):
        bench.train(*settings, "model_config.architecture_config.signal_step=30")
    (before,) = runs_of(bench)
    assert before.info.status == "KILLED"
    bench.train(*settings, resume=True)
    (run,) = runs_of(bench)
    assert (run.info.run_id, run.info.status) == (before.info.run_id, "FINISHED")
    client = MlflowClient(bench.load_run().mlflow_uri)
    history = client.get_metric_history(run.info.run_id, "val_loss")
    assert sorted({point.step for point in history}) == [24, 48, 72]
    figures = {file.path for file in client.list_artifacts(run.info.run_id, "figures")}
    assert figures >= {"figures/history.png", "figures/scatter_left"}
    assert "config.yaml" in {file.path for file in client.list_artifacts(run.info.run_id)}
    assert_origin_is_known(run)
    assert_kept_checkpoints_are_models(bench, client, run)
    tags = client.get_experiment(run.info.experiment_id).tags
    columns = json.loads(tags["mlflow.sharedViewState.tabstar_lit"])["selectedColumns"]
    assert columns == ["attributes.`Dataset`", "metrics.`val_loss`"]


def assert_origin_is_known(run: Run) -> None:
    tags = run.data.tags
    assert (tags["mlflow.user"], tags["mlflow.source.name"]) == (getuser(), "train_toy")
    assert tags["tabstar_lit.device"] == "1 x cpu"
    (data,) = run.inputs.dataset_inputs
    assert (data.dataset.name, data.dataset.digest) == ("toy", "toy-96")
    assert json.loads(data.dataset.source)["rows"] == 96


def assert_kept_checkpoints_are_models(bench: Bench, client: MlflowClient, run: Run) -> None:
    """The best two of three epochs, written before and after the interruption, none twice; their files are linked."""
    models = client.search_logged_models([run.info.experiment_id])
    kept = [entry["path"] for entry in RunFiles(bench.load_run().root).checkpoints if entry["kind"] == "top"][-2:]
    folder = bench.load_run().checkpoints
    assert {Path(model.tags["tabstar_lit.checkpoint"]) for model in models} == {folder / name for name in kept}
    assert all(path.is_file() for path in (folder / name for name in kept))
    for model in models:
        assert model.source_run_id == run.info.run_id
        assert model.status == "READY"
        (loss,) = [metric for metric in model.metrics if metric.key == "val_loss"]
        assert f"val_loss={loss.value:.4f}" in model.tags["tabstar_lit.checkpoint"]
        assert not Path(model.artifact_location.removeprefix("file://")).exists()


def test_stages_are_children_of_one_run(bench: Bench) -> None:
    bench.train(TRACKED, "stages=[first, second]", "model_config.training_config.max_epochs=1")
    runs = runs_of(bench)
    record = bench.load_run().record()
    (parent,) = [run for run in runs if "mlflow.parentRunId" not in run.data.tags]
    assert parent.info.run_id == record["mlflow_run_id"]
    children = {run.info.run_id: run.data.tags["mlflow.parentRunId"] for run in runs if run is not parent}
    assert set(children.values()) == {parent.info.run_id}
    assert set(children) == {stage["mlflow_run_id"] for stage in record["stages"].values()}
    assert {run.info.status for run in runs} == {"FINISHED"}
