"""The metric that checkpoints, early stopping and the plateau scheduler watch, epoch by epoch."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator

from lightning.pytorch import Trainer

from tabstar_lit.config import Problem
from tabstar_lit.config.schema import Experiment, TrainingConfig
from tabstar_lit.errors import ConfigError

LOSSES = ("val_loss", "train_loss")
"""What every validation, or every epoch, computes; they exist by source too, as ``val_loss/<source>``."""

TRAINING = ("model_config", "training_config")


def losses_of(terms: Collection[str]) -> tuple[str, ...]:
    """Return the losses and what their ``terms`` are logged as, which are there in epochs without metrics too."""
    return (*LOSSES, *(f"{split}_{term}" for split in ("val", "train") for term in terms))


def is_loss(monitor: str, terms: Collection[str] = ()) -> bool:
    """Tell whether ``monitor`` is a loss or one of its ``terms``, in all or of one source."""
    return any(monitor == loss or monitor.startswith(f"{loss}/") for loss in losses_of(terms))


def score_of_epoch(trainer: Trainer, monitor: str, *, metrics_every: int | None, key: str) -> float | None:
    """Return the monitored metric of this epoch; None where the tracker computes no metrics in it.

    Parameters
    ----------
    trainer : Trainer
        Its ``callback_metrics`` hold what this epoch computed.
    monitor : str
        Name of the metric.
    metrics_every : int or None
        Epochs from one computation of metrics to the next.
    key : str
        Where the name is configured, for the message.

    Raises
    ------
    ConfigError
        Metrics were computed, and it was not among them.
    """
    if monitor in trainer.callback_metrics:
        return float(trainer.callback_metrics[monitor])
    if metrics_every is not None and (trainer.current_epoch + 1) % metrics_every != 0 and not is_loss(monitor):
        return None
    raise ConfigError(
        f"The monitored metric {monitor!r} was not computed in epoch {trainer.current_epoch}. Computed: "
        f"{', '.join(sorted(trainer.callback_metrics))}. Set {key} to one of these."
    )


def never_computed(experiment: Experiment) -> Iterator[Problem]:
    """Give what keeps the monitored metrics from being computed in any epoch; paths are of the experiment."""
    config, training = experiment.experiment_config, experiment.model.training_config
    evaluated, epochs = config.check_eval_n_epoch, training.max_epochs
    if evaluated > epochs:
        text = f"validating every {evaluated} epochs of {epochs} means never; there would be no best model."
        yield Problem(("experiment_config", "check_eval_n_epoch"), text)
        return
    if config.check_metrics_n_epoch is None:
        return
    # Metrics come where both a validation and its metrics are due.
    every = math.lcm(evaluated, config.check_metrics_n_epoch)
    scheduler = training.scheduler
    watched = [training.monitor, *([scheduler.monitor] if scheduler is not None and scheduler.monitor else [])]
    late = [monitor for monitor in dict.fromkeys(watched) if not is_loss(monitor, experiment.model.loss_terms())]
    if every > epochs and late:
        yield Problem(
            ("experiment_config", "check_metrics_n_epoch"),
            f"{' and '.join(late)} would be computed every {every} epochs of {epochs}, which means never; there would "
            "be no best model. Compute metrics more often, train longer, or monitor val_loss",
        )


def doubtful_mode(training: TrainingConfig, larger_is_better: Collection[str]) -> Iterator[str]:
    """Give a warning where ``monitor_mode`` would keep the worst model instead of the best.

    Parameters
    ----------
    training : TrainingConfig
        ``monitor`` and ``monitor_mode``.
    larger_is_better : collection of str
        Metrics, without ``val_``, whose largest value is the best; of others nothing is said.
    """
    monitor, mode = training.monitor, training.monitor_mode
    right = "max" if monitor.removeprefix("val_") in larger_is_better else "min" if is_loss(monitor) else mode
    if mode != right:
        better = "larger" if right == "max" else "smaller"
        yield (
            f"training_config.monitor_mode is {mode}, and {monitor} is better when {better}: the worst model would be "
            f"kept as the best. Set monitor_mode: {right}."
        )
