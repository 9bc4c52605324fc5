"""One stage: a single ``Trainer.fit``, from opened data to recorded best checkpoint."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.loggers import Logger

from tabstar_lit.config import Problem, Stage, raise_problems
from tabstar_lit.config.schema import Experiment
from tabstar_lit.config.tree import Path_
from tabstar_lit.engine.averaging import average_best
from tabstar_lit.engine.callbacks.checkpoints import Checkpoints
from tabstar_lit.engine.callbacks.interrupt import Interrupt
from tabstar_lit.engine.callbacks.monitor import TRAINING, doubtful_mode, is_loss, losses_of
from tabstar_lit.engine.callbacks.seeding import StepNoise, seed_generators
from tabstar_lit.engine.data import DataModule
from tabstar_lit.engine.devices.distributed import is_main_process
from tabstar_lit.engine.devices.hardware import hardware_of, what_changed
from tabstar_lit.engine.family import AnyFamily
from tabstar_lit.engine.lean import spared_by_the_collector
from tabstar_lit.engine.module import TrainingModule
from tabstar_lit.engine.runs.directory import RunDirectory
from tabstar_lit.engine.runs.records import CHECKPOINTS_FILE, METRICS_FILE
from tabstar_lit.engine.runs.resume import unrecorded
from tabstar_lit.engine.runs.signals import signals
from tabstar_lit.engine.tracker import Tracker
from tabstar_lit.engine.tracking.gallery import Look
from tabstar_lit.engine.tracking.loggers import build_loggers, finish_loggers, log_origin, start_parent, tracking_run_id
from tabstar_lit.engine.trainer import build_callbacks, build_trainer
from tabstar_lit.engine.weights.files import CHECKPOINT_KEY, read_checkpoint
from tabstar_lit.engine.weights.loading import find_checkpoint, load_strict, network_weights, require_finite
from tabstar_lit.engine.weights.transfer import transfer_modules
from tabstar_lit.errors import CheckpointError, RunInterrupted
from tabstar_lit.files import flush_to_disk
from tabstar_lit.plots.style import style_of

log = logging.getLogger(__name__)

STOPPING = "the run stops after this step, or after the validation that is going on, and saves."
"""When a signal in a training is heeded."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What a family built for one stage."""

    data: DataModule
    module: TrainingModule
    tracker: Tracker


def build_parts(
    family: AnyFamily, stage: Stage[Any], run: RunDirectory, seed: int, scratch: Path | None = None
) -> Parts:
    """Open the data, build module and tracker, and load the modules the stage starts from."""
    experiment = with_earlier(stage.experiment, run)
    seed_generators(seed)
    torch.set_float32_matmul_precision(experiment.experiment_config.float32_matmul_precision)
    data = family.data(experiment, seed, scratch)
    module = family.module(experiment, data)
    transferred = transfer_modules(
        module.network,
        experiment.model.load_modules,
        lambda source: resolve_weights(source, run),
        strict=experiment.model.strict,
    )
    for line in (*transferred, str(module.freeze_report)):
        log.info(line)
    tracker = family.tracker(experiment, data, run.stage_folder(run.figures, stage.name))
    tracker.dress(look_of(stage, run))
    raise_problems(stage.tree, list(_unknown_monitors(experiment, tracker)))
    for line in doubtful_mode(experiment.model.training_config, tracker.larger_is_better()):
        log.warning("%s", line)
    return Parts(data, module, tracker)


def look_of(stage: Stage[Any], run: RunDirectory) -> Look:
    """Return the look of the figures of a stage."""
    config = stage.experiment.experiment_config
    parts = (run.root.parent.name, run.run_name, *((stage.name,) if run.several_stages else ()))
    data = stage.experiment.dataset_config.name
    return Look("/".join(parts), data, config.figure_formats, style_of(config.plot_style))


def _unknown_monitors(experiment: Experiment, tracker: Tracker) -> Iterator[Problem]:
    """Give the monitored metrics that will never be computed, where the tracker knows its own."""
    names, terms = tracker.monitorable(), experiment.model.loss_terms()
    if names is None:
        return
    own = names if tracker.check_every is not None else ()
    known = (*losses_of(terms), *(f"val_{name}" for name in own))
    training = experiment.model.training_config
    scheduler = training.scheduler
    monitors: list[tuple[Path_, str]] = [((*TRAINING, "monitor"), training.monitor)]
    if scheduler is not None and scheduler.monitor is not None:
        monitors.append(((*TRAINING, "scheduler", "monitor"), scheduler.monitor))
    for path, monitor in monitors:
        if monitor not in known and not is_loss(monitor, terms):
            hint = "" if own else " Metrics are switched off: set experiment_config.check_metrics_n_epoch."
            yield Problem(path, f"no metric is called {monitor!r}.{hint}", known)


