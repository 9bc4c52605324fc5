"""Run commands in a process of their own, with fixed threads and none of the user's settings; read their runs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
FIXED = (
    "experiment_config.accelerator=cpu",
    "experiment_config.precision=64-true",
    "experiment_config.log_every_n_steps=1",
    "experiment_config.plot_metrics_n_epoch=null",
    "experiment_config.tqdm_refresh_rate=0",
)
"""What every golden training sets: double precision, whose rounding is far below TOLERANCE, every loss, no figures.

A setting that switches MLflow off belongs here.
"""
TOLERANCE = 1e-6
"""Of a number, relative to its size or to one, whichever is larger."""
SETTINGS = ("ANALYSIS_ML_", "COMET_", "MLFLOW_")


def environment(threads: int) -> dict[str, str]:
    """Return this environment with a number of threads, without a network, and with paths that hold anywhere."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(SETTINGS)}
    found = [str(Path(entry).resolve()) for entry in kept.get("PYTHONPATH", "").split(os.pathsep) if entry]
    return kept | {
        "PYTHONPATH": os.pathsep.join(found),
        "OMP_NUM_THREADS": str(threads),
        "MKL_NUM_THREADS": str(threads),
        "HF_HUB_OFFLINE": "1",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MPLBACKEND": "Agg",
        "TOKENIZERS_PARALLELISM": "false",
    }


def run(folder: Path, *lines: tuple[str, ...], threads: int = 1) -> str:
    """Run command lines in ``folder`` and return what they printed; one that fails ends the test with it.

    They share a process, because importing PyTorch takes longer than many of them; and it is not this one, because
    packages that other tests import change PyTorch's number of threads, and with it the order of sums.
    """
    command = [sys.executable, str(HERE / "in_double.py"), *map(json.dumps, lines)]
    done = subprocess.run(command, cwd=folder, env=environment(threads), capture_output=True, text=True, timeout=280)
    if done.returncode:
        raise AssertionError(f"{lines} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}")
    return done.stdout


def records(root: Path) -> Iterator[dict[str, Any]]:
    """Yield the lines of a run's ``metrics.jsonl``."""
    for line in (root / "metrics.jsonl").read_text(encoding="utf-8").splitlines():
        yield json.loads(line)


def is_close(value: float, expected: float) -> bool:
    """Say whether two numbers agree; NaN agrees with nothing."""
    return abs(value - expected) <= TOLERANCE * max(1.0, abs(expected))
