"""The folders of a run and its record: what is made, what is left when it goes, and who may write it."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest

from tabstar_lit.config.schema import Experiment
from tabstar_lit.engine.devices.distributed import RUN_NAME_VARIABLE
from tabstar_lit.engine.runs import directory as module_under_test
from tabstar_lit.engine.runs.directory import RunDirectory, choose_run_name, run_directory
from tabstar_lit.errors import RunError, RunWriteError


def a_run(folder: Path, name: str = "first", **settings: Any) -> RunDirectory:
    below = Path("physics") / name
    return RunDirectory(folder / "logs" / below, folder / "figures" / below, folder / "models" / below,
                        folder / "logs/mlruns", **settings)  # fmt: skip


def experiment(
    folder: Path | None = None, model: str = "mlp", saved: Path | None = None, **settings: Any
) -> Experiment:
    places = {} if folder is None else {"save_dir": str(folder / "l"), "tracker_path": str(folder / "f")}
    training = {} if saved is None else {"model_save_path": str(saved)}
    return Experiment.model_validate(
        {
            "experiment_config": {"experiment_name": "physics", **places, **settings},
            "dataset_config": {"name": "toy"},
            "model_config": {"name": model, "architecture_config": {}, "training_config": training},
        }
    )


def names_below(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*")}


def test_only_several_stages_have_folders_of_their_own(tmp_path: Path) -> None:
    one, several = a_run(tmp_path), a_run(tmp_path, several_stages=True)
    assert one.stage_folder(one.figures, "fine") == one.figures
    assert several.stage_folder(several.figures, "fine") == several.figures / "fine"
    assert one.mlflow_uri == f"sqlite:///{tmp_path}/logs/mlruns/mlflow.db"
    assert one.mlflow_artifacts == f"file://{tmp_path}/logs/mlruns/artifacts"
    assert one.run_name == "first"


def test_making_the_folders_twice_leaves_no_trace_of_the_probe(tmp_path: Path) -> None:
    run = a_run(tmp_path)
    run.create()
    run.create()
    assert [path for path in tmp_path.rglob("*") if not path.is_dir()] == []
    assert all(folder.is_dir() for folder in (run.root, run.figures, run.checkpoints, run.mlruns))


@pytest.mark.parametrize("blocked", ["logs", "figures", "models"])
def test_a_place_that_cannot_be_written_is_named_with_the_keys_that_move_it(tmp_path: Path, blocked: str) -> None:
    (tmp_path / blocked).write_text("a file stands in the way")
    with pytest.raises(RunError, match=rf"Cannot write to {tmp_path}/{blocked}/physics/first \(Not a dir") as error:
        a_run(tmp_path).create()
    for key in ("experiment_config.save_dir", "experiment_config.tracker_path", "training_config.model_save_path"):
        assert key in str(error.value)


def test_removing_a_run_leaves_the_other_runs_and_no_empty_folder(tmp_path: Path) -> None:
    first, second = a_run(tmp_path), a_run(tmp_path, "second")
    first.create()
    second.create()
    (second.mlruns / "mlflow.db").touch()
    first.remove()
    assert {path.name for path in (tmp_path / "logs/physics").iterdir()} == {"second"}
    second.remove()
    assert names_below(tmp_path) == {"logs", "logs/mlruns", "logs/mlruns/mlflow.db", "figures", "models"}


def test_fields_are_changed_one_by_one_and_stages_stay_apart(tmp_path: Path) -> None:
    run = a_run(tmp_path)
    run.create()
    assert (run.record(), run.stage("train")) == ({}, {})
    run.update(status="running", seed=1)
    run.update_stage("train", status="running", monitor="val_loss")
    run.update_stage("tune", status="running")
    run.update_stage("train", status="finished")
    run.update(seed=2)
    assert run.record() == {
        "schema_version": 1,
        "status": "running",
        "seed": 2,
        "stages": {"train": {"status": "finished", "monitor": "val_loss"}, "tune": {"status": "running"}},
    }
    assert list(run.record()["stages"]) == ["train", "tune"]
    assert {path.name for path in run.root.iterdir()} == {"run.json"}


def test_a_write_that_fails_leaves_the_old_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = a_run(tmp_path)
    run.create()
    run.update(status="running")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(RunWriteError, match=r"run\.json cannot be written \(No space.*--resume goes on"):
        run.update(status="finished")
    assert run.record()["status"] == "running"


def test_lines_are_appended_as_they_are(tmp_path: Path) -> None:
    run = a_run(tmp_path)
    run.create()
    for number in range(3):
        run.append("checkpoints.jsonl", {"step": number, "path": "é|\n.ckpt"})
    lines = (run.root / "checkpoints.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [0, 1, 2]


def test_a_run_has_one_writer_until_it_lets_go_even_by_an_error(tmp_path: Path) -> None:
    run, again = a_run(tmp_path), a_run(tmp_path)
    run.create()

    def crash() -> None:
        with run.held():
            with (
                pytest.raises(RunError, match=r"Another process is writing.*another experiment_config\.run_name"),
                again.held(),
            ):
                pass
            raise MemoryError

    with pytest.raises(MemoryError):
        crash()
    with again.held():
        pass


def test_places_come_from_keys_first_and_variables_second(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LOGS", "RESULTS", "MODELS"):
        monkeypatch.setenv(f"ANALYSIS_ML_{name}_DIR", str(tmp_path / name))
    plain, moved = experiment(), experiment(tmp_path, saved=tmp_path / "m")
    by_variable = run_directory(plain.experiment_config, plain.model, "r")
    by_key = run_directory(moved.experiment_config, moved.model, "r", several_stages=True)
    places = [(run.root, run.figures, run.checkpoints, run.mlruns) for run in (by_variable, by_key)]
    expected = [("LOGS/physics/r", "RESULTS/physics/r", "MODELS/checkpoints/physics/r", "LOGS/mlruns"),
                ("l/physics/r", "f/physics/r", "m/physics/r", "l/mlruns")]  # fmt: skip
    assert places == [tuple(tmp_path / part for part in parts) for parts in expected]
    assert (by_variable.several_stages, by_key.several_stages) == (False, True)


def test_paths_are_absolute_so_that_a_change_of_folder_does_no_harm() -> None:
    relative = experiment(Path("here"))
    run = run_directory(relative.experiment_config, relative.model, "r")
    assert run.root == Path.cwd() / "here/l/physics/r"
    assert run.mlruns.is_absolute()


def test_an_automatic_name_is_safe_and_never_that_of_another_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module_under_test.time, "strftime", lambda _: "20260102-030405")
    config = experiment(tmp_path, model="tab/star tiny_é")
    names = []
    for _ in range(3):
        names.append(choose_run_name(config.experiment_config, config.model))
        run_directory(config.experiment_config, config.model, names[-1]).create()
    stem = "tab-star-tiny_-_20260102-030405"
    assert names == [stem, f"{stem}-2", f"{stem}-3"]
    assert all(re.fullmatch(r"[\w.-]+", name, re.ASCII) for name in names)


def test_other_ranks_take_the_first_ones_name_or_ask_for_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module_under_test, "is_main_process", lambda: False)
    config = experiment(tmp_path)
    monkeypatch.setenv(RUN_NAME_VARIABLE, "given")
    assert choose_run_name(config.experiment_config, config.model) == "given"
    monkeypatch.delenv(RUN_NAME_VARIABLE)
    with pytest.raises(RunError, match=r"cannot agree on an automatic name\. Set experiment_config\.run_name"):
        choose_run_name(config.experiment_config, config.model)
    named = experiment(tmp_path, run_name="mine")
    assert choose_run_name(named.experiment_config, named.model) == "mine"


def test_processes_that_have_met_take_the_name_of_the_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = experiment(tmp_path)
    monkeypatch.setattr(module_under_test, "has_met", lambda: True)
    monkeypatch.setattr(module_under_test, "is_main_process", lambda: False)
    monkeypatch.setattr(module_under_test, "gather", lambda own: ["mlp_of_the_first", own, own])
    monkeypatch.setenv(RUN_NAME_VARIABLE, "of an earlier run")
    assert choose_run_name(config.experiment_config, config.model) == "mlp_of_the_first"


JOB = {"SLURM_JOB_ID": "4711", "SLURM_STEP_ID": "0", "SLURM_NTASKS": "4"}


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({}, "mlp_4711-0"),
        ({"SLURM_STEP_ID": "2"}, "mlp_4711-2"),
        ({"SLURM_NTASKS": "1"}, "mlp_4711-0"),
        ({"SLURM_RESTART_COUNT": "1"}, "mlp_4711-0"),
        ({"SLURM_RESTART_COUNT": "0"}, "mlp_4711-0"),
    ],
)
def test_all_processes_of_a_job_call_the_run_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, str], name: str
) -> None:
    config = experiment(tmp_path)
    monkeypatch.delenv(RUN_NAME_VARIABLE, raising=False)
    for variable, value in {**JOB, **changes}.items():
        monkeypatch.setenv(variable, value)
    for main in (True, False):
        monkeypatch.setattr(module_under_test, "is_main_process", lambda main=main: main)
        assert choose_run_name(config.experiment_config, config.model) == name


@pytest.mark.parametrize("changes", [{"SLURM_JOB_NAME": "interactive"}, {"SLURM_STEP_ID": ""}])
def test_what_srun_did_not_start_is_named_after_the_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, str]
) -> None:
    config = experiment(tmp_path)
    for variable, value in {**JOB, **changes}.items():
        monkeypatch.setenv(variable, value) if value else monkeypatch.delenv(variable, raising=False)
    assert "4711" not in choose_run_name(config.experiment_config, config.model)
