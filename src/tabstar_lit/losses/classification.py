"""Losses of classifiers per event, averaged with event weights."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tabstar_lit.errors import ConfigError


def weighted_mean(losses: Tensor, weights: Tensor | None) -> Tensor:
    """Return ``sum(w l) / sum(w)``; 0 without a gradient where the weights of a batch sum to 0.

    Parameters
    ----------
    losses : Tensor
        ``[B]`` loss per event.
    weights : Tensor or None
        ``[B]``, at least 0; None weighs all events equally.
    """
    if weights is None:
        return losses.mean()
    weights = weights.to(losses.dtype)
    total = weights.sum()
    return (weights * losses).sum() / torch.where(total > 0, total, torch.ones_like(total))


class EventLoss(nn.Module, ABC):
    """A loss of one classifier output per event.

    Attributes
    ----------
    binary, multiclass : bool
        Whether it takes one logit for two classes, and a logit for each of more.
    takes_weights : bool
        Whether it is a mean over events, so that each can have a weight.
    """

    binary: ClassVar[bool] = True
    multiclass: ClassVar[bool] = True
    takes_weights: bool = True

    def forward(self, logits: Tensor, targets: Tensor, weights: Tensor | None = None) -> Tensor:
        """Return the weighted mean loss of a batch.

        Parameters
        ----------
        logits : Tensor
            ``[B, K]``; ``K = 1`` for two classes, log-odds of the signal class.
        targets : Tensor
            ``[B]``: 0 or 1 as floating point with one logit, class numbers int64 with more.
        weights : Tensor or None
            ``[B]`` event weights, at least 0.
        """
        return weighted_mean(self.per_event(at_least_single(logits), targets), weights)

    @abstractmethod
    def per_event(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Return the loss of each event, ``[B]``; arguments as in :meth:`forward`."""


class BCEWithLogitsLoss(EventLoss):
    """Binary cross-entropy of one logit, for two classes.

    Parameters
    ----------
    pos_weight : float, default 1
        Factor on the loss of signal events.
    label_smoothing : float, default 0
        Share ``s`` of the target that is spread over both classes: ``t (1 - s) + s / 2``.
    """

    multiclass = False

    def __init__(self, pos_weight: float = 1.0, label_smoothing: float = 0.0) -> None:
        super().__init__()
        if not 0 < pos_weight < math.inf:
            raise ConfigError(f"loss_params.pos_weight: {pos_weight} is not positive and finite.")
        self.label_smoothing = valid_smoothing(label_smoothing)
        self.pos_weight = pos_weight

    def per_event(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Return ``-log p`` of the true class of each event."""
        smooth = smoothed(targets.to(logits.dtype), self.label_smoothing)
        factor = None if self.pos_weight == 1 else logits.new_tensor(self.pos_weight)
        return F.binary_cross_entropy_with_logits(logits.squeeze(1), smooth, pos_weight=factor, reduction="none")


class CrossEntropyLoss(EventLoss):
    """Cross-entropy of the softmax; with two classes the same as binary cross-entropy of their one logit.

    Parameters
    ----------
    label_smoothing : float, default 0
        Share of the target that is spread evenly over all classes.
    """

    def __init__(self, label_smoothing: float = 0.0) -> None:
        super().__init__()
        self.label_smoothing = valid_smoothing(label_smoothing)

    def per_event(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Return ``-log p`` of the true class of each event."""
        class_logits = logits_by_class(logits)
        return F.cross_entropy(class_logits, targets.long(), label_smoothing=self.label_smoothing, reduction="none")


class MSELoss(EventLoss):
    """Squared error of the probabilities (Brier score), not of the logits.

    With two classes ``(p - y)^2`` of the signal probability; with more the mean over classes of the squared
    difference between softmax and one-hot target.
    """

    def per_event(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Return the squared error of each event."""
        if logits.shape[1] == 1:
            return (logits.squeeze(1).sigmoid() - targets.to(logits.dtype)).square()
        one_hot = F.one_hot(targets.long(), logits.shape[1]).to(logits.dtype)
        return (logits.softmax(dim=1) - one_hot).square().mean(dim=1)


def at_least_single(logits: Tensor) -> Tensor:
    """Return ``logits`` in single precision or better: half is too coarse for a mean over many events."""
    return logits.to(torch.promote_types(logits.dtype, torch.float32))


def logits_by_class(logits: Tensor) -> Tensor:
    """Return ``[B, C]``: the one logit ``z`` of two classes stands for the pair ``(0, z)``."""
    return torch.cat([torch.zeros_like(logits), logits], dim=1) if logits.shape[1] == 1 else logits


def smoothed(targets: Tensor, smoothing: float) -> Tensor:
    """Return binary targets ``t (1 - s) + s / 2``."""
    return targets * (1 - smoothing) + smoothing / 2 if smoothing else targets


def valid_smoothing(smoothing: float) -> float:
    """Return ``smoothing``.

    Raises
    ------
    ConfigError
        It is not in [0, 1).
    """
    if not 0 <= smoothing < 1:
        raise ConfigError(f"loss_params.label_smoothing: {smoothing} is not in [0, 1).")
    return smoothing
