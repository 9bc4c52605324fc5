"""Where a run keeps its files, for the process that writes them; :mod:`.files` reads them, for everybody."""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from tabstar_lit.config import roots
from tabstar_lit.config.schema import ExperimentConfig, ModelConfig
from tabstar_lit.engine.devices.distributed import RUN_NAME_VARIABLE, gather, has_met, is_main_process
from tabstar_lit.engine.devices.launchers import job_name
from tabstar_lit.engine.runs.records import LOCK_FILE, RUN_FILE, append_record, read_run, writing
from tabstar_lit.errors import RunError, RunWriteError
from tabstar_lit.files import write_text

log = logging.getLogger(__name__)

SCHEMA_VERSION = 1


@dataclass(frozen=True, slots=True)
class RunDirectory:
    """The folders of one run (see the design's section on runs).

    Attributes
    ----------
    root : Path
        ``<save_dir>/<experiment_name>/<run_name>``: configuration, provenance, ``run.json``, metrics, log, report.
    figures : Path
        ``<tracker_path>/<experiment_name>/<run_name>``.
    checkpoints : Path
        ``<model_save_path>/<experiment_name>/<run_name>``.
    mlruns : Path
        ``<save_dir>/mlruns``: the MLflow database and artifacts, shared by all runs below ``save_dir``.
    several_stages : bool
        Whether the experiment has more than one stage, which then have sub-folders for figures and checkpoints.
    """

    root: Path
    figures: Path
    checkpoints: Path
    mlruns: Path
    several_stages: bool = False

    def stage_folder(self, base: Path, stage: str) -> Path:
        """Return where a stage keeps its files below ``base``: a folder of its own only where there are several."""
        return base / stage if self.several_stages else base

    @property
    def mlflow_uri(self) -> str:
        """The SQLite store as MLflow writes it."""
        return f"sqlite:///{self.mlruns / 'mlflow.db'}"

    @property
    def mlflow_artifacts(self) -> str:
        """The folder of MLflow's artifacts, as a URI."""
        return (self.mlruns / "artifacts").as_uri()

    @property
    def run_name(self) -> str:
        """Last part of all three folders."""
        return self.root.name

    def create(self) -> None:
        """Make the folders; a place that cannot be written to is a :class:`RunError` that names it."""
        for folder in (self.root, self.figures, self.checkpoints, self.mlruns):
            try:
                folder.mkdir(parents=True, exist_ok=True)
                probe = folder / f".writable-{os.getpid()}"
                probe.touch()
                probe.unlink()
            except OSError as error:
                raise RunError(
                    f"Cannot write to {folder} ({error.strerror}). Set experiment_config.save_dir, "
                    "experiment_config.tracker_path and training_config.model_save_path to folders you may write to."
                ) from error

    def remove(self) -> None:
        """Delete the run's folders, and those above them that are left empty."""
        for folder in (self.root, self.figures, self.checkpoints):
            shutil.rmtree(folder, ignore_errors=True)
            with suppress(OSError):  # the experiment has other runs
                folder.parent.rmdir()
        with suppress(OSError):  # the tracking store is in use
            self.mlruns.rmdir()

    def record(self) -> dict[str, Any]:
        """Return ``run.json``; empty before the first :meth:`update`."""
        return read_run(self.root) if (self.root / RUN_FILE).exists() else {}

    def update(self, **fields: Any) -> None:
        """Change fields of ``run.json``, replacing the file atomically."""
        self.write(RUN_FILE, json.dumps(self._changed(fields), indent=2) + "\n")

    def update_stage(self, stage: str, **fields: Any) -> None:
        """Change fields of one stage in ``run.json``."""
        stages = self.record().get("stages", {})
        self.update(stages={**stages, stage: {**stages.get(stage, {}), **fields}})

    def stage(self, name: str) -> dict[str, Any]:
        """Return what ``run.json`` says of a stage; empty when it has not begun."""
        fields: dict[str, Any] = self.record().get("stages", {}).get(name, {})
        return fields

    def end(self, status: str) -> None:
        """Record how the run ended, and with it the stage that was going on, if any."""
        stages = self.record().get("stages", {})
        ended = {
            name: {**stage, "status": status} if stage.get("status") == "running" else stage
            for name, stage in stages.items()
        }
        fields = {"stages": ended, "status": status, "ended": time.time()}
        try:
            self.update(**fields)
        except RunWriteError:
            self._overwrite(json.dumps(self._changed(fields), separators=(",", ":")))

    def _changed(self, fields: dict[str, Any]) -> dict[str, Any]:
        return {"schema_version": SCHEMA_VERSION, **self.record(), **fields}

    def _overwrite(self, text: str) -> None:
        """Write the record over the old one where a full disk has no room beside it; without indents it is shorter."""
        path = self.root / RUN_FILE
        with suppress(OSError), path.open("r+b") as file:
            room = path.stat().st_size
            if len(new := text.encode()) <= room:
                file.write(new.ljust(room))
                return
        log.warning("%s cannot be written and is as it was before the run ended.", path)

    def write(self, name: str, text: str) -> None:
        """Write a text file of the run directory, whole or not at all.

        Raises
        ------
        RunWriteError
            The disk is full or gone; the file of before is unchanged.
        """
        with writing(self.root / name):
            write_text(self.root / name, text)

    def append(self, name: str, entry: dict[str, Any]) -> None:
        """Append one line to a JSON Lines file of the run directory, see :func:`append_record`."""
        append_record(self.root / name, entry)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Make the folders and hold the run for this process; a second one is refused."""
        self.create()
        lock = FileLock(self.root / LOCK_FILE)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise RunError(
                f"Another process is writing the run {self.root}. Wait for it, or give this run another "
                "experiment_config.run_name."
            ) from None
        try:
            yield
        finally:
            lock.release()


def run_directory(
    experiment: ExperimentConfig, model: ModelConfig, run_name: str, *, several_stages: bool = False
) -> RunDirectory:
    """Return the folders of a run from the configured places and their defaults."""
    places = roots()
    save_dir = Path(experiment.save_dir) if experiment.save_dir else places.logs
    results = Path(experiment.tracker_path) if experiment.tracker_path else places.results
    saved = model.training_config.model_save_path
    models = Path(saved) if saved else places.models / "checkpoints"
    below = Path(experiment.experiment_name) / run_name
    return RunDirectory(
        root=(save_dir / below).absolute(),
        figures=(results / below).absolute(),
        checkpoints=(models / below).absolute(),
        mlruns=(save_dir / "mlruns").absolute(),
        several_stages=several_stages,
    )


def choose_run_name(experiment: ExperimentConfig, model: ModelConfig) -> str:
    """Return the configured run name, or a new one from the model's name and the time or the job.

    All processes of a run return the same: those of a job that has a name call the run after it, also when the job
    begins anew; those that have met take the first one's, and those that the first one launched find it in their
    environment.

    Raises
    ------
    RunError
        This is one of several processes that were started separately and have nothing in common.
    """
    if experiment.run_name:
        return experiment.run_name
    stem, main = re.sub(r"[^A-Za-z0-9_.-]", "-", model.name), is_main_process()
    if (job := job_name()) is not None:
        return f"{stem}_{job}"
    if has_met():
        return "".join(gather(_new_name(stem, experiment, model) if main else ""))
    return _new_name(stem, experiment, model) if main else _inherited_run_name()


def _new_name(stem: str, experiment: ExperimentConfig, model: ModelConfig) -> str:
    stem = f"{stem}_{time.strftime('%Y%m%d-%H%M%S')}"
    name, number = stem, 1
    while run_directory(experiment, model, name).root.exists():
        number += 1
        name = f"{stem}-{number}"
    return name


def _inherited_run_name() -> str:
    name = os.environ.get(RUN_NAME_VARIABLE)
    if name is None:
        raise RunError(
            "The processes of this run were started separately, so they cannot agree on an automatic name. Set "
            "experiment_config.run_name."
        )
    return name
