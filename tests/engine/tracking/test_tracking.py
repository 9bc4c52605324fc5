"""A run in MLflow: one run a stage under one parent, the same run after a resume, figures among its artifacts."""

from __future__ import annotations

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run
from toy_bench import Bench

from tabstar_lit.errors import RunInterrupted

TRACKED = "experiment_config.tracker=mlflow"


def runs_of(bench: Bench) -> list[Run]:
    client = MlflowClient(bench.load_run().mlflow_uri)
    return list(client.search_runs([e.experiment_id for e in client.search_experiments()]))


def test_interrupted_and_resumed_is_one_run(bench: Bench) -> None:
    settings = (TRACKED, "experiment_config.plot_metrics_n_epoch=1")
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
