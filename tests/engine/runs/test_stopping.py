"""A signal at any moment of a command ends it with its code, a true record, and a state that can be gone on with."""

from __future__ import annotations

import os
import re
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest
from checks import assert_equal
from mlflow import MlflowClient
from stopping import SHORT, STEPS, assert_same_end, signal_in, status, typed
from toy import ToyFamily, ToyModule, ToyTracker
from toy_bench import CONFIG, Bench, load_checkpoint

from tabstar_lit import api
from tabstar_lit.engine import stages
from tabstar_lit.engine.callbacks.checkpoints import Checkpoints
from tabstar_lit.engine.reports import report
from tabstar_lit.engine.runs import opening
from tabstar_lit.engine.runs.signals import SIGNALS
from tabstar_lit.engine.tracking.mlflow import MlflowLogger, import_client
from tabstar_lit.engine.weights import files as weight_files

MakeBench = Callable[[str], Bench]
TRACKED = (*SHORT, "experiment_config.tracker=mlflow")
TWO_STAGES = ("stages=[first, second]", "stage_config={second: {model_config: {load_modules: {body: first}}}}")


class Moment(NamedTuple):
    """Where a signal comes; in which state it leaves the stage and its tracked run; what can be done next."""

    owner: Any
    name: str
    call: int
    stage: str | None
    tracked: str | None
    prospect: str


