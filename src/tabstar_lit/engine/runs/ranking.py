"""Which run is the best: all runs below a folder, ranked by a metric, from what they wrote down themselves."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tabstar_lit.config.tree import suggestion
from tabstar_lit.engine.runs.files import RunFiles
from tabstar_lit.engine.runs.records import METRICS_FILE, parse_record
from tabstar_lit.errors import RunError

MODE_KEY = "model_config.training_config.monitor_mode"


@dataclass(frozen=True, slots=True)
class Score:
    """The best value of a metric in one stage of a run, its epoch, and the checkpoint of that epoch if it was kept."""

    run: RunFiles
    stage: str
    value: float
    epoch: int | None
    checkpoint: Path | None


def chosen_metric(runs: Sequence[RunFiles], metric: str | None) -> str:
    """Return ``metric``, or what the youngest of ``runs`` (oldest first) monitored.

    Raises
    ------
    RunError
        No metric was given, and no run has monitored one.
    """
    monitored = (stage["monitor"] for run in reversed(runs) for stage in _stages(run) if stage.get("monitor"))
    found = metric or next(monitored, None)
    if found is None:
        raise RunError("No run has a score yet. `tabstar_lit runs list` shows what there is.")
    return found


def is_larger_better(runs: Sequence[RunFiles], metric: str) -> bool:
    """Tell how ``metric`` is ranked, as the youngest run says that monitored it, or whose tracker knows it.

    Raises
    ------
    RunError
        No run says, and it is no loss.
    """
    for run in reversed(runs):
        for name, stage in run.stages.items():
            if stage.get("monitor") == metric:
                keys = (f"stage_config.{name}.{MODE_KEY}", MODE_KEY)
                return next((run.config[key] for key in keys if key in run.config), "min") == "max"
            if metric.removeprefix("val_") in stage.get("larger_is_better", ()):
                return True
    if "loss" in metric or any("larger_is_better" in stage for run in runs[-1:] for stage in _stages(run)):
        return False
    raise RunError(f"No run says whether {metric} is better when larger: add --mode max, or --mode min.")


def ranking(runs: Sequence[RunFiles], metric: str, *, larger: bool) -> list[Score]:
    """Return the stages of ``runs`` that have a finite value of ``metric``, the best first.

    Raises
    ------
    RunError
        None has; names what the youngest run has.
    """
    scores = [score for run in runs for score in _scores(run, metric, larger=larger)]
    if not scores:
        known = [name for run in runs[-1:] for name in run.names()]
        raise RunError(f"No run has the metric {metric!r}.{suggestion(metric, known, listed='The youngest has')}")
    return sorted(scores, key=lambda score: -score.value if larger else score.value)


def _stages(run: RunFiles) -> Iterable[Mapping[str, Any]]:
    return run.stages.values()


def _scores(run: RunFiles, metric: str, *, larger: bool) -> Iterator[Score]:
    """Yield the stages' scores: a finished one has its own in the record, of others the metrics are read."""
    unread = []
    for name, stage in run.stages.items():
        if stage.get("monitor") == metric and stage.get("best_score") is not None:
            path = stage.get("best_checkpoint")
            kept = None if path is None else Path(str(run.record.get("checkpoints_dir", ""))) / path
            yield Score(run, name, float(stage["best_score"]), stage.get("best_epoch"), kept)
        else:
            unread.append(name)
    best: dict[str, tuple[float, int]] = {}
    for stage_name, value, epoch in _values(run.root / METRICS_FILE, metric) if unread else ():
        if stage_name in unread and (stage_name not in best or (value > best[stage_name][0]) == larger):
            best[stage_name] = (value, epoch)
    for stage_name, (value, epoch) in best.items():
        yield Score(run, stage_name, value, epoch, _checkpoint(run, stage_name, epoch))


def _values(path: Path, metric: str) -> Iterator[tuple[str, float, int]]:
    """Yield stage, value and epoch of the lines with ``metric``; the others are not parsed, which takes the time."""
    if not path.exists():
        return
    mark = f'"{metric}": '.encode()
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if mark in line and line.endswith(b"\n"):
                record = parse_record(line, f"{path}:{number}")
                value = record.get(metric)
                if value is not None and math.isfinite(value):
                    yield record["stage"], value, record["epoch"]


def _checkpoint(run: RunFiles, stage: str, epoch: int) -> Path | None:
    """Return a file that is there of the end of ``epoch``."""
    folder = Path(str(run.record.get("checkpoints_dir", ""))) / (stage if len(run.stages) > 1 else "")
    for entry in reversed(run.checkpoints):
        of_its_end = entry.get("kind") in ("top", "snapshot")
        if of_its_end and (entry.get("stage"), entry.get("epoch")) == (stage, epoch):
            path = folder / str(entry.get("path"))
            if path.is_file():
                return path
    return None
