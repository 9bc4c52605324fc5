"""Read what a run wrote into its directory, while it goes on or after, and find runs.

Reading needs the directory alone and no configuration, unlike writing (:class:`.directory.RunDirectory`), which knows
all places of a run. Nothing heavy is imported here, so commands that only look at runs start at once.
"""

from __future__ import annotations

import glob
import logging
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml
from filelock import FileLock, Timeout

from tabstar_lit.config.tree import did_you_mean
from tabstar_lit.engine.runs.records import (
    CHECKPOINTS_FILE,
    CONFIG_FILE,
    LOCK_FILE,
    METRICS_FILE,
    RESERVED,
    RUN_FILE,
    read_records,
    read_run,
)
from tabstar_lit.engine.tracking.uploads import flatten
from tabstar_lit.errors import RunError

log = logging.getLogger(__name__)

MEMORY = "train_memory_mib"
PER_STEP = ("train_loss_step", MEMORY)
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
        return read_run(self.root)

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

    @property
    def created(self) -> float:
        """When the run began, in unix seconds; 0 where its record does not say."""
        return float(self.record.get("created", 0))

    @cached_property
    def metrics(self) -> list[dict[str, Any]]:
        """All lines of ``metrics.jsonl``."""
        path = self.root / METRICS_FILE
        records = list(read_records(path))
        if not all(key in record for record in records for key in RESERVED):
            raise RunError(f"{path}: there are lines without {', '.join(RESERVED)}. Remove them.")
        return records

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


def run_directories(save_dir: Path, experiment: str | None = None) -> list[RunFiles]:
    """Return the runs below ``save_dir``, of one experiment or of all, without a look into their files."""
    folder = "*" if experiment is None else glob.escape(experiment)
    return [RunFiles(path.parent) for path in sorted(save_dir.glob(f"{folder}/*/{RUN_FILE}"))]


def in_order(runs: Iterable[RunFiles]) -> list[RunFiles]:
    """Return those of ``runs`` whose record can be read, oldest first; the others are named in a warning.

    What happened to one run is no reason to refuse another.
    """
    readable = []
    for run in runs:
        try:
            readable.append((run.created, run))
        except RunError as error:
            log.warning("Left out a run. %s", error)
    return [run for _, run in sorted(readable, key=lambda entry: entry[0])]


def find_run(name: str, save_dir: Path, experiment: str | None = None) -> RunFiles:
    """Return the run that ``name`` means; the files of other runs are not looked into.

    Parameters
    ----------
    name : str
        A run directory, ``<experiment>/<run>``, or the name of a run that only one has.
    save_dir : Path
        Folder of the runs.
    experiment : str or None
        Only its runs are meant; None for those of all experiments.

    Raises
    ------
    RunError
        There is none, or several.
    """
    if (Path(name) / RUN_FILE).is_file():
        return RunFiles(Path(name).absolute())
    known = run_directories(save_dir, experiment)
    found = [run for run in known if name in (run.name, run.root.name)]
    if len(found) == 1:
        return found[0]
    if found:
        raise RunError(
            f"Several runs are called {name!r}: {', '.join(run.name for run in found)}. Give the whole name."
        )
    candidates = [candidate for run in known for candidate in (run.root.name, run.name)]
    hint = did_you_mean(name, candidates, n=3) or " `tabstar_lit runs list` shows what there is."
    where = save_dir if experiment is None else save_dir / experiment
    raise RunError(f"No run {name!r} in {where}.{hint}")


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
