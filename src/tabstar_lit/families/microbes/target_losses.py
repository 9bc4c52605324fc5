"""Losses of the predictor's targets, value by value, so that missing ones can be left out."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from tabstar_lit.config.arguments import fail_unless_empty
from tabstar_lit.config.registry import Registry
from tabstar_lit.config.schema import LossConfig
from tabstar_lit.config.tree import Problem
from tabstar_lit.errors import ConfigError
from tabstar_lit.families.microbes.study.batch import NO_CLASS
from tabstar_lit.families.microbes.training_config import MicrobesTraining
from tabstar_lit.losses.classification import CrossEntropyLoss, EventLoss
from tabstar_lit.losses.focal import MulticlassFocalLoss


class ValueLoss(nn.Module, ABC):
    """A loss of each value of a numeric target."""

    quantiles: bool = False
    """Whether it takes ``[B, K, Q]`` of quantiles."""

    @abstractmethod
    def forward(self, predicted: Tensor, true: Tensor) -> Tensor:
        """Return the loss ``[B, K]`` of values, both on the transformed scale."""


class SmoothL1(ValueLoss):
    """Squared error near the target, absolute error from ``beta`` on (arXiv 1504.08083).

    Parameters
    ----------
    beta : float, default 1
        Where the one becomes the other, on the transformed scale.
    """

    def __init__(self, beta: float = 1.0) -> None:
        super().__init__()
        if not 0 < beta < math.inf:
            raise ConfigError(f"loss_params.beta: {beta} is not positive and finite.")
        self.beta = beta

    def forward(self, predicted: Tensor, true: Tensor) -> Tensor:
        """Return the loss ``[B, K]``."""
        return functional.smooth_l1_loss(predicted, true, beta=self.beta, reduction="none")


class SquaredError(ValueLoss):
    """Squared error."""

    def forward(self, predicted: Tensor, true: Tensor) -> Tensor:
        """Return the loss ``[B, K]``."""
        return (predicted - true).square()


class AbsoluteError(ValueLoss):
    """Absolute error."""

    def forward(self, predicted: Tensor, true: Tensor) -> Tensor:
        """Return the loss ``[B, K]``."""
        return (predicted - true).abs()


class AsymmetricError(ValueLoss):
    """Absolute error with a factor for values that are predicted too low, and another one for too high.

    Parameters
    ----------
    low : float, default 1
        Factor where the prediction is below the target.
    high : float, default 1
        Factor where it is above.
    """

    def __init__(self, low: float = 1.0, high: float = 1.0) -> None:
        super().__init__()
        if min(low, high) < 0 or low + high <= 0:
            raise ConfigError(f"loss_params: factors low {low} and high {high} are at least 0, and one is above it.")
        self.low, self.high = low, high

    def forward(self, predicted: Tensor, true: Tensor) -> Tensor:
        """Return the loss ``[B, K]``."""
        missed = true - predicted
        return torch.where(missed > 0, self.low * missed, -self.high * missed)


class Pinball(ValueLoss):
    """Pinball loss of ``architecture_config.predictor.quantiles`` (Koenker and Bassett 1978), mean over quantiles."""

    quantiles = True

    def __init__(self, quantiles: Sequence[float]) -> None:
        super().__init__()
        self.levels: Tensor
        self.register_buffer("levels", torch.tensor(list(quantiles)), persistent=False)

    def forward(self, predicted: Tensor, true: Tensor) -> Tensor:
        """Return the loss ``[B, K]`` of ``[B, K, Q]``."""
        missed = true[..., None] - predicted
        return torch.maximum(self.levels * missed, (self.levels - 1) * missed).mean(-1)


LOSSES: Registry[Callable[..., Any]] = Registry(
    "loss",
    {
        "smooth_l1": SmoothL1,
        "mse": SquaredError,
        "mae": AbsoluteError,
        "asymmetric": AsymmetricError,
        "pinball": Pinball,
        "cross_entropy": CrossEntropyLoss,
        "focal": MulticlassFocalLoss,
    },
    spellings={"ce": "cross_entropy", "l1": "mae", "quantile": "pinball"},
    passed=("quantiles",),
    absent="no loss is called",
)
"""Every loss of a target by name; the last two are of classes."""

OF_CLASSES = ("cross_entropy", "focal")


def loss_problems(training: MicrobesTraining) -> list[Problem]:
    """Return what is wrong with ``loss``; paths are relative to ``training_config``."""
    if training.loss is None:
        return []
    name, params = _named(training)
    where = ("loss", "loss_name") if isinstance(training.loss, LossConfig) else ("loss",)
    unknown = LOSSES.problems(name, where)
    return unknown or LOSSES.arguments(LOSSES.resolve(name), params, ("loss", "loss_params"))[1]


class TargetLoss(nn.Module):
    """Mean loss of the targets that are known; 0 where none is.

    Parameters
    ----------
    training : MicrobesTraining
        Gives the loss.
    kind : str
        ``regression`` or ``classification``.
    quantiles : sequence of float
        Levels that the network predicts; with any, the loss is ``pinball``.
    class_weights : Tensor or None
        ``[K]`` weight of a sample of each class; None: all alike.

    Raises
    ------
    ConfigError
        The loss is of the other kind, or does not fit the quantiles.
    """

    def __init__(
        self,
        training: MicrobesTraining,
        kind: str,
        quantiles: Sequence[float] = (),
        class_weights: Tensor | None = None,
    ) -> None:
        super().__init__()
        self.kind = kind
        default = "cross_entropy" if kind == "classification" else "pinball" if quantiles else "smooth_l1"
        written, params = _named(training, default)
        fail_unless_empty(loss_problems(training))
        name = LOSSES.resolve(written)
        _require_fit(name, kind, bool(quantiles))
        arguments, _ = LOSSES.arguments(name, params, ("loss", "loss_params"))
        own: ValueLoss | EventLoss = LOSSES[name](
            **arguments, **({"quantiles": quantiles} if name == "pinball" else {})
        )
        self.loss = own
        self.class_weights: Tensor | None
        self.register_buffer("class_weights", class_weights, persistent=False)

    def forward(self, predicted: Tensor, true: Tensor) -> Tensor:
        """Return the loss of values or logits ``[B, K]`` (``[B, K, Q]``) with targets ``[B, K]`` or classes ``[B]``."""
        if isinstance(self.loss, EventLoss):
            known, classes = true != NO_CLASS, true.clamp(min=0)
            losses = self.loss.per_event(predicted, classes)
            weights = known.to(losses.dtype) if self.class_weights is None else known * self.class_weights[classes]
            return (losses * weights).sum() / weights.sum().clamp(min=torch.finfo(losses.dtype).tiny)
        known = ~true.isnan()
        losses = torch.where(known, self.loss(predicted, true.nan_to_num()), 0.0)
        return losses.sum() / known.sum().clamp(min=1)


def class_weights(classes: Tensor, n_classes: int) -> Tensor:
    """Return ``N / (K n_k)`` of the classes ``[N]`` of training samples; 0 for one without any."""
    counts = torch.bincount(classes[classes != NO_CLASS], minlength=n_classes)
    return torch.where(counts > 0, counts.sum() / (n_classes * counts.clamp(min=1)), 0.0)


def _named(training: MicrobesTraining, default: str = "") -> tuple[str, dict[str, Any]]:
    loss = training.loss
    if isinstance(loss, LossConfig):
        return loss.loss_name, dict(loss.loss_params)
    return loss or default, {}


def _require_fit(name: str, kind: str, quantiles: bool) -> None:
    place = "model_config.training_config.loss"
    if (name in OF_CLASSES) != (kind == "classification"):
        others = OF_CLASSES if kind == "classification" else tuple(own for own in LOSSES if own not in OF_CLASSES)
        raise ConfigError(f"{place}: {name} is no loss for {kind}. Take one of {', '.join(others)}, or null.")
    if (name == "pinball") != quantiles:
        raise ConfigError(
            f"{place}: pinball goes with architecture_config.predictor.quantiles, and they with it. Set both or none."
        )
