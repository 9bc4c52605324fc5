"""Read what a run wrote into its directory, while it goes on or after: for reports and for looking at runs.

Nothing heavy is imported here, so commands that only look at runs start at once.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml
from filelock import FileLock, Timeout

from tabstar_lit.engine.runs.records import CHECKPOINTS_FILE, METRICS_FILE, RESERVED, read_records
from tabstar_lit.engine.tracking.uploads import flatten
from tabstar_lit.errors import RunError

RUN_FILE = "run.json"
LOCK_FILE = ".lock"
CONFIG_FILE = "config.yaml"
PER_STEP = ("train_loss_step", "train_memory_mib")
"""Metrics that are logged inside an epoch and say nothing about it as a whole."""


@dataclass(frozen=True)
class RunFiles:
    """The files of one run, read when first asked for.

    Attributes
    ----------
    root : Path
        The run directory.
    """

    root: Path

    @cached_property
    def record(self) -> dict[str, Any]:
        """The content of ``run.json``."""
        path = self.root / RUN_FILE
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            raise RunError(f"{self.root} is no run directory: it has no {RUN_FILE}.") from error
        except json.JSONDecodeError as error:
            raise RunError(f"{path}:{error.lineno}:{error.colno}: not valid JSON ({error.msg}).") from error
        if not isinstance(record, dict):
            raise RunError(f"{path}: expected a JSON object, found {type(record).__name__}.")
        return record

    @property
    def name(self) -> str:
        """``<experiment>/<run>``, which no other run below the same folder has."""
        return f"{self.root.parent.name}/{self.root.name}"

    @property
    def status(self) -> str:
        """How the run stands: running, finished, failed, interrupted, or died (killed without a chance to say so)."""
        status = str(self.record.get("status", "unknown"))
        return "died" if status == "running" and not self._is_held() else status

    @property
    def stages(self) -> dict[str, dict[str, Any]]:
        """What ``run.json`` says of every stage, in order."""
        stages: dict[str, dict[str, Any]] = self.record.get("stages", {})
        return stages

    @cached_property
    def metrics(self) -> list[dict[str, Any]]:
        """All lines of ``metrics.jsonl``."""
        return list(read_records(self.root / METRICS_FILE))

    @cached_property
    def checkpoints(self) -> list[dict[str, Any]]:
        """All lines of ``checkpoints.jsonl``."""
        return list(read_records(self.root / CHECKPOINTS_FILE))

    @cached_property
    def config(self) -> dict[str, str]:
        """The composed configuration, dotted key to text."""
        path = self.root / CONFIG_FILE
        if not path.exists():
            return {}
        try:
            data = yaml.safe_load(path.read_text(encoding="utf-8"))
        except yaml.YAMLError as error:
            raise RunError(f"{path} is not valid YAML: {error}") from error
        return dict(flatten(data or {}))

    def _is_held(self) -> bool:
        """Return whether a process holds the run's lock, as every running one does."""
        path = self.root / LOCK_FILE
        if not path.exists():
            return False
        try:
            with FileLock(path, timeout=0):
                return False
        except Timeout:
            return True
        except PermissionError:  # somebody else's run: take its word
            return True

    def names(self, stage: str | None = None) -> list[str]:
        """Return the metrics of ``stage`` (None: of all stages) in the order they first appeared."""
        names = (name for record in self.metrics if stage in (None, record["stage"]) for name in record)
        return [name for name in dict.fromkeys(names) if name not in RESERVED]

    def series(self, name: str, stage: str | None = None) -> list[tuple[int, float]]:
        """Return ``(step, value)`` of a metric; a value that was not finite is NaN."""
        return [
            (record["step"], math.nan if record[name] is None else record[name])
            for record in self.metrics
            if name in record and stage in (None, record["stage"])
        ]

    def epochs(self, stage: str) -> dict[int, dict[str, float | None]]:
        """Return every epoch's metrics: of each the last value, without those that only describe a step."""
        epochs: dict[int, dict[str, float | None]] = {}
        for record in self.metrics:
            if record["stage"] == stage:
                values = {name: record[name] for name in record if name not in (*RESERVED, *PER_STEP)}
                epochs.setdefault(record["epoch"], {}).update(values)
        return epochs


def find_runs(save_dir: Path) -> Iterator[RunFiles]:
    """Yield the runs below ``save_dir``, oldest first."""
    runs = [RunFiles(path.parent) for path in save_dir.glob(f"*/*/{RUN_FILE}")]
    yield from sorted(runs, key=lambda run: float(run.record.get("created", 0)))


def is_evaluation(record: Mapping[str, Any]) -> bool:
    """Tell whether the run of a ``run.json`` tested a checkpoint and trained nothing."""
    return any("evaluated" in part for part in (record, *record.get("stages", {}).values()))


def format_value(value: object) -> str:
    """Return a number in at most five digits, anything else as text, nothing as a dash.

    Examples
    --------
    >>> [format_value(value) for value in (0.123456, 123456.0, 12, None, "cpu")]
    ['0.12346', '1.2346e+05', '12', '–', 'cpu']
    """
    if value is None:
        return "–"
    return f"{value:.5g}" if isinstance(value, float) else str(value)
