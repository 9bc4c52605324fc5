"""A study in MLflow: the runs of all trials stand under one, and a second call goes on in it."""

from __future__ import annotations

from pathlib import Path

from mlflow import MlflowClient
from tuning_bench import TuningBench


def test_trials_are_children_of_one_run(tmp_path: Path) -> None:
    bench = TuningBench(tmp_path)
    settings = (
        "stages=[first, second]",
        "model_config.training_config.max_epochs=1",
        "experiment_config.tracker=mlflow",
    )
    bench.tune(*settings, n_trials=1)
    summary = bench.tune(*settings, n_trials=2)
    client = MlflowClient(bench.plan().folder.mlflow_uri)
    runs = {
        run.info.run_name: run for run in client.search_runs([e.experiment_id for e in client.search_experiments()])
    }
    above = {
        name: next((o for o, r in runs.items() if r.info.run_id == run.data.tags.get("mlflow.parentRunId")), None)
        for name, run in runs.items()
    }
    trials = {f"study_trial_{number}": "study" for number in (0, 1)}
    stages = {f"{trial}/{stage}": trial for trial in trials for stage in ("first", "second")}
    assert above == {"study": None, **trials, **stages}
    assert {run.info.status for run in runs.values()} == {"FINISHED"}
    study = runs["study"]
    values = client.get_metric_history(study.info.run_id, "value")
    assert [(point.step, point.value) for point in values] == [(row.number, row.value) for row in summary.rows]
    assert study.data.metrics["best_value"] == min(row.value or 0.0 for row in summary.rows)
    files = {file.path for file in client.list_artifacts(study.info.run_id)}
    assert files == {"best.yaml", "history.png", "report.md"}
