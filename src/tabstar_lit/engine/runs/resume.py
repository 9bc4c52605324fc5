"""Which run, and which checkpoint, the user means to go on with."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from lightning.pytorch.utilities.rank_zero import rank_zero_warn

from tabstar_lit.config import Stage
from tabstar_lit.config.schema import Experiment
from tabstar_lit.config.tree import did_you_mean
from tabstar_lit.engine.runs.directory import RunDirectory, read_run, run_directory
from tabstar_lit.engine.runs.files import is_evaluation
from tabstar_lit.engine.weights.loading import find_checkpoint, latest_checkpoint, progress_in
from tabstar_lit.errors import CheckpointError, RunError

log = logging.getLogger(__name__)


def configured_checkpoint(experiment: Experiment) -> Path | None:
    """Return the file ``load_checkpoint`` names, None when it names nothing.

    Raises
    ------
    CheckpointError
        It is not found, or found more than once.
    """
    name = experiment.model.load_checkpoint
    if name is None:
        return None
    places = run_directory(experiment.experiment_config, experiment.model, "any")
    return find_checkpoint(name, [places.checkpoints.parent.parent])


def find_run(experiment: Experiment, command: str, wanted: str | None) -> tuple[Path, Path | None]:
    """Return the run directory to go on with, and the checkpoint when one was named.

    Parameters
    ----------
    experiment : Experiment
        Its ``save_dir`` and ``experiment_name`` say where to look.
    command : str
        Only runs of this command are candidates.
    wanted : str or None
        A checkpoint file, a run directory, or a run's name; None takes the configured run name, else the newest run.

    Raises
    ------
    RunError
        There is no such run, or it is an evaluation, which trained nothing.
    CheckpointError
        No run knows the checkpoint, or training cannot go on from it.
    """
    root, checkpoint = _find(experiment, command, wanted)
    record = read_run(root / "run.json")
    if is_evaluation(record):
        raise RunError(
            f"The run {root} evaluated a checkpoint and trained nothing, so there is nothing to go on with. Name the "
            "run that trained it. `tabstar_lit runs list` shows what there is."
        )
    if checkpoint is not None:
        progress_in(checkpoint)
    return root, checkpoint


def _find(experiment: Experiment, command: str, wanted: str | None) -> tuple[Path, Path | None]:
    folder = run_directory(experiment.experiment_config, experiment.model, "any").root.parent
    runs = existing_runs(folder)
    wanted = wanted or experiment.experiment_config.run_name
    if wanted is not None and Path(wanted).is_file():
        return _run_of_checkpoint(Path(wanted).absolute(), folder.parent), Path(wanted).absolute()
    if wanted is not None and (Path(wanted) / "run.json").is_file():
        return Path(wanted).absolute(), None
    records = {run: read_run(run / "run.json") for run in runs}
    candidates = [run for run, record in records.items() if record["command"] == command]
    if wanted is None:
        candidates = [run for run in candidates if not is_evaluation(records[run])]
    else:
        candidates = [run for run in candidates if run.name == wanted]
    if not candidates:
        hint = did_you_mean(wanted or "", [run.name for run in runs], n=3)
        what = f"run {wanted!r}" if wanted else f"run of {command}"
        raise RunError(f"No {what} in {folder} to resume.{hint} `tabstar_lit runs list` shows what there is.")
    return candidates[-1], None


def existing_runs(folder: Path) -> list[Path]:
    """Return the run directories directly below ``folder``, oldest first."""
    found = [path.parent for path in folder.glob("*/run.json")]
    return sorted(found, key=lambda run: float(read_run(run / "run.json")["created"]))


def _run_of_checkpoint(checkpoint: Path, save_dir: Path) -> Path:
    for record in save_dir.glob("*/*/run.json"):
        if checkpoint.is_relative_to(read_run(record)["checkpoints_dir"]):
            return record.parent
    raise CheckpointError(
        f"{checkpoint} belongs to no run below {save_dir}, so there is nothing to go on with. To start a new run from "
        "its weights, use model_config.load_modules; to evaluate it, model_config.load_checkpoint."
    )


def is_over(stage: Stage[Any], directory: RunDirectory) -> bool:
    """Say whether a stage needs no more training: it finished, and the configuration now asks for no more epochs."""
    recorded = directory.stage(stage.name)
    if recorded.get("status") != "finished":
        return False
    asked_for = stage.experiment.model.training_config.max_epochs
    over = bool(recorded["stopped_early"]) or asked_for <= recorded["epochs"]
    if over:
        log.info("Stage %s has finished already (%s epochs).", stage.name, recorded["epochs"])
    return over


def resume_point(stage: Stage[Any], directory: RunDirectory, checkpoint: Path | None) -> Path | None:
    """Return the checkpoint a stage goes on from; None when the stage has not written one yet."""
    folder = directory.stage_folder(directory.checkpoints, stage.name)
    if checkpoint is not None and checkpoint.parent == folder:
        return checkpoint
    if stage.name not in directory.record().get("stages", {}):
        return None
    if not any(folder.glob("*.ckpt")):
        rank_zero_warn(f"Stage {stage.name} was stopped before its first checkpoint; it starts at its beginning.")
        return None
    latest = latest_checkpoint(folder)
    for _, reason in latest.skipped:
        rank_zero_warn(f"Left out an unusable checkpoint. {reason}")
    return latest.path
