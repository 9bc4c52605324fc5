"""The race to a score stops its clock at the first validation that is good enough, and says so when none is."""

from __future__ import annotations

from pathlib import Path

import pytest
from benchmarks import speedrun

SMALL = (
    "model_config=tabstar/tiny",
    "dataset_config.tables=[iris]",
    "dataset_config.rows_per_dataset=16",
    "model_config.training_config.max_epochs=3",
)


@pytest.mark.parametrize(("target", "reached"), [(-1.0, True), (1.1, False)])
def test_the_clock_stops_where_the_target_is_reached(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, target: float, reached: bool
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(speedrun, "TARGET", target)
    finish = speedrun.speedrun(1, SMALL)
    assert finish.reached is reached
    assert (finish.processor_s > 0) is reached  # not a number where the target was not reached
    (lines,) = tmp_path.glob("runs/logs/speedrun/*/metrics.jsonl")
    assert (lines.read_text().count('"val_score"') == 1) is reached
