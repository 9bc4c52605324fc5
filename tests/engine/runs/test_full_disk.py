"""A full disk ends a run with one message and a true record, or costs a snapshot and nothing else."""

from __future__ import annotations

import errno
import logging
import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from stopping import SHORT, STEPS, assert_same_end, status, typed
from toy import ToyModule
from toy_bench import Bench

from tabstar_lit.engine.family import AnyFamily
from tabstar_lit.engine.runs import opening
from tabstar_lit.engine.runs.directory import RunDirectory
from tabstar_lit.engine.runs.logs import logging_to
from tabstar_lit.engine.runs.records import read_run
from tabstar_lit.engine.weights.files import AtomicCheckpointIO
from tabstar_lit.errors import SaveError


@contextmanager
def full(folder: Path) -> Iterator[None]:
    """Let nothing new be written below ``folder``: neither further lines nor files that are flushed."""
    real = {"write": os.write, "fsync": os.fsync}

    def refusing(name: str, descriptor: int, *arguments: Any) -> Any:
        if Path(os.readlink(f"/proc/self/fd/{descriptor}")).is_relative_to(folder):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real[name](descriptor, *arguments)

    with (
        patch.object(os, "write", lambda *arguments: refusing("write", *arguments)),
        patch.object(os, "fsync", lambda *arguments: refusing("fsync", *arguments)),
    ):
        yield


@pytest.mark.parametrize("step", [1, STEPS + 1])
def test_a_full_disk_of_logs_ends_a_run_with_one_message(bench: Bench, make_bench: Any, step: int) -> None:
    settings = (*SHORT, "experiment_config.log_every_n_steps=1")
    compute = ToyModule.compute
    logs, context = bench.folder / "logs", None

    def filling(module: ToyModule, *arguments: Any) -> Any:
        nonlocal context
        if context is None and module.trainer.global_step == step:
            context = full(logs)
            context.__enter__()
        return compute(module, *arguments)

    with patch.object(ToyModule, "compute", filling):
        done = typed(bench, *settings)
    assert context is not None
    context.__exit__(None, None, None)
    assert done.exit_code == 1, done.output
    assert done.stderr.count("No space left on device") == 1
    assert "Traceback" not in done.output
    last = done.stderr.splitlines()[-1]
    assert last.startswith(f"error: {logs}/toys/toy/metrics.jsonl cannot be written (No space left on device)")
    assert "--resume goes on with the run" in last
    assert status(bench) == ("failed", {"train": "failed"})
    assert not list(logs.rglob(".*.part"))

    unbroken = make_bench("unbroken")
    unbroken.train(*settings)
    assert typed(bench, *settings, resume="latest").exit_code == 0
    assert_same_end(bench, unbroken)


def test_a_record_is_closed_in_its_place_where_there_is_no_room_beside_it(bench: Bench) -> None:
    run = bench.train(*SHORT)
    run.update(status="running")
    run.update_stage("train", status="running")
    before = run.record()
    with full(run.root):
        run.end("failed")
    after = read_run(run.root)
    assert (after["status"], after["stages"]["train"]["status"]) == ("failed", "failed")
    assert after["ended"] > before["ended"]
    assert {**after, "status": 0, "ended": 0, "stages": 0} == {**before, "status": 0, "ended": 0, "stages": 0}


