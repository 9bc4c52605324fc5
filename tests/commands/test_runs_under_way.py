"""Looking at runs that have not ended, have several stages, or of which there is little."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from runs_fixture import append, write_run

from tabstar_lit.commands.runs import runs
from tabstar_lit.engine.runs.files import RunFiles, format_value, in_order, run_directories
from tabstar_lit.errors import RunError


def ask(save_dir: Path, *words: str) -> str:
    result = CliRunner().invoke(runs, [*words, "--save-dir", str(save_dir)])
    assert result.exit_code == 0, result.output
    return result.output


def edit(root: Path, **fields: Any) -> RunFiles:
    record = json.loads((root / "run.json").read_text())
    (root / "run.json").write_text(json.dumps(record | fields))
    return RunFiles(root)


@pytest.mark.parametrize("status", ["running", "failed", "interrupted"])
def test_a_run_that_has_not_finished_is_shown_without_a_best(tmp_path: Path, status: str) -> None:
    write_run(tmp_path, status=status)
    text = ask(tmp_path, "show", "first")
    assert f"stage pretrain {status}\n" in text
    assert "val_loss over steps" in text
    write_run(tmp_path, "second", lr=0.002)
    assert "stage pretrain finished: best val_loss 0.2\n" in ask(tmp_path, "show", "second")
    results = json.loads(ask(tmp_path, "compare", "first", "second", "--json"))["metrics"]
    assert results["pretrain: best val_loss"] == {"physics/first": None, "physics/second": 0.2}


def test_a_run_that_has_just_begun_is_listed_and_shown(tmp_path: Path) -> None:
    root = write_run(tmp_path, status="running")
    (root / "metrics.jsonl").unlink()
    edit(root, stages={})
    assert "physics/first" in ask(tmp_path, "list")
    assert ask(tmp_path, "show", "first").startswith("physics/first  died")


def test_stages_keep_their_epochs_apart(tmp_path: Path) -> None:
    root = write_run(tmp_path)
    line = {"stage": "finetune", "epoch": 0, "step": 4, "time": 1.8e9, "val_loss": 0.75, "val_auc": 0.5}
    with (root / "metrics.jsonl").open("a") as file:
        file.write(json.dumps(line) + "\n")
    run = RunFiles(root)
    assert run.epochs("finetune") == {0: {"val_loss": 0.75, "val_auc": 0.5}}
    assert len(run.epochs("pretrain")) == 3
    assert run.series("val_loss", "finetune") == [(4, 0.75)]
    assert len(run.series("val_loss")) == 4
    assert "val_auc" in run.names("finetune")
    assert "val_auc" not in run.names("pretrain")
    assert run.names()[-1] == "val_auc"


def test_what_describes_a_step_is_no_value_of_the_epoch_and_the_last_line_counts(tmp_path: Path) -> None:
    root = write_run(tmp_path)
    append(root, 1, 8, val_loss=0.5, train_memory_mib=9.0)
    epochs = RunFiles(root).epochs("pretrain")
    assert epochs[1]["val_loss"] == 0.5
    assert epochs[1]["rss_mib"] == 201.0
    assert not {"train_memory_mib", "train_loss_step", "stage", "time", "step"} & {
        n for e in epochs.values() for n in e
    }


def test_a_value_that_was_not_finite_is_nan_in_a_series_and_none_in_an_epoch(tmp_path: Path) -> None:
    root = write_run(tmp_path)
    append(root, 3, 16, val_loss=float("inf"))
    run = RunFiles(root)
    step, value = run.series("val_loss")[-1]
    assert step == 16
    assert value != value
    assert run.epochs("pretrain")[3] == {"val_loss": None}


@pytest.mark.parametrize(
    ("content", "words"),
    [("{\n 'a': 1}", r"run\.json:2:2: not valid JSON \(Expecting"), ("[1]", "expected a JSON object, found list")],
)
def test_a_damaged_record_names_its_place(tmp_path: Path, content: str, words: str) -> None:
    (tmp_path / "run.json").write_text(content)
    with pytest.raises(RunError, match=words):
        _ = RunFiles(tmp_path).record


def test_a_folder_without_a_record_and_a_broken_configuration(tmp_path: Path) -> None:
    assert RunFiles(tmp_path).config == {}
    with pytest.raises(RunError, match=r"is no run directory: it has no run\.json"):
        _ = RunFiles(tmp_path).record
    (tmp_path / "config.yaml").write_text("a: [1")
    with pytest.raises(RunError, match=r"config\.yaml is not valid YAML"):
        _ = RunFiles(tmp_path).config


def test_runs_are_found_in_the_order_they_were_made_whatever_their_names(tmp_path: Path) -> None:
    for name, created in (("a", 3.0), ("b", 1.0), ("c", 2.0)):
        edit(write_run(tmp_path, name), created=created)
    write_run(tmp_path / "physics" / "too_deep", "d")
    assert [run.name for run in in_order(run_directories(tmp_path))] == ["physics/b", "physics/c", "physics/a"]


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "–"), (1 / 3, "0.33333"), (float("nan"), "nan"), (1e-7, "1e-07"), (123456789, "123456789"), (True, "True")],
)
def test_numbers_are_short_and_whole_ones_whole(value: object, text: str) -> None:
    assert format_value(value) == text
