from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from tabstar_lit.engine.runs.records import append_record, read_records, truncate_metrics
from tabstar_lit.engine.tracking.jsonl import JsonlLogger
from tabstar_lit.errors import RunError


def lines(directory: Path) -> list[dict[str, object]]:
    return list(read_records(directory / "metrics.jsonl"))


def log_steps(directory: Path, stage: str, steps: range, resume_step: int | None = None) -> None:
    logger = JsonlLogger(directory, stage=stage, resume_step=resume_step)
    logger.start()
    for step in steps:
        logger.log_metrics({"loss": 1 / step, "epoch": step // 4}, step=step)
        if step % 4 == 0:
            logger.log_metrics({"val_loss": math.sqrt(step)}, step=step)
    logger.finalize("success")


def test_a_line_reads_back_bit_for_bit_and_is_there_at_once(tmp_path: Path) -> None:
    logger = JsonlLogger(tmp_path, stage="train")
    value = 0.1 + 0.2
    logger.log_metrics({"loss": value, "epoch": 2.0}, step=7)
    [line] = lines(tmp_path)
    assert line["loss"] == value
    assert {key: line[key] for key in ("stage", "epoch", "step")} == {"stage": "train", "epoch": 2, "step": 7}
    assert list(line) == ["stage", "epoch", "step", "time", "loss"]


def test_lightning_is_told_the_experiment_the_run_and_its_folder(tmp_path: Path) -> None:
    logger = JsonlLogger(tmp_path / "physics" / "first", stage="train")
    assert (logger.name, logger.version, logger.save_dir) == ("physics", "first", str(tmp_path / "physics" / "first"))


def test_a_record_that_is_not_json_is_refused_and_nothing_of_it_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="Out of range float"):
        append_record(tmp_path / "records.jsonl", {"score": math.nan})
    assert (tmp_path / "records.jsonl").read_text() == ""


def test_non_finite_values_are_valid_json(tmp_path: Path) -> None:
    JsonlLogger(tmp_path, stage="train").log_metrics({"a": math.nan, "b": math.inf, "c": 1.0}, step=0)
    text = (tmp_path / "metrics.jsonl").read_text()

    def refuse(name: str) -> None:
        raise AssertionError(name)

    assert json.loads(text, parse_constant=refuse) | {"time": 0} == {
        "stage": "train",
        "epoch": 0,
        "step": 0,
        "time": 0,
        "a": None,
        "b": None,
        "c": 1.0,
    }


@pytest.mark.parametrize("checkpoint", [1, 3, 4, 8, 11])
def test_a_resumed_file_equals_that_of_an_unbroken_run(tmp_path: Path, checkpoint: int) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    for directory in (whole, broken):
        directory.mkdir()
        log_steps(directory, "pretrain", range(1, 6))
    log_steps(whole, "train", range(1, 13))
    log_steps(broken, "train", range(1, 12))
    # the resumed loop logs the checkpoint's own step once more
    log_steps(broken, "train", range(checkpoint, 13), resume_step=checkpoint)

    def timeless(directory: Path) -> list[dict[str, object]]:
        return [{**line, "time": 0} for line in lines(directory)]

    assert timeless(broken) == timeless(whole)


def test_a_stage_that_starts_anew_leaves_no_old_lines(tmp_path: Path) -> None:
    log_steps(tmp_path, "pretrain", range(1, 3))
    log_steps(tmp_path, "train", range(1, 10))
    log_steps(tmp_path, "train", range(1, 2))
    assert [(line["stage"], line["step"]) for line in lines(tmp_path)] == [
        ("pretrain", 1),
        ("pretrain", 2),
        ("train", 1),
    ]


def test_a_stage_that_goes_on_leaves_the_lines_of_later_ones(tmp_path: Path) -> None:
    log_steps(tmp_path, "pretrain", range(1, 4))
    log_steps(tmp_path, "train", range(1, 3))
    truncate_metrics(tmp_path / "metrics.jsonl", "pretrain", 2)
    assert [(line["stage"], line["step"]) for line in lines(tmp_path)] == [
        ("pretrain", 1),
        ("pretrain", 2),
        ("train", 1),
        ("train", 2),
    ]


def test_logging_after_finalize_appends(tmp_path: Path) -> None:
    logger = JsonlLogger(tmp_path, stage="train")
    logger.log_metrics({"loss": 1.0}, step=1)
    logger.finalize("success")
    logger.log_metrics({"test_loss": 2.0}, step=1)
    assert [line.get("test_loss") for line in lines(tmp_path)] == [None, 2.0]


def test_a_half_written_last_line_is_left_out_and_cut(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    log_steps(tmp_path, "train", range(1, 3))
    with path.open("a") as file:
        file.write('{"stage": "tr')
    assert len(lines(tmp_path)) == 2
    truncate_metrics(path, "train", 2)
    assert path.read_text().endswith("}\n")


def test_a_damaged_line_is_located(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"stage": "train", "step": 1}\nnot json\n')
    with pytest.raises(RunError, match=r"metrics\.jsonl:2:1: not a JSON record"):
        lines(tmp_path)
    path.write_text("[1]\n")
    with pytest.raises(RunError, match="expected a JSON object, found list"):
        lines(tmp_path)
