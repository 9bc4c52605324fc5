"""Train as the real command does, and measure what the training starts from in the same way."""

from __future__ import annotations

import math
import shlex
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tabstar_lit.commands.train import load
from tabstar_lit.engine.family import AnyFamily
from tabstar_lit.engine.preflight import check_names
from tabstar_lit.engine.run import run
from tabstar_lit.engine.runs.files import RunFiles

EXPERIMENT = "experiment_config.experiment_name=results"

NOTHING_LEARNED = (
    "model_config.training_config.max_epochs=1",
    "model_config.training_config.scheduler=null",
    "model_config.training_config.optimizer.optimizer_params.lr=0",
    "dataset_config.rows_per_dataset=1",
    "experiment_config.plot_metrics_n_epoch=null",
)
"""Turn a training command into a measurement of the network it starts from.

An epoch at a learning rate of zero, on one row of each table, changes no weight; the seed makes the same initial
weights and chooses the same validation rows as in the real training.
"""

_LIMITS: list[str] = []


@contextmanager
def limited(device: str, max_time: str | None) -> Iterator[None]:
    """Have all trainings inside run on ``device``, and no stage of them longer than ``max_time`` (DD:HH:MM:SS)."""
    before = _LIMITS[:]
    _LIMITS[:] = [f"experiment_config.accelerator={device}"] if device != "auto" else []
    _LIMITS.extend([f"model_config.training_config.max_time='{max_time}'"] if max_time else [])
    try:
        yield
    finally:
        _LIMITS[:] = before


def limits() -> tuple[str, ...]:
    """Return what :func:`limited` asks for, as overrides."""
    return tuple(_LIMITS)


@dataclass(frozen=True)
class Trained:
    """One run of a training command.

    Attributes
    ----------
    command : str
        What a user types for it.
    files : RunFiles
        What it wrote.
    wall_s, cpu_s : float
        Its duration, and the processor time of all its threads: on a busy machine the better measure.
    """

    command: str
    files: RunFiles
    wall_s: float
    cpu_s: float

    @property
    def record(self) -> Mapping[str, Any]:
        """What the run knows of itself: ``run.json``."""
        return self.files.record

    @property
    def values(self) -> Mapping[str, float | None]:
        """All metrics of the last epoch of the last stage."""
        epochs = self.files.epochs(list(self.files.stages)[-1])
        return epochs[max(epochs)]

    def value(self, metric: str) -> float:
        """Return a metric of the last epoch; NaN when it was not finite."""
        value = self.values[metric]
        return math.nan if value is None else value

    @property
    def figures(self) -> Path:
        """Folder of the tracker's figures."""
        return Path(self.files.record["figures_dir"])


@dataclass(frozen=True)
class Many:
    """Runs of one command, in processes of their own.

    Attributes
    ----------
    command : str
        What a user types for all of them.
    record : dict
        ``run.json`` of the last.
    wall_s, cpu_s : float
        Duration of all of them together, one after the other, and their processor time.
    """

    command: str
    record: Mapping[str, Any]
    wall_s: float
    cpu_s: float


@dataclass(frozen=True)
class StartAndEnd:
    """The same training before its first step and after its last."""

    start: Trained
    end: Trained

    def scores(self, metric: str) -> dict[str, tuple[float, float]]:
        """Return the values of ``<metric>/<source>`` at start and end, by source."""
        pairs = {name: (self.start.values.get(name), value) for name, value in self.end.values.items()}
        return {
            name.removeprefix(f"{metric}/"): (start, end)
            for name, (start, end) in pairs.items()
            if name.startswith(f"{metric}/") and start is not None and end is not None
        }


def train(family: AnyFamily, overrides: Sequence[str]) -> Trained:
    """Run the training command of ``family`` with ``overrides``, in this process."""
    wall, cpu = time.perf_counter(), time.process_time()
    overrides = (*overrides, *limits())
    loaded = load(family, tuple(overrides), None)
    check_names(family, loaded)
    command = shlex.join([family.command, *overrides])
    print(f"$ {command}", flush=True)
    root = run(family, loaded, argv=shlex.split(command)).root
    return Trained(command, RunFiles(root), time.perf_counter() - wall, time.process_time() - cpu)


def start_and_end(family: AnyFamily, overrides: Sequence[str] = ()) -> StartAndEnd:
    """Measure the network that a training starts from, then train it."""
    overrides = (*overrides, EXPERIMENT)
    return StartAndEnd(train(family, (*overrides, *NOTHING_LEARNED)), train(family, overrides))