BEGINNING = "no checkpoint has been written yet, --resume starts stage train at its beginning"
FIRST_EPOCH = r"--resume goes on from toy_epoch=0_val_loss=[\d.]+\.ckpt, step 8 of stage train"
LAST_EPOCH = r"--resume goes on from toy_\S+\.ckpt, step 16 of stage train"
REPORT = "all stages have finished, --resume writes the report"
MOMENTS = {
    "the record is written": Moment(opening, "describe_program", 1, None, None, BEGINNING),
    "the data are opened": Moment(ToyFamily, "data", 1, None, None, BEGINNING),
    "the model is built": Moment(ToyFamily, "module", 1, None, None, BEGINNING),
    "the tracker is started": Moment(MlflowLogger, "_connect", 1, "interrupted", "KILLED", BEGINNING),
    "the trainer is built": Moment(stages, "build_trainer", 1, "interrupted", "KILLED", BEGINNING),
    "the optimizer is built": Moment(ToyModule, "configure_optimizers", 1, "interrupted", "KILLED", BEGINNING),
    "before the first step": Moment(Checkpoints, "on_train_start", 1, "interrupted", "KILLED", BEGINNING),
    "a step": Moment(
        ToyModule, "training_step", 5, "interrupted", "KILLED",
        r"--resume goes on from toy_interrupted\.ckpt, step 5 of stage train",
    ),
    "the last step of an epoch": Moment(ToyModule, "training_step", STEPS, "interrupted", "KILLED", FIRST_EPOCH),
    "validation": Moment(ToyModule, "validation_step", 2, "interrupted", "KILLED", FIRST_EPOCH),
    "metrics": Moment(ToyTracker, "metrics", 1, "interrupted", "KILLED", FIRST_EPOCH),
    "a checkpoint is saved": Moment(weight_files, "_verify", 1, "interrupted", "KILLED", FIRST_EPOCH),
    "the last validation": Moment(ToyTracker, "metrics", 2, "interrupted", "KILLED", LAST_EPOCH),
    "after the last epoch": Moment(Checkpoints, "on_train_end", 1, "finished", "FINISHED", REPORT),
    "the trackers are closed": Moment(stages, "finish_loggers", 1, "finished", "FINISHED", REPORT),
    "the report is written": Moment(report, "_origin", 1, "finished", "FINISHED", REPORT),
}  # fmt: skip


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an empty store to copy; making one takes seconds."""
    path = tmp_path_factory.mktemp("store") / "mlflow.db"
    import_client()(f"sqlite:///{path}").search_experiments()
    return path


@pytest.fixture
def make_tracked(make_bench: MakeBench, store: Path) -> MakeBench:
    def make(name: str) -> Bench:
        bench = make_bench(name)
        (bench.folder / "logs/mlruns").mkdir(parents=True)
        shutil.copyfile(store, bench.folder / "logs/mlruns/mlflow.db")
        return bench

    return make


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    """Return a run that was never stopped, of one stage."""
    bench = Bench(tmp_path_factory.mktemp("unbroken"))
    (bench.folder / "training_config.yaml").write_text(CONFIG)
    bench.train(*SHORT)
    return bench


def tracked(bench: Bench) -> dict[str, str]:
    """Return the state of every tracked run by its name."""
    client = MlflowClient(bench.load_run().mlflow_uri)
    runs = client.search_runs([experiment.experiment_id for experiment in client.search_experiments()])
    return {run.info.run_name: run.info.status for run in runs}


@pytest.mark.parametrize("name", MOMENTS)
def test_a_stopped_run_says_the_truth_and_is_gone_on_with_exactly(
    make_tracked: MakeBench, unbroken: Bench, name: str
) -> None:
    bench, moment = make_tracked("broken"), MOMENTS[name]
    signum = SIGNALS[list(MOMENTS).index(name) % len(SIGNALS)]
    before = {number: signal.getsignal(number) for number in SIGNALS}
    with signal_in(moment.owner, moment.name, signum, call=moment.call):
        done = typed(bench, *TRACKED)
    assert done.exit_code == 128 + signum, done.output
    assert {number: signal.getsignal(number) for number in SIGNALS} == before
    assert status(bench) == ("interrupted", {} if moment.stage is None else {"train": moment.stage})
    assert tracked(bench) == ({} if moment.tracked is None else {"toy": moment.tracked})
    last = done.stderr.splitlines()[-1]
    assert last.startswith(f"stopped by {signum.name}; ")
    assert re.search(moment.prospect, last), last

    again = typed(bench, *TRACKED, resume="latest")
    assert again.exit_code == 0, again.output
    assert status(bench) == ("finished", {"train": "finished"})
    assert tracked(bench) == {"toy": "FINISHED"}
    assert (bench.load_run().root / "report.md").exists()
    assert_same_end(bench, unbroken)


def test_a_signal_before_anything_is_written_leaves_nothing(bench: Bench) -> None:
    with signal_in(opening, "locate", signal.SIGTERM):
        done = typed(bench, *SHORT)
    assert (done.exit_code, done.stderr.splitlines()[-1]) == (143, "stopped by SIGTERM")
    assert {path.name for path in bench.folder.iterdir()} == {"training_config.yaml"}


@pytest.mark.parametrize(
    ("owner", "name", "call", "left"),
    [
        (ToyFamily, "data", 1, ({}, {"toy": "KILLED"})),
        (Checkpoints, "on_train_end", 1, ({"first": "finished"}, {"toy": "KILLED", "toy/first": "FINISHED"})),
        (ToyFamily, "data", 2, ({"first": "finished"}, {"toy": "KILLED", "toy/first": "FINISHED"})),
        (
            ToyModule, "training_step", 2 * STEPS + 3,
            ({"first": "finished", "second": "interrupted"},
             {"toy": "KILLED", "toy/first": "FINISHED", "toy/second": "KILLED"}),
        ),
    ],
    ids=["before the first stage", "at the end of the first", "between them", "in the second"],
)  # fmt: skip
def test_a_run_of_several_stages_stops_between_them_too(
    make_tracked: MakeBench, owner: Any, name: str, call: int, left: tuple[dict[str, str], dict[str, str]]
) -> None:
    bench, unbroken = make_tracked("broken"), make_tracked("unbroken")
    with signal_in(owner, name, signal.SIGTERM, call=call):
        done = typed(bench, *TRACKED, *TWO_STAGES)
    assert done.exit_code == 143, done.output
    assert status(bench) == ("interrupted", left[0])
    assert tracked(bench) == left[1]
    assert typed(bench, *TRACKED, *TWO_STAGES, resume="latest").exit_code == 0
    assert set(tracked(bench).values()) == {"FINISHED"}
    unbroken.train(*SHORT, *TWO_STAGES)
    assert_same_end(bench, unbroken, "models/toys/toy/second/toy_last.ckpt")


@pytest.mark.parametrize("signum", SIGNALS)
def test_no_further_run_of_several_is_begun(make_bench: MakeBench, unbroken: Bench, signum: signal.Signals) -> None:
    bench, both = make_bench("broken"), (*SHORT, "experiment_config.seed=7,8")
    with signal_in(api, "begin", signum, call=2):
        done = typed(bench, *both, multirun=True)
    assert (done.exit_code, done.stderr.splitlines()[-1]) == (128 + signum, f"stopped by {signum.name}")
    runs = [path.name for path in (bench.folder / "logs/toys").iterdir()]
    assert runs == ["toy-1"]


def test_a_stop_waits_for_the_last_batch_of_its_step(make_bench: MakeBench) -> None:
    broken, whole = make_bench("broken"), make_bench("whole")
    settings = (*SHORT, "model_config.training_config.accumulate_grad_batches=3")
    whole.train(*settings)
    with signal_in(ToyModule, "training_step", signal.SIGTERM, call=4):
        done = typed(broken, *settings)
    assert "--resume goes on from toy_interrupted.ckpt, step 2 of stage train" in done.stderr
    assert typed(broken, *settings, resume="latest").exit_code == 0
    assert_same_end(broken, whole)


def test_a_run_of_several_that_is_stopped_is_gone_on_with(make_bench: MakeBench, unbroken: Bench) -> None:
    bench = make_bench("broken")
    with signal_in(ToyModule, "training_step", signal.SIGTERM, call=2 * STEPS + 3):
        done = typed(bench, *SHORT, "experiment_config.seed=8,7", multirun=True)
    assert "--resume goes on from toy-2_interrupted.ckpt, step 3 of stage train" in done.stderr
    assert typed(bench, *SHORT, "experiment_config.run_name=toy-2", resume="latest").exit_code == 0
    ours = load_checkpoint(bench.folder / "models/toys/toy-2/toy-2_last.ckpt")
    assert_equal(ours["state_dict"], load_checkpoint(unbroken.folder / "models/toys/toy/toy_last.ckpt")["state_dict"])


@pytest.mark.parametrize(
    ("owner", "name", "stage", "state"),
    [
        (ToyFamily, "data", None, None),
        (ToyModule, "test_step", "interrupted", "KILLED"),
        (ToyTracker, "metrics", "interrupted", "KILLED"),
        (report, "_origin", "finished", "FINISHED"),
    ],
)
def test_a_stopped_evaluation_is_given_again(
    make_tracked: MakeBench, owner: Any, name: str, stage: str | None, state: str | None
) -> None:
    bench = make_tracked("evaluated")
    bench.train(*SHORT)
    evaluate = (*TRACKED, "model_config.load_checkpoint=toy_last", "experiment_config.run_name=test")
    with signal_in(owner, name, signal.SIGUSR1):
        done = typed(bench, *evaluate)
    assert done.exit_code == 138, done.output
    assert done.stderr.splitlines()[-1] == "stopped by SIGUSR1; the same command evaluates again"
    run = bench.load_run().root.with_name("test")
    test = stages.RunDirectory(run, run, run, run)
    assert test.record()["status"] == "interrupted"
    assert test.stage("train").get("status") == stage
    assert tracked(bench) == ({} if state is None else {"test": state})
    again = typed(bench, *evaluate)
    assert again.exit_code == 0, again.output
    assert (test.record()["status"], test.stage("train")["status"]) == ("finished", "finished")
    assert tracked(bench) == {"test": "FINISHED"}
    refused = typed(bench, *evaluate)
    assert refused.exit_code == 2
    assert "exists already" in refused.stderr


# -- what cannot be saved is not called saved --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("step", "prospect"),
    [(3, BEGINNING), (STEPS + 3, "--resume goes on from toy_epoch=0_val_loss=")],
    ids=["before the first checkpoint", "after it"],
)
def test_a_full_disk_does_not_keep_a_run_from_stopping(
    bench: Bench, unbroken: Bench, monkeypatch: pytest.MonkeyPatch, step: int, prospect: str
) -> None:
    def full(module: ToyModule, *arguments: Any) -> Any:
        if module.trainer.global_step == step:
            usage = SimpleNamespace(free=0)
            monkeypatch.setattr(weight_files.shutil, "disk_usage", lambda _: usage)
            os.kill(os.getpid(), signal.SIGTERM)
        return compute(module, *arguments)

    compute = ToyModule.compute
    monkeypatch.setattr(ToyModule, "compute", full)
    done = typed(bench, *SHORT)
    assert done.exit_code == 143, done.output
    assert "the run stops without it. Not enough space" in done.stderr
    assert prospect in done.stderr.splitlines()[-1]
    assert status(bench) == ("interrupted", {"train": "interrupted"})
    monkeypatch.undo()
    assert typed(bench, *SHORT, resume="latest").exit_code == 0
    assert_same_end(bench, unbroken)
