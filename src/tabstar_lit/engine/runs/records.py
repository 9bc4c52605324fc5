"""The line-by-line records of a run directory: ``metrics.jsonl`` and ``checkpoints.jsonl``.

Nothing heavy is imported here, so commands that only look at runs start at once.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tabstar_lit.errors import RunError

METRICS_FILE = "metrics.jsonl"
CHECKPOINTS_FILE = "checkpoints.jsonl"
RESERVED = ("stage", "epoch", "step", "time")
"""Keys of a metrics line that are not metrics."""


def read_records(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the records of a JSON-lines file; nothing when it does not exist.

    A last line without its end, left by a killed process or still being written, is left out.

    Raises
    ------
    RunError
        A finished line is not a JSON object.
    """
    if not path.exists():
        return
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, start=1):
            if line.endswith("\n"):
                yield parse_record(line, f"{path}:{number}")


def parse_record(line: str, where: str) -> dict[str, Any]:
    """Return the record in ``line``; ``where`` locates it in the error message."""
    try:
        record = json.loads(line)
    except json.JSONDecodeError as error:
        raise RunError(f"{where}:{error.colno}: not a JSON record ({error.msg}). Remove the damaged line.") from error
    if not isinstance(record, dict):
        raise RunError(f"{where}: expected a JSON object, found {type(record).__name__}. Remove the damaged line.")
    return record


def truncate_metrics(path: Path, stage: str, last_step: int) -> set[str]:
    """Cut a ``metrics.jsonl`` back to what a checkpoint of ``stage`` after ``last_step`` contains.

    Stages before ``stage`` in the file stay whole; those that began after it are dropped.

    Parameters
    ----------
    path : Path
        The file; nothing happens when it does not exist.
    stage : str
        The stage that goes on.
    last_step : int
        Last step of that stage to keep; -1 keeps none.

    Returns
    -------
    set of str
        Names that stand in the lines kept at ``last_step`` itself.
    """
    kept: list[str] = []
    boundary: set[str] = set()
    started = False
    for record in read_records(path):
        mine = record.get("stage") == stage
        started = started or mine
        if started and not (mine and record.get("step", 0) <= last_step):
            continue
        kept.append(json.dumps(record) + "\n")
        if mine and record.get("step") == last_step:
            boundary |= record.keys()
    if path.exists():
        beside = path.with_name(f".{path.name}.{os.getpid()}")
        beside.write_text("".join(kept), encoding="utf-8")
        beside.replace(path)
    return boundary