def with_earlier(experiment: Experiment, run: RunDirectory) -> Any:
    """Return the experiment with a path for every trained model it names, see :meth:`Experiment.earlier`."""
    named = {key: source for key, source in experiment.earlier().items() if source is not None}
    if not named:
        return experiment
    paths = {key: str(resolve_weights(source, run, f"model_config.{key}")) for key, source in named.items()}
    return experiment.model_copy(update={"model": experiment.model.model_copy(update=paths)})


def resolve_weights(source: str, run: RunDirectory, key: str = "load_modules") -> Path:
    """Return the checkpoint that ``key`` means by ``source``: a finished stage of this run, or a file.

    Of a stage it is the best by the metric it was to monitor, as the run recorded it.

    Raises
    ------
    CheckpointError
        The stage has not finished or kept no best checkpoint, or there is no such file.
    """
    stages = run.record().get("stages", {})
    if source not in stages:
        try:
            return find_checkpoint(source, [run.checkpoints, run.checkpoints.parent.parent])
        except CheckpointError as error:
            trained = f"this run has trained {', '.join(stages)}" if stages else "this run has trained no stage yet"
            raise CheckpointError(f"{key}: {source!r} is no stage ({trained}) and no file. {error}") from error
    best = stages[source].get("best_checkpoint")
    if stages[source].get("status") != "finished":
        raise CheckpointError(f"{key}: the stage {source!r} of this run has not finished; train it first.")
    if best is None:
        raise CheckpointError(f"{key}: the stage {source!r} of this run kept no best checkpoint; save_top_k is 0.")
    return run.checkpoints / str(best)


def run_stage(
    family: AnyFamily,
    stage: Stage[Any],
    run: RunDirectory,
    *,
    seed: int,
    resume: Path | None,
    parent_run_id: str | None = None,
    callbacks: Sequence[Callback] = (),
) -> None:
    """Train one stage to its end, or go on from ``resume``, and record the outcome in ``run.json``.

    The tracked run stands under ``parent_run_id``; ``callbacks`` come after the engine's own.
    """
    log.info("Stage %s: %s", stage.name, f"going on from {resume.name}" if resume else "starting")
    parts = build_parts(family, stage, run, seed)
    if parts.data.about:
        log.info("Stage %s: %s", stage.name, parts.data.about)
    checkpoints = Checkpoints(
        run.stage_folder(run.checkpoints, stage.name),
        run.run_name,
        stage.experiment.model.training_config,
        record=lambda entry: _record_checkpoint(run, {"stage": stage.name, **entry}),
        metrics_every=stage.experiment.experiment_config.check_metrics_n_epoch,
    )
    parts.module.metrics_every = stage.experiment.experiment_config.check_metrics_n_epoch
    begun_with = run.stage(stage.name).get("data_fingerprint")
    if begun_with not in (None, parts.data.fingerprint) and begun_with not in parts.data.earlier_fingerprints:
        log.warning("The data is not what this run was begun with: it will not end as an unbroken run would.")
    with signals.deferred(STOPPING), stage_loggers(stage, run, resume, parent_run_id) as loggers:
        own = build_callbacks(stage.experiment, parts.tracker, checkpoints, seed)
        trainer = build_trainer(stage.experiment, run, parts.module, loggers=loggers, callbacks=[*own, *callbacks])
        parts.module.plan_steps(parts.data.batches_per_epoch(trainer.world_size))
        if trainer.is_global_zero:
            monitor = stage.experiment.model.training_config.monitor
            _record_hardware(run, hardware_of(trainer))
            better = sorted(parts.tracker.larger_is_better())
            run.update_stage(stage.name, monitor=monitor, larger_is_better=better, **_about_data(parts.data))
            log_origin(loggers, stage.experiment, run, stage.name)
            for entry in unrecorded(stage, run) if resume else ():
                run.append(CHECKPOINTS_FILE, entry)
        with signals.blocked() if trainer.world_size > 1 else nullcontext(), spared_by_the_collector():
            trainer.fit(parts.module, datamodule=parts.data, ckpt_path=resume, weights_only=True)
        notes, result = list(parts.tracker.notes()), outcome(trainer, checkpoints, run)
        result |= _average(stage, run, parts, checkpoints, seed)
        if stage.experiment.experiment_config.test_after_fit:
            best = result["best_checkpoint"]
            parts.tracker.weights_of = max(trainer.current_epoch - 1, 0) if best is None else result["best_epoch"]
            result |= evaluate_best(trainer, parts, None if best is None else run.checkpoints / best)
        if trainer.is_global_zero:
            for note in notes:
                log.warning("Stage %s: %s", stage.name, note)
            run.update_stage(stage.name, notes=notes, figures=parts.tracker.drawn, **result)


