"""The files of a run directory: what they are called, the record of the run, and the records line by line.

Nothing heavy is imported here, so commands that only look at runs start at once.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from tabstar_lit.errors import RunError, RunWriteError
from tabstar_lit.files import write_text

RUN_FILE = "run.json"
CONFIG_FILE = "config.yaml"
PROVENANCE_FILE = "provenance.yaml"
METRICS_FILE = "metrics.jsonl"
CHECKPOINTS_FILE = "checkpoints.jsonl"
LOG_FILE = "log.txt"
REPORT_FILE = "report.md"
PAGE_FILE = "report.html"
LOCK_FILE = ".lock"
VIEW = "tabstar_lit"
"""Key under which MLflow keeps the view of an experiment's table that ``track`` opens."""

RESERVED = ("stage", "epoch", "step", "time")
"""Keys of a metrics line that are not metrics."""

COSTS = (
    "epoch_seconds", "rows_per_s", "events_per_s", "tokens_per_s", "mfu", "wait_share",
    "rss_mib", "rss_peak_mib", "cuda_peak_mib",
)  # fmt: skip
"""Metrics that measure the machine, once an epoch: another run of the same training has others."""


def read_run(root: Path) -> dict[str, Any]:
    """Return the record of the run in the directory ``root``.

    Raises
    ------
    RunError
        There is none, or it is damaged.
    """
    path = root / RUN_FILE
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise RunError(f"{root} is no run directory: it has no {RUN_FILE}.") from error
    except OSError as error:
        raise RunError(f"{path} cannot be read: {error.strerror or error}.") from error
    except json.JSONDecodeError as error:
        raise _damaged(f"{path}:{error.lineno}:{error.colno}", f"not valid JSON ({error.msg})") from error
    except (ValueError, RecursionError) as error:  # no UTF-8, a number of thousands of digits, or nested without end
        raise _damaged(str(path), f"not valid JSON ({error})") from error
    _require_shape(record, path)
    return dict(record)


def _require_shape(record: object, path: Path) -> None:
    """Refuse a record whose parts others rely on are not of their kind."""
    if not isinstance(record, dict):
        raise _damaged(str(path), f"expected a JSON object, found {type(record).__name__}")
    stages = record.get("stages", {})
    if not isinstance(stages, dict) or not all(isinstance(stage, dict) for stage in stages.values()):
        raise _damaged(str(path), "'stages' is no object of objects")
    created = record.get("created", 0)
    if not isinstance(created, int | float):
        raise _damaged(str(path), f"'created' is {created!r}, no time in seconds")


def _damaged(where: str, what: str) -> RunError:
    return RunError(f"{where}: {what}. The run cannot go on without its record; put it back, or remove its folder.")


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
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if line.endswith(b"\n"):
                yield parse_record(line, f"{path}:{number}")


def parse_record(line: str | bytes, where: str) -> dict[str, Any]:
    """Return the record in ``line``; ``where`` locates it in the error message."""
    try:
        record = json.loads(line)
    except json.JSONDecodeError as error:
        raise RunError(f"{where}:{error.colno}: not a JSON record ({error.msg}). Remove the damaged line.") from error
    except (ValueError, RecursionError) as error:
        raise RunError(f"{where}: not a JSON record ({error}). Remove the damaged line.") from error
    if not isinstance(record, dict):
        raise RunError(f"{where}: expected a JSON object, found {type(record).__name__}. Remove the damaged line.")
    return record


def append_record(path: Path, record: Mapping[str, Any]) -> None:
    """Append ``record`` to a JSON-lines file, whole and on the disk when this returns.

    Raises
    ------
    RunWriteError
        The disk is full or gone. The file is as it was.
    """
    with writing(path):
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
        try:
            write_line(descriptor, record)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def write_line(descriptor: int, record: Mapping[str, Any]) -> None:
    """Write ``record`` as a line to an open file, or nothing of it where there is no room for all."""
    line = (json.dumps(record, allow_nan=False) + "\n").encode()
    end = os.fstat(descriptor).st_size
    try:
        while line:
            line = line[os.write(descriptor, line) :]
    except OSError:
        with suppress(OSError):  # the reason that matters is already on its way to the user
            os.ftruncate(descriptor, end)
        raise


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Say of a file of a run directory that cannot be written what to do.

    Raises
    ------
    RunWriteError
        In place of an ``OSError``.
    """
    try:
        yield
    except OSError as error:
        raise RunWriteError(
            f"{path} cannot be written ({error.strerror or error}), and without its records a run does not go on. Make "
            "space there; --resume goes on with the run."
        ) from error


def truncate_metrics(path: Path, stage: str, last_step: int) -> set[str]:
    """Cut a ``metrics.jsonl`` back to what a checkpoint of ``stage`` after ``last_step`` contains.

    The lines of other stages stay: each goes on from a checkpoint of its own.

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

    Raises
    ------
    RunWriteError
        The file cannot be written. It is as it was.
    """
    kept: list[str] = []
    boundary: set[str] = set()
    for record in read_records(path):
        mine = record.get("stage") == stage
        if mine and record.get("step", 0) > last_step:
            continue
        kept.append(json.dumps(record) + "\n")
        if mine and record.get("step") == last_step:
            boundary |= record.keys()
    if path.exists():
        with writing(path):
            write_text(path, "".join(kept))
    return boundary
