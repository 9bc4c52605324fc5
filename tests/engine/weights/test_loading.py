"""Weights out of checkpoints: found by name, newest first, loaded strictly or with a table of what differs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from tabstar_lit.engine.weights.loading import (
    difference_table,
    find_checkpoint,
    latest_checkpoint,
    load_strict,
    load_weights,
)
from tabstar_lit.errors import CheckpointError


def save(path: Path, step: int = 1, epoch: int = 0, **more: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {
        "state_dict": {"network.weight": torch.full((2, 2), float(step)), "loss.weight": torch.ones(1)},
        "global_step": step,
        "epoch": epoch,
        "optimizer_states": [],
    }
    torch.save({name: value for name, value in (content | more).items() if value is not None}, path)
    return path


def test_the_networks_weights_are_taken_and_nothing_else(tmp_path: Path) -> None:
    weights = load_weights(save(tmp_path / "a.ckpt", step=3))
    assert list(weights) == ["weight"]
    assert torch.equal(weights["weight"], torch.full((2, 2), 3.0))


@pytest.mark.parametrize(
    ("state", "message"),
    [
        (None, "has no 'state_dict'"),
        ({"model.w": torch.ones(1)}, r"holds no weights named 'network.*it holds model\.w"),
    ],
)
def test_files_of_other_programs_are_refused(tmp_path: Path, state: Any, message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        load_weights(save(tmp_path / "a.ckpt", state_dict=state))


def test_the_table_lists_every_kind_of_difference() -> None:
    ours = {"same": torch.zeros(2), "only_here": torch.zeros(3), "width": torch.zeros(4, 5)}
    theirs = {"same": torch.ones(2), "only_there": torch.zeros(()), "width": torch.zeros(4, 6)}
    assert difference_table(ours, ours) is None
    assert (difference_table(ours, theirs) or "").splitlines() == [
        "1 missing, 1 unexpected, 1 of another shape:",
        "  tensor      network             file",
        "  only_here   [3]                 missing",
        "  only_there  not in the network  []",
        "  width       [4, 5]              [4, 6]",
    ]


def test_the_table_is_capped_but_counts_and_shows_every_kind() -> None:
    ours = {f"ours.{i}": torch.zeros(1) for i in range(500)} | {"width": torch.zeros(1)}
    theirs = {f"theirs.{i}": torch.zeros(1) for i in range(300)} | {"width": torch.zeros(2)}
    lines = (difference_table(ours, theirs) or "").splitlines()
    assert lines[0] == "500 missing, 300 unexpected, 1 of another shape:"
    assert len(lines) == 2 + 8 + 8 + 1 + 1
    assert lines[-1] == "  ... and 784 more"
    assert any(line.split() == ["width", "[1]", "[2]"] for line in lines)


def network() -> nn.Sequential:
    return nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))


def test_weights_that_fit_are_loaded() -> None:
    source, target = network(), network()
    report = load_strict(target, source.state_dict(), strict=True, source="a.ckpt")
    assert (report.loaded, report.differences) == (4, None)
    assert torch.equal(target[0].weight, source[0].weight)


def test_strict_refuses_with_the_table_and_touches_nothing() -> None:
    target = network()
    before = {name: tensor.clone() for name, tensor in target.state_dict().items()}
    state = network().state_dict() | {"0.weight": torch.zeros(3, 9)}
    with pytest.raises(
        CheckpointError, match=r"a\.ckpt do not fit the network; 0 missing.*\n.*\n  0\.weight +\[3, 2\]"
    ):
        load_strict(target, state, strict=True, source="a.ckpt")
    assert all(torch.equal(tensor, before[name]) for name, tensor in target.state_dict().items())


def test_not_strict_loads_what_fits_and_reports_the_rest() -> None:
    target, source = network(), network()
    state = source.state_dict() | {"0.weight": torch.zeros(3, 9)}
    kept = target[0].weight.clone()
    report = load_strict(target, state, strict=False, source="a.ckpt")
    assert report.loaded == 3
    assert "0.weight" in (report.differences or "")
    assert torch.equal(target[0].weight, kept)
    assert torch.equal(target[1].weight, source[1].weight)


def test_not_strict_still_refuses_a_file_of_which_nothing_fits() -> None:
    with pytest.raises(CheckpointError, match="4 missing, 1 unexpected"):
        load_strict(network(), {"x": torch.zeros(1)}, strict=False, source="a.ckpt")


def test_a_checkpoint_is_found_by_path_name_or_part_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = save(tmp_path / "checkpoints" / "exp" / "run1" / "run1_epoch=3_val_loss=0.1.ckpt")
    roots = [tmp_path / "checkpoints", tmp_path / "absent"]
    for name in ("run1_epoch=3_val_loss=0.1.ckpt", "run1_epoch=3_val_loss=0.1", "exp/run1/run1_epoch=3_val_loss=0.1"):
        assert find_checkpoint(name, roots) == file
    assert find_checkpoint(str(file), []) == file
    assert find_checkpoint(str(file.with_suffix("")), []) == file
    monkeypatch.chdir(file.parent)
    assert find_checkpoint("run1_epoch=3_val_loss=0.1.ckpt", []).resolve() == file


def test_what_is_not_found_names_the_nearest_and_the_places(tmp_path: Path) -> None:
    save(tmp_path / "run1" / "run1_last.ckpt")
    with pytest.raises(
        CheckpointError, match=r"no checkpoint 'run1_lst'.*below .*Nearest:\n  .*run1_last\.ckpt"
    ) as caught:
        find_checkpoint("run1_lst", [tmp_path])
    assert str(caught.value).count("run1_last.ckpt") == 1
    with pytest.raises(CheckpointError, match=r"There is no \.ckpt file at all"):
        find_checkpoint("x", [tmp_path / "empty"])
    with pytest.raises(CheckpointError, match="not a file name"):
        find_checkpoint("a\0b", [tmp_path])


def test_an_ambiguous_name_lists_all(tmp_path: Path) -> None:
    first, second = save(tmp_path / "a" / "last.ckpt"), save(tmp_path / "b" / "last.ckpt")
    with pytest.raises(CheckpointError, match="means 2 checkpoints") as caught:
        find_checkpoint("last", [tmp_path])
    assert str(first) in str(caught.value)
    assert str(second) in str(caught.value)
    assert find_checkpoint("a/last", [tmp_path]) == first


def test_the_latest_is_decided_by_the_step_inside_not_by_name_or_date(tmp_path: Path) -> None:
    newest = save(tmp_path / "stage" / "run_epoch=0.ckpt", step=30)
    save(tmp_path / "stage" / "run_last.ckpt", step=20)
    os.utime(newest, (0, 0))
    assert latest_checkpoint(tmp_path) == (newest, [])


def test_an_interrupted_file_wins_only_when_it_is_the_newest(tmp_path: Path) -> None:
    interrupted = save(tmp_path / "run_interrupted.ckpt", step=25)
    last = save(tmp_path / "run_last.ckpt", step=20)
    assert latest_checkpoint(tmp_path).path == interrupted
    save(last, step=25)
    os.utime(last, (0, 0))
    assert latest_checkpoint(tmp_path).path == last
    save(last, step=40)
    assert latest_checkpoint(tmp_path).path == last


def test_at_one_step_the_later_epoch_and_then_the_later_file_wins(tmp_path: Path) -> None:
    early = save(tmp_path / "run_b.ckpt", step=10, epoch=1)
    late = save(tmp_path / "run_a.ckpt", step=10, epoch=2)
    assert latest_checkpoint(tmp_path).path == late
    save(late, step=10, epoch=1)
    os.utime(late, (0, 0))
    assert latest_checkpoint(tmp_path).path == early


def test_files_that_cannot_be_used_are_skipped_and_named(tmp_path: Path) -> None:
    good = save(tmp_path / "run_a.ckpt", step=5)
    broken = save(tmp_path / "run_b.ckpt", step=9)
    broken.write_bytes(broken.read_bytes()[:-100])
    weights_only = save(tmp_path / "run_c.ckpt", step=9, optimizer_states=None)
    stepless = save(tmp_path / "run_d.ckpt", step=9, global_step="many")
    path, skipped = latest_checkpoint(tmp_path)
    assert path == good
    assert [file for file, _ in skipped] == [broken, weights_only, stepless]
    assert [reason.split(": ")[-1].split(" ")[-3:] for _, reason in skipped] == [
        ["an", "earlier", "one."],
        ["on", "from", "it."],
        ["it", "was", "written."],
    ]


def test_nothing_to_resume_from_is_an_error_with_the_reasons(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no checkpoint to resume from"):
        latest_checkpoint(tmp_path)
    (tmp_path / "x.ckpt").touch()
    with pytest.raises(CheckpointError, match=r"resume from(.|\n)*x\.ckpt .*it is empty"):
        latest_checkpoint(tmp_path)
