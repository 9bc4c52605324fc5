"""A run from the first line to the report: open its directory, train every stage, write what came of it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback

from tabstar_lit.config import Loaded
from tabstar_lit.engine.family import AnyFamily
from tabstar_lit.engine.runs.directory import RunDirectory
from tabstar_lit.engine.runs.opening import opened
from tabstar_lit.engine.runs.resume import is_over, resume_point
from tabstar_lit.engine.runs.signals import heed
from tabstar_lit.engine.stages import evaluate_stage, parent_run, run_stage


def run(
    family: AnyFamily,
    loaded: Loaded[Any],
    *,
    argv: Sequence[str] = (),
    resume: bool = False,
    checkpoint: Path | None = None,
    parent_run_id: str | None = None,
    watch: Callback | None = None,
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
    parent_run_id : str or None
        MLflow run that this whole run stands under, such as that of a study.
    watch : Callback or None
        A further callback of the last stage.

    Returns
    -------
    RunDirectory
        Where everything is.

    Raises
    ------
    TabstarLitError
        Bad input, or a run that failed for a reason the user can act on.
    RunInterrupted
        A signal came; its ``prospect`` says what can be gone on with.
    """
    with opened(family, loaded, argv, resume=resume) as directory:
        seed = directory.record()["seed"]
        with parent_run(loaded.experiment, directory, parent_run_id) as above:
            for stage in loaded.stages:
                heed()
                if not is_over(stage, directory):
                    start = resume_point(stage, directory, checkpoint) if resume else None
                    further = (watch,) if watch is not None and stage is loaded.stages[-1] else ()
                    run_stage(family, stage, directory, seed=seed, resume=start, parent_run_id=above, callbacks=further)
    return directory


def evaluate(family: AnyFamily, loaded: Loaded[Any], checkpoint: Path, *, argv: Sequence[str] = ()) -> RunDirectory:
    """Run the test stage of a trained model: metrics and figures, no training.

    Parameters
    ----------
    family, loaded, argv
        As in :func:`run`; the last stage's configuration is used.
    checkpoint : Path
        The weights; they must fit the configured model.

    Returns
    -------
    RunDirectory
        Where everything is.
    """
    with opened(family, loaded, argv, evaluates=checkpoint) as directory:
        evaluate_stage(family, loaded.stages[-1], directory, checkpoint, seed=directory.record()["seed"])
    return directory
