"""Temperature, vector and matrix scaling (arXiv 1706.04599) of logits, fitted with event weights."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from tabstar_lit.errors import DataError
from tabstar_lit.losses.classification import CrossEntropyLoss

Method = Literal["temperature", "vector", "matrix"]

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
    event_weights : Tensor
        ``[N]`` float64 weights as in the file, signed, which the metrics of training and evaluation have.
    """

    logits: Tensor
    targets: Tensor
    weights: Tensor
    event_weights: Tensor


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
    optimizer: torch.optim.Optimizer = torch.optim.LBFGS(
        parameters, max_iter=STEPS, tolerance_grad=1e-10, tolerance_change=1e-14, line_search_fn="strong_wolfe"
    )

    def closure() -> float:
        optimizer.zero_grad()
        loss = cross_entropy(affine(), scaled)
        torch.autograd.backward(loss)
        return loss.item()

    optimizer.step(closure)
    with torch.no_grad():
        fitted = affine()
        loss = float(cross_entropy(fitted, scaled))
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


def cross_entropy(affine: Affine, sample: Sample) -> Tensor:
    """Return the weighted mean of ``-log p`` of the true class after ``affine``."""
    loss: Tensor = CrossEntropyLoss()(affine(sample.logits), sample.targets, sample.weights)
    return loss
