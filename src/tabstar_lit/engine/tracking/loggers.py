"""Where a run's metrics go: its own ``metrics.jsonl``, and a copy in a tracking service."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from lightning.pytorch.loggers.logger import Logger

from tabstar_lit.config import Problem, redact
from tabstar_lit.config.load import API_KEY_VARIABLE
from tabstar_lit.engine.runs.records import CONFIG_FILE
from tabstar_lit.engine.tracking.jsonl import JsonlLogger
from tabstar_lit.engine.tracking.mlflow import MlflowLogger
from tabstar_lit.engine.tracking.origin import origin_of

if TYPE_CHECKING:
    from tabstar_lit.config.schema import Experiment
    from tabstar_lit.engine.runs.directory import RunDirectory
    from tabstar_lit.engine.tracking.comet import CometLogger
    from tabstar_lit.engine.tracking.services import ServiceLogger

TRACKER = ("experiment_config", "tracker")


def check_tracker(experiment: Experiment) -> Iterator[Problem]:
    """Yield what keeps the configured tracker from being used: its package is missing, or its server wants a key."""
    from tabstar_lit.engine.tracking.services import missing_package

    tracker = chosen_tracker(experiment)
    if (missing := missing_package(tracker)) is not None:
        yield Problem(TRACKER, f"tracker '{tracker}' {missing}. 'mlflow' needs nothing.")
    elif tracker == "comet" and comet_key(experiment) is None and _comet_is_online():
        yield Problem(
            TRACKER,
            f"tracker 'comet' needs a key: set the variable {API_KEY_VARIABLE}, or COMET_START_ONLINE=0 to write an "
            "archive for later. 'mlflow' needs nothing.",
        )
    elif tracker == "wandb" and not _has_wandb_key():
        yield Problem(
            TRACKER,
            "tracker 'wandb' needs a key: type `wandb login`, set the variable WANDB_API_KEY, or WANDB_MODE=offline to "
            "keep the run here for `wandb sync`. 'mlflow' needs nothing.",
        )


def _comet_is_online() -> bool:
    from tabstar_lit.engine.tracking.comet import wants_online

    return wants_online()


def _has_wandb_key() -> bool:
    if os.environ.get("WANDB_MODE", "online") != "online" or os.environ.get("WANDB_API_KEY"):
        return True
    from tabstar_lit.engine.tracking.services import wandb_package

    return bool(wandb_package().api.api_key)  # an empty variable is no key


def chosen_tracker(experiment: Experiment) -> str:
    """Return the service by name, or ``none``; ``auto`` is Comet where there is a key, else MLflow."""
    tracker = experiment.experiment_config.tracker
    if tracker == "auto":
        return "mlflow" if comet_key(experiment) is None else "comet"
    return tracker


def build_loggers(
    experiment: Experiment,
    run: RunDirectory,
    *,
    stage: str,
    parent_run_id: str | None = None,
    resume_run_id: str | None = None,
    resume_step: int | None = None,
) -> list[Logger]:
    """Return the started loggers of one stage: ``metrics.jsonl``, then the one of ``experiment_config.tracker``.

    Parameters
    ----------
    experiment : Experiment
        Gives the tracker, the names, the Comet key and project, and whether to log system metrics. Its
        parameters are logged without secrets.
    run : RunDirectory
        Its ``config.yaml`` is uploaded when it is there.
    stage : str
        Name of the stage.
    parent_run_id : str or None
        MLflow run that the stage belongs to (see :func:`start_parent`); None makes the stage's run the run
        itself.
    resume_run_id : str or None
        Id of the tracked run to go on with.
    resume_step : int or None
        Optimizer steps inside the resumed checkpoint (its ``global_step``): metrics up to it are kept, later
        ones are about to be logged again. None when the stage starts anew.

    Returns
    -------
    list of Logger
        For ``Trainer(logger=...)``. End them with :func:`finish_loggers`.
    """
    local = JsonlLogger(run.root, stage=stage, resume_step=resume_step)
    tracking = _tracking_logger(
        experiment, run, stage, parent_run_id=parent_run_id, run_id=resume_run_id, step=resume_step
    )
    if tracking is None:
        local.start()
        return [local]
    tracking.start()
    local.start()
    if isinstance(tracking, MlflowLogger) and resume_run_id is not None and resume_step is not None:
        tracking.backfill(local.path, stage, resume_step)
    tracking.log_hyperparams(redact(experiment.model_dump(by_alias=True)))
    config = run.root / CONFIG_FILE
    if config.exists() and hasattr(tracking, "log_file"):
        tracking.log_file(config, CONFIG_FILE)
    return [local, tracking]


def start_parent(
    experiment: Experiment,
    run: RunDirectory,
    *,
    resume_run_id: str | None = None,
    parent_run_id: str | None = None,
) -> MlflowLogger | None:
    """Start the MLflow run that the stages' runs stand under; None without MLflow: Comet has no such thing.

    Its ``run_id`` is the ``parent_run_id`` of the stages; end it with :func:`finish_loggers`.
    """
    if chosen_tracker(experiment) != "mlflow":
        return None
    parent = _mlflow_logger(experiment, run, run.root.name, parent_run_id, resume_run_id, system_metrics=False)
    parent.start()
    parent.log_origin(origin_of(experiment, run))
    return parent


def log_origin(loggers: Iterable[Logger], experiment: Experiment, run: RunDirectory, stage: str) -> None:
    """Tell the tracking service where a stage comes from, once ``run.json`` says on which data and device it is."""
    origin = origin_of(experiment, run, stage)
    for logger in loggers:
        if hasattr(logger, "log_origin"):
            logger.log_origin(origin)


def finish_loggers(loggers: Iterable[Logger | None], status: str) -> None:
    """End the tracking runs as ``finished``, ``failed`` or ``interrupted`` and send everything that waits."""
    for logger in loggers:
        if logger is not None and hasattr(logger, "finish"):
            logger.finish(status)


def tracking_run_id(loggers: Iterable[Logger]) -> str | None:
    """Return the id of the tracked run among ``loggers``; None when the service could not be had."""
    ids = [getattr(logger, "run_id", None) for logger in loggers]
    return next((run_id for run_id in ids if run_id is not None), None)


def comet_key(experiment: Experiment) -> str | None:
    """Return the Comet key, which the configuration takes from the variable ``COMET_API_KEY`` where it is left out."""
    key = experiment.experiment_config.comet_api_key
    return None if key is None else key.get_secret_value() or None


def _tracking_logger(
    experiment: Experiment,
    run: RunDirectory,
    stage: str,
    *,
    parent_run_id: str | None,
    run_id: str | None,
    step: int | None,
) -> MlflowLogger | CometLogger | ServiceLogger | None:
    tracker = chosen_tracker(experiment)
    if tracker == "none":
        return None
    name = f"{run.root.name}/{stage}" if run.several_stages else run.root.name
    if tracker == "comet":
        return _comet_logger(experiment, run, stage, run_id)
    if tracker in ("tensorboard", "wandb"):
        from tabstar_lit.engine.tracking.services import tensorboard_logger, wandb_logger

        if tracker == "tensorboard":
            return tensorboard_logger(run.root / "tensorboard", stage, step)
        config = experiment.experiment_config
        return wandb_logger(
            run.root,
            project=config.experiment_name,
            run_name=name,
            run_id=run_id,
            system_metrics=config.log_system_metrics,
        )
    logger = _mlflow_logger(
        experiment,
        run,
        name,
        parent_run_id,
        run_id,
        system_metrics=experiment.experiment_config.log_system_metrics,
    )
    logger.tags["tabstar_lit.stage"] = stage
    return logger


def _mlflow_logger(
    experiment: Experiment,
    run: RunDirectory,
    name: str,
    parent_run_id: str | None,
    run_id: str | None,
    *,
    system_metrics: bool,
) -> MlflowLogger:
    return MlflowLogger(
        uri=run.mlflow_uri,
        artifacts=str(run.mlflow_artifacts),
        experiment_name=experiment.experiment_config.experiment_name,
        run_name=name,
        run_id=run_id,
        parent_run_id=parent_run_id,
        tags={"tabstar_lit.run_directory": str(run.root)},
        monitor=experiment.model.training_config.monitor,
        system_metrics=system_metrics,
    )


def _comet_logger(experiment: Experiment, run: RunDirectory, stage: str, run_id: str | None) -> CometLogger:
    from tabstar_lit.engine.tracking.comet import CometLogger, offline_directory, wants_online

    settings = experiment.experiment_config
    return CometLogger(
        api_key=comet_key(experiment),
        project=settings.comet_project_name,
        run_name=f"{run.root.name}/{stage}" if len(experiment.stages) > 1 else run.root.name,
        offline_directory=offline_directory(run.root),
        online=wants_online(),
        experiment_key=run_id,
        tags={"experiment_name": settings.experiment_name, "run_name": run.root.name, "stage": stage},
        system_metrics=settings.log_system_metrics,
    )
