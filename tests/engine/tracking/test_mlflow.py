from __future__ import annotations

import math
import multiprocessing
import shutil
import sqlite3
import time
from pathlib import Path

import pytest

from tabstar_lit.engine.tracking.jsonl import JsonlLogger
from tabstar_lit.engine.tracking.mlflow import MlflowLogger, import_client, store_lock


def tracking_uri(directory: Path) -> str:
    return f"sqlite:///{directory / 'mlruns' / 'mlflow.db'}"


def make(directory: Path, **changes: object) -> MlflowLogger:
    options = {
        "uri": tracking_uri(directory),
        "artifacts": (directory / "mlruns" / "artifacts").as_uri(),
        "experiment_name": "physics",
        "run_name": "first",
        "interval": 600.0,
    }
    logger = MlflowLogger(**(options | changes))  # type: ignore[arg-type]  # mixed keyword values
    logger.start()
    return logger


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store that MLflow has made once; making one takes seconds."""
    directory = tmp_path_factory.mktemp("store")
    make(directory, experiment_name="other").finalize("success")
    return directory / "mlruns" / "mlflow.db"


@pytest.fixture
def store(empty_store: Path, tmp_path: Path) -> Path:
    (tmp_path / "mlruns").mkdir()
    shutil.copy(empty_store, tmp_path / "mlruns" / "mlflow.db")
    return tmp_path


def history(directory: Path, run_id: str | None, name: str) -> list[tuple[int, float]]:
    assert run_id is not None
    client = import_client()(tracking_uri(directory))
    return [(metric.step, metric.value) for metric in client.get_metric_history(run_id, name)]


def test_metrics_params_config_and_figures_arrive(store: Path) -> None:
    logger = make(store)
    logger.log_hyperparams({"model": {"layers": 3}, "groups": [{"lr": 0.1}], "text": "x" * 10_000, "a[b]": 1})
    (store / "config.yaml").write_text("seed: 1\n")
    figure = store / "figures" / "roc.png"
    figure.parent.mkdir()
    figure.write_bytes(b"png")
    logger.log_file(store / "config.yaml", "config.yaml")
    logger.log_figure(figure, "table/roc.png")
    for step in range(5):
        logger.log_metrics({"loss": step / 3, "val_auc/a (b)": 0.5, "nan": math.nan}, step=step)
    logger.finalize("success")

    client = import_client()(tracking_uri(store))
    run = client.get_run(logger.run_id)
    assert history(store, logger.run_id, "loss") == [(step, step / 3) for step in range(5)]
    assert history(store, logger.run_id, "val_auc/a _b_") == [(step, 0.5) for step in range(5)]
    assert all(math.isnan(value) for _, value in history(store, logger.run_id, "nan"))
    assert run.data.params["model.layers"] == "3"
    assert run.data.params["groups.0.lr"] == "0.1"
    assert run.data.params["a_b_"] == "1"
    assert run.data.params["text"].endswith("(10000 characters)")
    assert run.info.status == "FINISHED"
    assert run.info.run_name == "first"
    artifacts = store / "mlruns" / "artifacts" / run.info.run_id / "artifacts"
    assert (artifacts / "config.yaml").read_text() == "seed: 1\n"
    assert (artifacts / "figures" / "table" / "roc.png").read_bytes() == b"png"


def test_only_new_or_changed_figures_are_uploaded(store: Path) -> None:
    logger = make(store)
    sent: list[object] = []
    logger.writer.send = sent.extend  # type: ignore[assignment]  # a list's extend in place of the store
    figure = store / "roc.png"
    figure.write_bytes(b"one")
    logger.log_figure(figure, "roc.png")
    logger.log_figure(figure, "roc.png")
    figure.write_bytes(b"second")
    logger.log_figure(figure, "roc.png")
    logger.writer.close()
    assert len(sent) == 2


@pytest.mark.parametrize(
    ("status", "expected"), [("finished", "FINISHED"), ("failed", "FAILED"), ("interrupted", "KILLED")]
)
def test_the_last_status_counts(store: Path, status: str, expected: str) -> None:
    logger = make(store)
    client = import_client()(tracking_uri(store))
    assert client.get_run(logger.run_id).info.status == "RUNNING"
    logger.finalize("failed")
    logger.finish(status)
    assert client.get_run(logger.run_id).info.status == expected


def test_a_resumed_run_keeps_its_id_and_repeats_nothing(store: Path) -> None:
    first = make(store)
    first.log_hyperparams({"seed": 1, "epochs": 2})
    for step in range(1, 7):
        first.log_metrics({"loss": float(step)}, step=step)
    first.finish("interrupted")

    second = make(store, run_id=first.run_id)
    client = import_client()(tracking_uri(store))
    assert second.run_id == first.run_id
    assert client.get_run(first.run_id).info.status == "RUNNING"
    second.log_hyperparams({"seed": 1, "epochs": 5, "new": 0})
    for step in range(4, 10):
        second.log_metrics({"loss": float(step)}, step=step)
    second.finish("finished")

    assert history(store, first.run_id, "loss") == [(step, float(step)) for step in range(1, 10)]
    data = client.get_run(first.run_id).data
    assert (data.params["epochs"], data.tags["resumed.epochs"], data.params["new"]) == ("2", "5", "0")
    assert "resumed.seed" not in data.tags


def test_a_resumed_run_gets_what_a_killed_process_had_not_sent(store: Path) -> None:
    local = JsonlLogger(store, stage="train")
    first = make(store)
    for step in range(1, 7):
        local.log_metrics({"loss": float(step), "val": math.nan}, step=step)
        first.log_metrics({"loss": float(step), "val": math.nan}, step=step)
        if step == 2:
            first.writer.flush()
    first.writer.waiting.clear()  # killed

    second = make(store, run_id=first.run_id)
    second.backfill(local.path, "train", 5)
    second.backfill(local.path, "another", 5)
    for step in range(5, 8):
        second.log_metrics({"loss": float(step), "val": math.nan}, step=step)
    second.finish("finished")
    assert history(store, first.run_id, "loss") == [(step, float(step)) for step in range(1, 8)]
    assert [step for step, _ in history(store, first.run_id, "val")] == list(range(1, 8))


def test_a_run_that_is_gone_is_logged_as_a_new_one(store: Path) -> None:
    with pytest.warns(UserWarning, match="no run 0123456789abcdef"):
        logger = make(store, run_id="0123456789abcdef0123456789abcdef")
    assert logger.run_id not in (None, "0123456789abcdef0123456789abcdef")
    logger.finish("finished")


def test_stages_are_children_of_the_run(store: Path) -> None:
    parent = make(store)
    child = make(store, run_name="first/pretrain", parent_run_id=parent.run_id, tags={"stage": "pretrain"})
    client = import_client()(tracking_uri(store))
    tags = client.get_run(child.run_id).data.tags
    assert tags["mlflow.parentRunId"] == parent.run_id
    assert tags["stage"] == "pretrain"
    child.finish("finished")
    parent.finish("finished")


def test_a_logging_step_costs_under_a_tenth_of_a_millisecond(store: Path) -> None:
    logger = make(store, interval=0.5)
    costs = []
    for step in range(3000):
        start = time.thread_time()
        logger.log_metrics({"train_loss_step": 0.1, "lr": 0.2, "epoch": 0.0}, step=step)
        costs.append(time.thread_time() - start)
    logger.finish("finished")
    assert len(history(store, logger.run_id, "lr")) == 3000
    assert sorted(costs)[len(costs) // 2] < 1e-4


def test_a_locked_store_loses_nothing(store: Path) -> None:
    logger = make(store)
    logger.log_metrics({"loss": 1.0}, step=1)
    logger.writer.flush()
    real = logger._client.log_batch  # type: ignore[union-attr]  # started above

    def locked(*args: object, **kwargs: object) -> None:
        raise sqlite3.OperationalError("database is locked")

    logger._client.log_batch = locked  # type: ignore[union-attr,method-assign]  # the injected failure
    logger.log_metrics({"loss": 2.0}, step=2)
    with pytest.warns(UserWarning, match=r"MLflow failed, training goes on.*metrics\.jsonl.*database is locked"):
        logger.writer.flush()
    logger._client.log_batch = real  # type: ignore[union-attr,method-assign]  # and its end
    logger.finish("finished")
    assert history(store, logger.run_id, "loss") == [(1, 1.0), (2, 2.0)]


def test_a_store_that_cannot_be_made_warns_and_tracks_nothing(tmp_path: Path) -> None:
    (tmp_path / "mlruns").write_text("a file where the folder should be")
    with pytest.warns(UserWarning, match="MLflow failed, training goes on without it"):
        logger = make(tmp_path)
    logger.log_metrics({"loss": 1.0}, step=1)
    with pytest.warns(UserWarning, match="did not get 1 last values"):
        logger.finalize("success")
    assert logger.run_id is None


def test_a_store_may_lie_in_folders_that_are_not_there_yet(tmp_path: Path) -> None:
    database = tmp_path / "a" / "b" / "mlflow.db"
    with store_lock(f"sqlite:///{database}"):
        assert database.parent.is_dir()


def test_system_metrics_are_logged_and_go_on_after_a_resume(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL", "0.1")
    first = make(store, system_metrics=True)
    time.sleep(1.0)
    first.finish("interrupted")
    name = "system/cpu_utilization_percentage"
    steps = [step for step, _ in history(store, first.run_id, name)]
    second = make(store, system_metrics=True, run_id=first.run_id)
    time.sleep(1.0)
    second.finish("finished")
    resumed = [step for step, _ in history(store, first.run_id, name)]
    assert len(resumed) > len(steps) > 0
    assert resumed == list(range(len(resumed)))


def _write_a_run(directory: Path, name: str) -> None:
    logger = make(directory, run_name=name)
    for step in range(20):
        logger.log_metrics({"loss": float(step)}, step=step)
        logger.writer.flush()
    logger.finish("finished")
    if logger.guard.failure is not None:
        raise SystemExit(logger.guard.failure)


def test_four_processes_at_once_on_a_fresh_store(tmp_path: Path) -> None:
    import_client()  # before the fork, or each process would spend its time on this
    fork = multiprocessing.get_context("fork")
    processes = [fork.Process(target=_write_a_run, args=(tmp_path, f"run{i}")) for i in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(timeout=120)
    assert [process.exitcode for process in processes] == [0, 0, 0, 0]
    client = import_client()(tracking_uri(tmp_path))
    [experiment] = client.search_experiments(filter_string="name = 'physics'")
    runs = client.search_runs([experiment.experiment_id])
    assert {run.info.run_name: run.info.status for run in runs} == {f"run{i}": "FINISHED" for i in range(4)}
    for run in runs:
        assert history(tmp_path, run.info.run_id, "loss") == [(step, float(step)) for step in range(20)]
