"""The run's own record of its metrics: ``metrics.jsonl``, one JSON object a line.

This file is the truth; MLflow and Comet hold copies. It needs no server and no package, survives a killed
process up to the last line, and after a resume reads as if the run had never stopped.
"""

from __future__ import annotations

import math
import os
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from time import time
from typing import Any

from lightning.pytorch.loggers.logger import Logger
from lightning.pytorch.utilities.rank_zero import rank_zero_only

from tabstar_lit.engine.runs.records import METRICS_FILE, RESERVED, truncate_metrics, write_line, writing


class JsonlLogger(Logger):
    """Append one line for every call of ``log_metrics``, whole and handed over before the call returns.

    A line holds ``stage``, ``epoch``, ``step``, ``time`` (unix seconds) and the metrics. Numbers are written
    with ``repr``, so they read back bit for bit; a NaN or infinite metric becomes ``null``, which every JSON
    reader accepts.

    Parameters
    ----------
    directory : Path
        The run directory; the file is ``metrics.jsonl`` in it.
    stage : str
        Name of the stage the lines belong to.
    resume_step : int or None
        Last step that the resumed checkpoint contains. This stage's lines up to it stay, everything after it
        (and every later stage) goes, because it is about to be computed again. None starts the stage anew.
    """

    def __init__(self, directory: Path, *, stage: str, resume_step: int | None = None) -> None:
        super().__init__()
        self.path = directory / METRICS_FILE
        self.stage = stage
        self.resume_step = -1 if resume_step is None else resume_step
        self._epoch = 0
        self._boundary: set[str] | None = None
        self._descriptor: int | None = None

    @property
    def name(self) -> str:
        """Name of the experiment: the folder that holds the run."""
        return self.path.parent.parent.name

    @property
    def version(self) -> str:
        """Name of the run."""
        return self.path.parent.name

    @property
    def save_dir(self) -> str:
        """The run directory."""
        return str(self.path.parent)

    @rank_zero_only
    def start(self) -> None:
        """Cut the file back to the resumed step and open it."""
        self._open()

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Append ``metrics`` of ``step`` to the file.

        Raises
        ------
        RunWriteError
            The disk is full or gone; no part of the line is left.
        """
        self._epoch = int(metrics.get("epoch", self._epoch))
        step = 0 if step is None else step
        descriptor, boundary = self._open()
        repeated = boundary if step == self.resume_step else ()  # a resumed loop may log its last step once more
        values = {
            name: _finite(value) for name, value in metrics.items() if name not in RESERVED and name not in repeated
        }
        if values:
            line = {"stage": self.stage, "epoch": self._epoch, "step": step, "time": time()} | values
            with writing(self.path):
                write_line(descriptor, line)

    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any) -> None:
        """Do nothing: ``config.yaml`` in the same directory holds the configuration."""

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Close the file; logging again (a test after the fit) reopens it."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _open(self) -> tuple[int, set[str]]:
        if self._boundary is None:
            self._boundary = truncate_metrics(self.path, self.stage, self.resume_step)
        if self._descriptor is None:
            with writing(self.path):
                self._descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
        return self._descriptor, self._boundary


def _finite(value: float) -> float | None:
    number = float(value)
    return number if math.isfinite(number) else None
