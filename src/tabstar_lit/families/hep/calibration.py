"""Calibration after training (arXiv 1706.04599): an affine map of the logits, fitted on events kept for it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from tabstar_lit.engine.checkpoint_io import CHECKPOINT_KEY, AtomicCheckpointIO, read_checkpoint
from tabstar_lit.errors import CheckpointError, DataError
from tabstar_lit.families.hep.data import events_path
from tabstar_lit.families.hep.events import EventFile
from tabstar_lit.families.hep.prediction import score_events
from tabstar_lit.families.hep.preprocess import EventReader
from tabstar_lit.families.hep.progress import Progress, no_progress
from tabstar_lit.families.hep.restore import Classifier, restore
from tabstar_lit.losses.classification import CrossEntropyLoss
from tabstar_lit.metrics.weighted import calibration_error

Method = Literal["temperature", "vector", "matrix"]

ALL = "all"
"""Instead of a split: every event of a file."""

KEPT = ("epoch", "global_step", "pytorch-lightning_version", "state_dict", CHECKPOINT_KEY)
"""What a calibrated checkpoint has of the original; training cannot go on from it."""

STEPS = 500
SMALLEST_LOSS = 1e-6
SMALLEST_SLOPE = 1e-4


@dataclass(frozen=True)
class Sample:
    """Events with their logits.

    Attributes
    ----------
    logits : Tensor
        ``[N, K]`` float64.
    targets : Tensor
        ``[N]`` int64 class numbers; with one logit 1 for signal and 0 for background.
    weights : Tensor
        ``[N]`` float64 weights of the training loss: event weights under the policy for negative ones, times class
        weights; ones where the loss had none.
    """

    logits: Tensor
    targets: Tensor
    weights: Tensor


@dataclass(frozen=True)
class Affine:
    """The map ``z W^T + b`` of logits: ``weight`` ``[K, K]`` and ``bias`` ``[K]``, float64."""

    weight: Tensor
    bias: Tensor

    def __call__(self, logits: Tensor) -> Tensor:
        """Return the calibrated logits ``[N, K]``."""
        return logits @ self.weight.T + self.bias


def fit(method: Method, sample: Sample) -> Affine:
    """Minimize the weighted cross-entropy of a sample by L-BFGS over all its events at once.

    Temperature scaling has one parameter, ``log T``, so that ``T`` stays positive. With one logit, vector scaling has
    slope and intercept (Platt's), and matrix scaling is the same.

    Parameters
    ----------
    method : str
        ``temperature``, ``vector`` or ``matrix``.
    sample : Sample
        The events.

    Raises
    ------
    DataError
        The sample does not determine the map: a class is absent, the scores separate the classes without error, or
        say nothing about them.
    """
    # Fitted on logits of unit size: the same minimum, reached in a few steps whatever their scale.
    size = sample.logits.abs().mean().clamp_min(1e-12)
    scaled = replace(sample, logits=sample.logits / size)
    parameters, affine = _start(method, sample.logits.shape[1])
    optimizer = torch.optim.LBFGS(
        parameters, max_iter=STEPS, tolerance_grad=1e-10, tolerance_change=1e-14, line_search_fn="strong_wolfe"
    )

    def closure() -> float:
        optimizer.zero_grad()
        loss = _loss(affine(), scaled)
        torch.autograd.backward(loss)
        return float(loss)

    optimizer.step(closure)
    with torch.no_grad():
        fitted = affine()
        loss = float(_loss(fitted, scaled))
        if loss < SMALLEST_LOSS:
            raise DataError(
                "the scores tell the calibration events apart without a single error, so that no finite calibration is "
                "the best: keep more events for it (dataset_config.split.calib)."
            )
        if not math.isfinite(loss) or (method == "temperature" and float(fitted.weight[0, 0]) < SMALLEST_SLOPE):
            raise DataError(
                f"the best {method} is without bound: on the calibration events the scores say nothing about the "
                "classes. Train longer, or calibrate with another method."
            )
        return Affine(fitted.weight / size, fitted.bias.clone())


def _start(method: Method, k: int) -> tuple[list[Tensor], Callable[[], Affine]]:
    """Return the parameters of a method, where they change nothing, and the map they make."""
    bias = torch.zeros(k, dtype=torch.float64, requires_grad=method != "temperature")
    if method == "temperature":
        log_t = torch.zeros((), dtype=torch.float64, requires_grad=True)
        return [log_t], lambda: Affine((-log_t).exp() * torch.eye(k, dtype=torch.float64), bias)
    if method == "vector":
        slopes = torch.ones(k, dtype=torch.float64, requires_grad=True)
        return [slopes, bias], lambda: Affine(torch.diag(slopes), bias)
    matrix = torch.eye(k, dtype=torch.float64, requires_grad=True)
    return [matrix, bias], lambda: Affine(matrix, bias)


def _loss(affine: Affine, sample: Sample) -> Tensor:
    return CrossEntropyLoss()(affine(sample.logits), sample.targets, sample.weights)


def calibrate_checkpoint(
    checkpoint: Path,
    output: Path,
    *,
    method: Method = "temperature",
    data: Path | None = None,
    split: str = "calib",
    progress: Progress = no_progress,
) -> str:
    """Fit a calibration and write a checkpoint with it; its weights are those of the original.

    Parameters
    ----------
    checkpoint : Path
        A trained classifier. A calibration it has already is replaced.
    output : Path
        The calibrated checkpoint.
    method : str
        ``temperature``, ``vector`` or ``matrix``.
    data : Path, optional
        Event file; by default the one of the training.
    split : str
        Which events to fit on, by the rule of the training; ``all`` takes every event of ``data``.
    progress : callable
        For a progress bar.

    Returns
    -------
    str
        What was fitted, with cross-entropy and calibration error before and after.

    Raises
    ------
    DataError
        There are no events kept for calibration, or :func:`fit` cannot use them.
    CheckpointError
        ``output`` is the original.
    """
    if output.absolute() == checkpoint.absolute():
        raise CheckpointError(f"{output} is the checkpoint itself: give another output with -o.")
    classifier = restore(checkpoint, as_trained=True)
    file = EventFile.open(_data_path(classifier, data))
    rows = {split: classifier.rows(file, None)} if split == ALL else {split: classifier.rows(file, split)}
