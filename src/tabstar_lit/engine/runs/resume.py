"""Which run, and which checkpoint, the user means to go on with."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from lightning.pytorch.utilities.rank_zero import rank_zero_warn

from tabstar_lit.config import Stage
from tabstar_lit.config.schema import Experiment
from tabstar_lit.engine.callbacks.checkpoints import entry_of
from tabstar_lit.engine.runs.directory import RunDirectory, run_directory
from tabstar_lit.engine.runs.files import RunFiles, find_run, in_order, is_evaluation, run_directories
from tabstar_lit.engine.weights.files import require_intact
from tabstar_lit.engine.weights.loading import Latest, find_checkpoint, latest_checkpoint, progress_in
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


def run_to_resume(experiment: Experiment, command: str, wanted: str | None) -> tuple[Path, Path | None]:
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
        There is no such run, it is one of another command, or an evaluation, which trained nothing.
    CheckpointError
        No run knows the checkpoint, or training cannot go on from it.
    """
    folder = run_directory(experiment.experiment_config, experiment.model, "any").root.parent
    wanted = wanted or experiment.experiment_config.run_name
    checkpoint = Path(wanted).absolute() if wanted is not None and Path(wanted).is_file() else None
    if checkpoint is not None:
        run = _run_of_checkpoint(checkpoint, folder.parent)
    elif wanted is not None:
        run = find_run(wanted, folder.parent, folder.name)
    else:
        run = _newest_run(folder, command)
    trained_by = run.record.get("command")
    if trained_by != command:
        raise RunError(f"The run {run.root} is one of {trained_by}, so {command} cannot go on with it.")
    if is_evaluation(run.record):
        raise RunError(
            f"The run {run.root} evaluated a checkpoint and trained nothing, so there is nothing to go on with. Name "
            "the run that trained it. `tabstar_lit runs list` shows what there is."
        )
    if checkpoint is not None:
        progress_in(checkpoint)
        require_intact(checkpoint)
    return run.root, checkpoint


def _newest_run(folder: Path, command: str) -> RunFiles:
    runs = in_order(run_directories(folder.parent, folder.name))
    candidates = [run for run in runs if run.record.get("command") == command and not is_evaluation(run.record)]
    if not candidates:
        raise RunError(f"No run of {command} in {folder} to resume. `tabstar_lit runs list` shows what there is.")
    return candidates[-1]


def _run_of_checkpoint(checkpoint: Path, save_dir: Path) -> RunFiles:
    for run in in_order(run_directories(save_dir)):
        folder = run.record.get("checkpoints_dir")
        if isinstance(folder, str) and checkpoint.is_relative_to(folder):
            return run
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
    latest = _latest(folder)
    if latest is None:
        rank_zero_warn(f"Stage {stage.name} was stopped before its first checkpoint; it starts at its beginning.")
        return None
    for _, reason in latest.skipped:
        rank_zero_warn(f"Left out an unusable checkpoint. {reason}")
    return latest.path


def _latest(folder: Path) -> Latest | None:
    """Return the checkpoint with the most training in it; None where there is no file at all."""
    return latest_checkpoint(folder) if any(folder.glob("*.ckpt")) else None


def prospect(stages: Sequence[Stage[Any]], directory: RunDirectory) -> str:
    """Say what ``--resume`` would do with the run now, from what is on the disk and not from what was meant to be."""
    finished = [stage.name for stage in stages if directory.stage(stage.name).get("status") == "finished"]
    ahead = next((stage.name for stage in stages if stage.name not in finished), None)
    if ahead is None:
        return "all stages have finished, --resume writes the report"
    try:
        latest = _latest(directory.stage_folder(directory.checkpoints, ahead)) if directory.stage(ahead) else None
    except CheckpointError as error:
        return f"--resume has nothing to go on from. {error}"
    if latest is not None:
        return f"--resume goes on from {latest.path.name}, step {progress_in(latest.path)[0]} of stage {ahead}"
    before = f"stage {finished[-1]} has finished" if finished else "no checkpoint has been written yet"
    return f"{before}, --resume starts stage {ahead} at its beginning"


def unrecorded(stage: Stage[Any], directory: RunDirectory) -> Iterator[dict[str, Any]]:
    """Yield an entry for each checkpoint of a stage that a killed process wrote and had no time to write down."""
    folder = directory.stage_folder(directory.checkpoints, stage.name)
    lines = RunFiles(directory.root).checkpoints
    known = {line.get("path") for line in lines if line.get("stage") == stage.name}
    entries = [
        entry
        for path in folder.glob("*.ckpt")
        if path.name not in known
        and (entry := entry_of(path, stage.experiment.model.training_config.monitor)) is not None
    ]
    for entry in sorted(entries, key=lambda entry: float(entry["time"])):
        yield {"stage": stage.name, **entry}