def _average(stage: Stage[Any], run: RunDirectory, parts: Parts, checkpoints: Checkpoints, seed: int) -> dict[str, Any]:
    """Return what changes in the outcome where the mean of the best weights is better than the best."""
    mean, monitor = average_best(checkpoints), checkpoints.training.monitor
    if mean is None:
        return {}
    load_weights_of(parts.module, mean.path)
    tracker = parts.tracker
    every = tracker.check_every, tracker.plot_every
    tracker.check_every, tracker.plot_every = 1, None
    callbacks = [StepNoise(seed), parts.tracker, Interrupt()]
    trainer = build_trainer(stage.experiment, run, parts.module, loggers=[], callbacks=callbacks)
    with signals.blocked() if trainer.world_size > 1 else nullcontext():
        trainer.validate(parts.module, datamodule=parts.data, verbose=False)
    tracker.check_every, tracker.plot_every = every
    entry = mean.entry(checkpoints.training, float(trainer.callback_metrics[monitor]), checkpoints.best[0].score)
    if entry is None:
        return {}
    if trainer.is_global_zero:
        _record_checkpoint(run, {"stage": stage.name, **entry})
    path = mean.path.relative_to(run.checkpoints).as_posix()
    return {"best_score": entry["score"], "best_checkpoint": path, "averaged_epochs": list(mean.epochs)}


def evaluate_best(trainer: Trainer, parts: Parts, best: Path | None) -> dict[str, Any]:
    """Return what ``run.json`` keeps of a test of the best checkpoint, or of the last weights where none was kept."""
    log.info(
        "%s", load_weights_of(parts.module, best) if best else "No checkpoint was kept: the last weights are tested"
    )
    if parts.data.test_side != "test":
        log.warning("The data has no test side: test_after_fit evaluates the %s rows.", parts.data.test_side)
    return tested(trainer, parts)


def tested(trainer: Trainer, parts: Parts) -> dict[str, Any]:
    """Run the test stage and return its scores, and which rows it tested."""
    with signals.blocked() if trainer.world_size > 1 else nullcontext():
        trainer.test(parts.module, datamodule=parts.data, verbose=False)
    scores = {name: float(value) for name, value in trainer.callback_metrics.items()}
    log.info("%s", "  ".join(f"{name} {value:.4g}" for name, value in scores.items()))
    return {"test": scores, "test_side": parts.data.test_side}


def _about_data(data: DataModule) -> dict[str, Any]:
    """Return what ``run.json`` keeps of the data of a stage."""
    about = {"about": data.about} if data.about else {}
    earlier = {"earlier_data_fingerprints": list(data.earlier_fingerprints)} if data.earlier_fingerprints else {}
    return {"data_fingerprint": data.fingerprint, **earlier, **about}


def _record_hardware(run: RunDirectory, now: dict[str, Any]) -> None:
    """Write down what the run is trained on, and say so where that is not what it was trained on so far."""
    record = run.record()
    before = record.get("hardware")
    if before is not None and (change := what_changed({"torch": record["versions"]["torch"], **before}, now)):
        log.warning("%s", change)
    run.update(hardware=now)


def _record_checkpoint(run: RunDirectory, entry: dict[str, Any]) -> None:
    """Write down a checkpoint when the disk has the metrics that go with it."""
    flush_to_disk(run.root / METRICS_FILE)
    run.append(CHECKPOINTS_FILE, entry)


