"""The shipped defaults train as they did: the losses of each stage, and those of validation, are the stored ones.

A change that is meant to give other numbers remakes the files with `make golden` and says so in the changelog.
"""

from __future__ import annotations

from math import isfinite
from pathlib import Path

import pytest
from golden_curves import STAGES, STEPS, WITHIN_AN_EPOCH, difference, path_of, read, to_text, train


@pytest.mark.parametrize("command", STAGES)
def test_the_default_gives_the_losses_of_before(command: str, tmp_path: Path) -> None:
    curves = train(command, tmp_path)
    assert tuple(curves) == STAGES[command]
    apart = {stage: difference(curve, read(path_of(command, stage).read_text())) for stage, curve in curves.items()}
    assert not any(apart.values()), f"{apart}; if this is meant: make golden, and mark it in CHANGELOG.md"


@pytest.mark.parametrize(("command", "stage"), [(command, stage) for command in STAGES for stage in STAGES[command]])
def test_a_stored_curve_is_whole(command: str, stage: str) -> None:
    text = path_of(command, stage).read_text()
    curve = read(text)
    assert to_text(command, stage, curve) == text
    losses = [loss for loss in curve if loss.name == "train_loss_step"]
    assert [loss.step for loss in losses] == list(range(1, STEPS[command] + 1))
    assert all(isfinite(loss.value) for loss in curve)
    assert any(loss.name == "val_loss" for loss in curve) != (command in WITHIN_AN_EPOCH)


@pytest.mark.parametrize(("relative", "equal"), [(0.9e-6, True), (1.1e-6, False), (float("nan"), False)])
def test_a_loss_may_differ_by_a_millionth(relative: float, equal: bool) -> None:
    curve = read(path_of("train_signal", "train").read_text())
    moved = [*curve[:-1], curve[-1]._replace(value=curve[-1].value + relative)]
    assert (difference(moved, curve) is None) == equal


def test_a_missing_loss_is_a_difference() -> None:
    curve = read(path_of("train_signal", "train").read_text())
    assert f"{len(curve) - 1} losses instead of {len(curve)}" in str(difference(curve[:-1], curve))
    assert difference([curve[1], curve[0], *curve[2:]], curve) is not None
