"""A run from the first line to the report: open its directory, train every stage, write what came of it."""

from __future__ import annotations

import logging
import os
import secrets
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from lightning.pytorch.utilities.rank_zero import rank_zero_warn

from tabstar_lit.config import Loaded, Stage, provenance, to_yaml
from tabstar_lit.engine.checkpoints import latest_checkpoint
from tabstar_lit.engine.distributed import is_main_process
from tabstar_lit.engine.family import AnyFamily
from tabstar_lit.engine.logs import logging_to
from tabstar_lit.engine.provenance import describe_program
from tabstar_lit.engine.report import write_report
from tabstar_lit.engine.run_directory import RUN_NAME_VARIABLE, RunDirectory, choose_run_name, run_directory
from tabstar_lit.engine.stages import evaluate_stage, parent_run, run_stage
from tabstar_lit.errors import RunError, RunInterrupted

log = logging.getLogger(__name__)


def run(
    family: AnyFamily,
    loaded: Loaded[Any],
    *,
    argv: Sequence[str] = (),
    resume: bool = False,
    checkpoint: Path | None = None,
) -> RunDirectory:
    """Train all stages of an experiment and report on them.

    Parameters
    ----------
    family : Family
        Builds data, module and tracker of every stage.
    loaded : Loaded
        The composed and validated experiment.
    argv : sequence of str
        The command line, for the record.
    resume : bool
        Go on in the run directory the configuration names instead of beginning there.
    checkpoint : Path or None
        With ``resume``: go on from this file instead of the newest one.

    Returns
    -------
    RunDirectory
        Where everything is.

    Raises
    ------
    TabstarLitError
        Bad input, or a run that failed for a reason the user can act on.
    RunInterrupted
        A signal came; the run has been saved.
    """
    directory = open_directory(family, loaded, argv, resume=resume)
    with exclusive(directory), logging_to(directory, loaded.experiment.min_logging_level), ending(directory):
        log.info("Run %s in %s", directory.run_name, directory.root)
        seed = directory.record()["seed"]
        with parent_run(loaded.experiment, directory):
            for stage in loaded.stages:
                if not is_over(stage, directory):
                    start = resume_point(stage, directory, checkpoint) if resume else None
                    run_stage(family, stage, directory, seed=seed, resume=start)
    report(directory)
    return directory


def evaluate(family: AnyFamily, loaded: Loaded[Any], checkpoint: Path, *, argv: Sequence[str] = ()) -> RunDirectory:
    """Run the test stage of a trained model: metrics and figures, no training.

    Parameters
    ----------
    family, loaded, argv
        As in :func:`run`; the last stage's configuration is used.
    checkpoint : Path
        The weights; they must fit the configured model.
    """
    directory = open_directory(family, loaded, argv, resume=False)
    with exclusive(directory), logging_to(directory, loaded.experiment.min_logging_level), ending(directory):
        evaluate_stage(family, loaded.stages[-1], directory, checkpoint, seed=directory.record()["seed"])
    report(directory)
    return directory


# -- the run directory -------------------------------------------------------------------------------------------------


def open_directory(family: AnyFamily, loaded: Loaded[Any], argv: Sequence[str], *, resume: bool) -> RunDirectory:
    """Create the run's folders and write down what is about to be run, or open those of a run to go on with."""
    experiment = loaded.experiment
    name = choose_run_name(experiment.experiment_config, experiment.model)
    directory = run_directory(
        experiment.experiment_config, experiment.model, name, several_stages=len(loaded.stages) > 1
    )
    if not is_main_process():
        return directory
    os.environ[RUN_NAME_VARIABLE] = name
    directory.create()
    record = directory.record()
    begun = [stage.name for stage in loaded.stages if stage.name in record.get("stages", {})]
    if begun and not resume:
        raise RunError(
            f"The run {directory.root} exists already (stages: {', '.join(begun)}). Add --resume to go on with it, or "
            "choose another experiment_config.run_name."
        )
    now = time.time()
    created = {
        "experiment_name": experiment.experiment_config.experiment_name,
        "run_name": name,
        "family": family.name,
        "command": family.command,
        "created": now,
        "seed": secrets.randbits(31)
        if experiment.experiment_config.seed is None
        else experiment.experiment_config.seed,
        "figures_dir": str(directory.figures),
        "checkpoints_dir": str(directory.checkpoints),
        "stages": {},
    }
    resumed = [*record.get("resumed", []), *([{"time": now, "argv": list(argv)}] if record else [])]
    directory.update(**{**created, **record, **describe_program(argv), "status": "running", "resumed": resumed})
    directory.write("config.yaml", to_yaml(loaded.tree))
    directory.write("provenance.yaml", yaml.safe_dump(provenance(loaded.tree), sort_keys=False))
    return directory


@contextmanager
def exclusive(directory: RunDirectory) -> Iterator[None]:
    """Hold the run directory; the other ranks of a run work in it under the first one's lock."""
    if not is_main_process():
        yield
        return
    with directory.lock():
        yield


@contextmanager
def ending(directory: RunDirectory) -> Iterator[None]:
    """Record how the run ended."""
    status = "failed"
    try:
        yield
        status = "finished"
    except (RunInterrupted, KeyboardInterrupt):
        status = "interrupted"
        raise
    finally:
        if is_main_process():
            directory.update(status=status, ended=time.time())
            log.info("Run %s %s", directory.run_name, status)


def report(directory: RunDirectory) -> None:
    """Write ``report.md`` once the run is over."""
    if is_main_process():
        write_report(directory)


# -- going on ----------------------------------------------------------------------------------------------------------


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