def test_a_record_without_room_for_its_end_stays_as_it_was(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    run = bench.load_run()
    run.create()
    run.update(status="running")
    with full(run.root):
        run.end("interrupted-by-something-with-a-very-long-name")
    assert run.record()["status"] == "running"
    assert "run.json cannot be written and is as it was before the run ended" in caplog.text


def test_a_log_that_is_full_says_so_once(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    run = bench.load_run()
    run.create()
    (run.root / "log.txt").symlink_to("/dev/full")
    with logging_to(run, "info"):
        for number in range(3):
            logging.getLogger("tabstar_lit").info("line %s", number)
    said = capsys.readouterr().err.splitlines()
    assert sorted(said) == [
        f"{run.root}/log.txt cannot be written: No space left on device.",
        "line 0",
        "line 1",
        "line 2",
    ]


def test_a_report_that_cannot_be_written_is_written_when_there_is_space(bench: Bench) -> None:
    written = opening.write_report

    def filling(run: RunDirectory, family: AnyFamily) -> Path:
        with full(run.root):
            return written(run, family)

    with patch.object(opening, "write_report", filling):
        done = typed(bench, *SHORT)
    run = bench.load_run()
    assert done.exit_code == 1, done.output
    assert done.stderr.count("No space left on device") == 1
    assert done.stderr.splitlines()[-1].startswith(f"error: {run.root}/report.md cannot be written")
    assert status(bench) == ("failed", {"train": "finished"})
    assert not (run.root / "report.md").exists()
    assert typed(bench, *SHORT, resume="latest").exit_code == 0
    assert status(bench) == ("finished", {"train": "finished"})
    assert (run.root / "report.md").exists()


# -- copies ------------------------------------------------------------------------------------------------------------


@contextmanager
def no_file_above(size: int) -> Iterator[None]:
    """Let no file of this process grow beyond ``size`` bytes, as a disk does not that has no more room."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_store_of_mlflow_that_cannot_grow_costs_the_copy_alone(bench: Bench, make_bench: Any) -> None:
    unbroken = make_bench("unbroken")
    unbroken.train(*SHORT)
    with no_file_above(100_000):
        done = typed(bench, *SHORT, "experiment_config.tracker=mlflow")
    assert done.exit_code == 0, done.output
    assert done.stderr.count("MLflow failed, training goes on without it. The metrics are in metrics.jsonl") == 1
    assert "Traceback" not in done.output
    assert status(bench) == ("finished", {"train": "finished"})
    assert_same_end(bench, unbroken)


def test_figures_that_cannot_be_written_cost_a_line(bench: Bench, make_bench: Any) -> None:
    drawn, unbroken = (*SHORT, "experiment_config.plot_metrics_n_epoch=1"), make_bench("unbroken")
    unbroken.train(*drawn)
    moved, figures = os.replace, bench.folder / "figures"

    def refusing(part: Path, path: Path) -> None:
        if Path(path).is_relative_to(figures):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        moved(part, path)

    with patch.object(os, "replace", refusing):
        done = typed(bench, *drawn)
    assert done.exit_code == 0, done.output
    assert "could not draw a figure or a sample; training goes on." in done.stderr
    assert done.stderr.count("No space left on device") == 1
    assert [path for path in figures.rglob("*") if path.is_file()] == []
    assert list(unbroken.folder.rglob("*.png")) != []
    assert_same_end(bench, unbroken)


# -- checkpoints -------------------------------------------------------------------------------------------------------


@contextmanager
def no_room_for(ending: str) -> Iterator[None]:
    save = AtomicCheckpointIO.save_checkpoint

    def refusing(io: AtomicCheckpointIO, content: Any, path: Any, storage_options: Any = None) -> None:
        if Path(path).name.endswith(ending):
            raise SaveError(f"Not enough space for the checkpoint {path}.")
        save(io, content, path, storage_options)

    with patch.object(AtomicCheckpointIO, "save_checkpoint", refusing):
        yield


@pytest.mark.parametrize("epochs", [1, 2])
def test_a_snapshot_that_cannot_be_written_ends_no_run(bench: Bench, epochs: int) -> None:
    settings = (
        "dataset_config.rows=32",
        f"model_config.training_config.max_epochs={epochs}",
        "model_config.training_config.save_every_n_steps=3",
    )
    with no_room_for(f"_step={(epochs - 1) * STEPS + 6}.ckpt" if epochs == 1 else "_step=12.ckpt"):
        done = typed(bench, *settings)
    assert done.exit_code == 0, done.output
    assert "A checkpoint could not be written; training goes on. Not enough space" in done.stderr
    assert status(bench) == ("finished", {"train": "finished"})


def test_a_last_checkpoint_that_cannot_be_written_is_a_run_that_failed(bench: Bench) -> None:
    with no_room_for(".ckpt"):
        done = typed(bench, *SHORT)
    assert done.exit_code == 1, "no bad input"
    assert done.stderr.splitlines()[-1].startswith("error: Not enough space for the checkpoint ")
    assert status(bench) == ("failed", {"train": "failed"})
