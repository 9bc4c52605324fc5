"""Losses for tables of both tasks: cross-entropy over the target elements, or error of the z-score."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from tabstar_lit.config.registry import Registry
from tabstar_lit.errors import ConfigError
from tabstar_lit.families.tabstar.heads import RegressionHead
from tabstar_lit.losses.classification import at_least_single

DEFAULT_LOSS = "multitask"


class MultiTaskLoss(nn.Module):
    """Cross-entropy for classification, mean squared error for regression (TabSTAR, arXiv 2505.18125).

    Parameters
    ----------
    label_smoothing : float, default 0
        Probability mass spread evenly over the classes, in [0, 1).
    regression_weight : float, default 1
        Factor on the loss of regression tables; the official recipe weighs both tasks equally.
    """

    def __init__(self, label_smoothing: float = 0.0, regression_weight: float = 1.0) -> None:
        super().__init__()
        if not 0 <= label_smoothing < 1:
            raise ConfigError(f"loss_params.label_smoothing: {label_smoothing} is not in [0, 1).")
        if regression_weight <= 0:
            raise ConfigError(f"loss_params.regression_weight: {regression_weight} is not positive.")
        self.label_smoothing = label_smoothing
        self.regression_weight = regression_weight

    def forward(
        self, outputs: Tensor, targets: Tensor, weights: Tensor | None = None, head: RegressionHead | None = None
    ) -> Tensor:
        """Return the mean loss of a batch.

        Parameters
        ----------
        outputs : Tensor
            ``[B, C]`` logits of classes, or what ``head`` has said.
        targets : Tensor
            ``[B]`` class numbers (integer) or scaled values (floating point).
        weights : Tensor, optional
            ``[B]`` how much each row counts; over the training rows of a table their mean is 1.
        head : RegressionHead, optional
            Knows the loss of its outputs ``[B, W]``, and takes that of a single number from here. None: ``outputs``
            are single numbers ``[B, 1]``.
        """
        outputs = at_least_single(outputs)
        if targets.is_floating_point():
            losses = self.regression_weight * (
                self.regression_error(outputs.squeeze(-1), targets)
                if head is None
                else head.errors(outputs, targets, self.regression_error)
            )
        else:
            losses = F.cross_entropy(outputs, targets, label_smoothing=self.label_smoothing, reduction="none")
        return losses.mean() if weights is None else (weights * losses).mean()

    def regression_error(self, predictions: Tensor, targets: Tensor) -> Tensor:
        """Return the squared error of each of ``[B]`` predictions."""
        return F.mse_loss(predictions, targets, reduction="none")


class HuberMultiTaskLoss(MultiTaskLoss):
    """As :class:`MultiTaskLoss`, with errors beyond ``delta`` counted linearly in regression.

    Parameters
    ----------
    label_smoothing, regression_weight : float
        As in :class:`MultiTaskLoss`.
    delta : float, default 1
        Where the error turns from squared to linear, in standard deviations of the target.
    """

    def __init__(self, label_smoothing: float = 0.0, regression_weight: float = 1.0, delta: float = 1.0) -> None:
        super().__init__(label_smoothing, regression_weight)
        if delta <= 0:
            raise ConfigError(f"loss_params.delta: {delta} is not positive.")
        self.delta = delta

    def regression_error(self, predictions: Tensor, targets: Tensor) -> Tensor:
        """Return the Huber error of each of ``[B]`` predictions."""
        return F.huber_loss(predictions, targets, delta=self.delta, reduction="none")


LOSSES: Registry[type[MultiTaskLoss]] = Registry(
    "loss",
    {"multitask": MultiTaskLoss, "multitask_huber": HuberMultiTaskLoss},
    absent="no loss is called",
)
"""Losses by the name that ``training_config.loss`` gives."""


def build_loss(name: str | None, params: Mapping[str, Any] | None = None) -> MultiTaskLoss:
    """Return the loss ``name`` (null: :data:`DEFAULT_LOSS`) with parameters ``params``.

    Raises
    ------
    ConfigError
        No loss has that name, or a parameter is out of range.
    """
    return LOSSES.find(name or DEFAULT_LOSS, ("loss",))(**dict(params or {}))
