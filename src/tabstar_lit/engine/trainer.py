"""The Lightning Trainer of one stage, with the engine's callbacks in the order they must run."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import EarlyStopping, ProgressBar
from lightning.pytorch.loggers import Logger
from lightning.pytorch.strategies import DDPStrategy
from lightning.pytorch.utilities.exceptions import MisconfigurationException

from tabstar_lit.config.schema import Experiment, ExperimentConfig
from tabstar_lit.engine.callbacks.checkpoints import Checkpoints
from tabstar_lit.engine.callbacks.interrupt import Interrupt
from tabstar_lit.engine.callbacks.progress import Progress
from tabstar_lit.engine.callbacks.resources import ResourceMonitor
from tabstar_lit.engine.callbacks.seeding import StepNoise
from tabstar_lit.engine.callbacks.training_log import TrainingLog
from tabstar_lit.engine.devices.launchers import launch
from tabstar_lit.engine.lean import NoProfiler, without_idle_hooks
from tabstar_lit.engine.loop import set_lean_loop
from tabstar_lit.engine.module import TrainingModule
from tabstar_lit.engine.runs.directory import RunDirectory
from tabstar_lit.engine.tracker import Tracker
from tabstar_lit.engine.weights.files import AtomicCheckpointIO
from tabstar_lit.errors import ConfigError

log = logging.getLogger(__name__)


def build_callbacks(experiment: Experiment, tracker: Tracker, checkpoints: Checkpoints, seed: int) -> list[Callback]:
    """Return the callbacks of a stage.

    The order matters: noise is seeded before anything runs, the training log closes its epoch before the tracker reads
    it, the tracker logs before early stopping and checkpoints look at the monitored metric, and an interrupt comes last
    of all, when everything that belongs to a step has been counted.
    """
    config, training = experiment.experiment_config, experiment.model.training_config
    tracker.training_log = TrainingLog()
    resources = ResourceMonitor(train_memory=training.log_train_memory)
    callbacks: list[Callback] = [
        StepNoise(seed),
        tracker.training_log,
        tracker,
        resources,
        Progress(tracker, resources, training, refresh_rate=config.tqdm_refresh_rate),
    ]
    if training.early_stop_patience is not None:
        stop = EarlyStopping(
            monitor=training.monitor,
            mode=training.monitor_mode,
            patience=training.early_stop_patience,
            check_finite=False,  # an undefined metric is no improvement; losses and gradients have their own guard
            strict=False,  # an epoch without metrics does not count; a metric that never comes stops the checkpoints
        )
        callbacks.append(stop)
    return [*callbacks, checkpoints, Interrupt(checkpoints.save_interrupted)]


def build_trainer(
    experiment: Experiment,
    run: RunDirectory,
    module: TrainingModule,
    *,
    loggers: Sequence[Logger],
    callbacks: Sequence[Callback],
) -> Trainer:
    """Return the Trainer the configuration asks for; its work stays Lightning's.

    Raises
    ------
    ConfigError
        There is no such device, or Lightning knows no such strategy.
    """
    without_idle_hooks(module)
    if experiment.model.training_config.compile:
        module.compile_network()
    options = trainer_options(experiment, run, loggers=loggers, callbacks=callbacks)
    try:
        trainer = Trainer(**options)
    except (MisconfigurationException, TypeError, ValueError) as error:
        raise ConfigError(
            f"The trainer cannot be set up: {error} Change experiment_config.accelerator, devices, strategy, num_nodes "
            "or precision."
        ) from error
    if experiment.model.training_config.cuda_graphs:
        _require_recordable(module, trainer)
    if module.leaves_parameters_idle and type(trainer.strategy) is DDPStrategy:
        trainer = Trainer(**{**options, "strategy": "ddp_find_unused_parameters_true"})
    set_lean_loop(trainer)
    return trainer


def _require_recordable(module: TrainingModule, trainer: Trainer) -> None:
    """Refuse to record steps that cannot be, or whose gradients pass between processes or are scaled.

    Raises
    ------
    ConfigError
        It is one of these.
    """
    if not module.records_steps:
        raise ConfigError(
            "training_config.cuda_graphs: steps of this family are not recorded. Leave it out; "
            "compile: true may help instead."
        )
    if trainer.world_size > 1 or getattr(trainer.precision_plugin, "scaler", None) is not None:
        raise ConfigError(
            "training_config.cuda_graphs: the gradients of a recorded step are not exchanged between processes, nor "
            "scaled for 16-mixed. Train on one device, in 32-true or bf16-mixed, or leave cuda_graphs out."
        )


def trainer_options(
    experiment: Experiment, run: RunDirectory, *, loggers: Sequence[Logger], callbacks: Sequence[Callback]
) -> dict[str, Any]:
    """Return the Trainer's arguments: the configuration's own, and what the engine decides."""
    config, training = experiment.experiment_config, experiment.model.training_config
    return {
        "accelerator": config.accelerator,
        **_processes(config),
        "strategy": config.strategy,
        "precision": config.precision,
        "deterministic": config.deterministic,
        "max_epochs": training.max_epochs,
        "max_steps": -1 if training.max_steps is None else training.max_steps,
        "max_time": training.max_time,
        "accumulate_grad_batches": training.accumulate_grad_batches,
        "gradient_clip_val": training.gradient_clip_val,
        "gradient_clip_algorithm": training.gradient_clip_algorithm,
        "check_val_every_n_epoch": config.check_eval_n_epoch,
        "num_sanity_val_steps": config.num_sanity_val_steps,
        "log_every_n_steps": config.log_every_n_steps,
        "logger": list(loggers),
        "profiler": NoProfiler(),
        "callbacks": [without_idle_hooks(callback) for callback in callbacks],
        "plugins": [AtomicCheckpointIO()],
        "use_distributed_sampler": False,  # the batch plan shards itself
        "enable_model_summary": False,
        "enable_progress_bar": any(isinstance(callback, ProgressBar) for callback in callbacks),
        "default_root_dir": run.root,
    }


def _processes(config: ExperimentConfig) -> dict[str, Any]:
    """Return the devices of a node and the nodes: the launcher's where there is one, else the configuration's."""
    launched = launch()
    if launched is None:
        return {"devices": config.devices, "num_nodes": config.num_nodes}
    if config.devices not in ("auto", launched.processes) or config.num_nodes not in (1, launched.nodes):
        raise ConfigError(
            f"{launched.by} started {launched.processes} process(es) on each of {launched.nodes} node(s), and the "
            f"configuration asks for devices {config.devices!r} on {config.num_nodes} node(s). Leave "
            "experiment_config.devices and num_nodes out: the launcher says both."
        )
    log.info("Started by %s: %d process(es) on each of %d node(s)", launched.by, launched.processes, launched.nodes)
    return {"devices": launched.processes, "num_nodes": launched.nodes}