def evaluate_stage(family: AnyFamily, stage: Stage[Any], run: RunDirectory, checkpoint: Path, *, seed: int) -> None:
    """Run the test stage on the weights of ``checkpoint``."""
    parts = build_parts(family, stage, run, seed)
    log.info("%s", load_weights_of(parts.module, checkpoint))
    callbacks = [StepNoise(seed), parts.tracker, Interrupt()]
    with stage_loggers(stage, run, None) as loggers:
        trainer = build_trainer(stage.experiment, run, parts.module, loggers=loggers, callbacks=callbacks)
        if trainer.is_global_zero:
            run.update(hardware=hardware_of(trainer))
            run.update_stage(stage.name, **_about_data(parts.data))
            log_origin(loggers, stage.experiment, run, stage.name)
        scores = tested(trainer, parts)
        if trainer.is_global_zero:
            of = {"evaluated": str(checkpoint.absolute()), "figures": parts.tracker.drawn}
            with signals.deferred():
                run.update_stage(stage.name, status="finished", **scores, **of)


def load_weights_of(module: TrainingModule, checkpoint: Path) -> str:
    """Load the weights of ``checkpoint``, and what else it says about prediction; returns a line about it.

    Raises
    ------
    CheckpointError
        The weights do not fit, are not finite, or stand there without what a training puts beside them.
    """
    content = read_checkpoint(checkpoint)
    weights = network_weights(content, checkpoint)
    own = content.get(CHECKPOINT_KEY)
    payload = own.get("payload") if isinstance(own, dict) else None
    if not isinstance(payload, dict) or not payload:
        raise CheckpointError(
            f"{checkpoint} holds weights, but nothing of what a training of this package writes beside them "
            f"({CHECKPOINT_KEY}.payload), so nobody can tell what they were trained on. Evaluate a file that a run "
            "wrote; to start a training from these weights, use model_config.load_modules."
        )
    module.accept(payload)
    loaded = load_strict(module.network, module.complete(weights), strict=module.config.strict, source=str(checkpoint))
    require_finite(module.network, source=str(checkpoint))
    module.adopt(payload)
    return f"Loaded {loaded.loaded} tensors of {checkpoint}. {loaded.differences or ''}".strip()


def outcome(trainer: Trainer, checkpoints: Checkpoints, run: RunDirectory) -> dict[str, Any]:
    """Return what ``run.json`` keeps of a finished stage."""
    best, path = (checkpoints.best[0] if checkpoints.best else None), checkpoints.best_path
    return {
        "status": "finished",
        "epochs": trainer.current_epoch,
        "steps": trainer.global_step,
        "stopped_early": trainer.should_stop,
        "monitor": checkpoints.training.monitor,
        "best_score": None if best is None else best.score,
        "best_epoch": None if best is None else best.epoch,
        "best_checkpoint": None if path is None else path.relative_to(run.checkpoints).as_posix(),
    }


@contextmanager
def stage_loggers(
    stage: Stage[Any], run: RunDirectory, resume: Path | None, parent_run_id: str | None = None
) -> Iterator[list[Logger]]:
    """Open the loggers of a stage, the tracked run going on under its id, and close them with how the stage ended."""
    loggers: list[Logger] = []
    ending = "failed"
    try:
        with signals.deferred():  # a tracked run that was begun is known, and can be ended
            loggers = _open_loggers(stage, run, resume, parent_run_id) if is_main_process() else []
        yield loggers
        ending = "finished"
    except RunInterrupted:
        ending = "interrupted"
        raise
    finally:
        with signals.deferred():
            finish_loggers(loggers, ending)


def _open_loggers(stage: Stage[Any], run: RunDirectory, resume: Path | None, parent_run_id: str | None) -> list[Logger]:
    loggers = build_loggers(
        stage.experiment,
        run,
        stage=stage.name,
        parent_run_id=parent_run_id,
        resume_run_id=run.stage(stage.name).get("mlflow_run_id"),
        resume_step=None if resume is None else read_checkpoint(resume, mmap=True)["global_step"],
    )
    run.update_stage(stage.name, status="running", mlflow_run_id=tracking_run_id(loggers))
    return loggers


@contextmanager
def parent_run(experiment: Experiment, run: RunDirectory, above: str | None = None) -> Iterator[str | None]:
    """Give the id of the tracked run that the stages' runs stand under: their own where there are several.

    Where there is one stage, or nothing is tracked by this process, that is ``above``, which theirs stands under too.
    """
    if not run.several_stages or not is_main_process():
        yield above
        return
    parent, ending = None, "failed"
    try:
        with signals.deferred():
            parent = start_parent(experiment, run, resume_run_id=run.record().get("mlflow_run_id"), parent_run_id=above)
            run_id = None if parent is None else parent.run_id
            run.update(mlflow_run_id=run_id)
        yield run_id
        ending = "finished"
    except RunInterrupted:
        ending = "interrupted"
        raise
    finally:
        with signals.deferred():
            finish_loggers([parent], ending)
