"""Focal losses (arXiv 1708.02002): cross-entropy that counts events less the better they are known already."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from tabstar_lit.errors import ConfigError
from tabstar_lit.losses.classification import EventLoss, logits_by_class, smoothed, valid_smoothing


class SigmoidFocalLoss(EventLoss):
    """Focal loss of one logit, for two classes (arXiv 1708.02002).

    Parameters
    ----------
    gamma : float, default 2
        Exponent of ``1 - p_t``, where ``p_t`` is the probability given to the target; 0 is cross-entropy.
    alpha : float or None, default None
        Weight of signal events, background events get ``1 - alpha``; null weighs both alike.
    label_smoothing : float, default 0
        Share of the target that is spread over both classes.
    """

    multiclass = False

    def __init__(self, gamma: float = 2.0, alpha: float | None = None, label_smoothing: float = 0.0) -> None:
        super().__init__()
        if alpha is not None and not 0 < alpha < 1:
            raise ConfigError(f"loss_params.alpha: {alpha} is not between 0 and 1.")
        self.gamma, self.alpha = _valid_gamma(gamma), alpha
        self.label_smoothing = valid_smoothing(label_smoothing)

    def per_event(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Return the focal loss of each event."""
        logit, smooth = logits.squeeze(1), smoothed(targets.to(logits.dtype), self.label_smoothing)
        entropy = F.binary_cross_entropy_with_logits(logit, smooth, reduction="none")
        # 1 - p_t without the cancellation that p_t close to 1 would bring
        missed = logit.sigmoid() * (1 - smooth) + (-logit).sigmoid() * smooth
        losses = _power(missed, self.gamma) * entropy
        return losses if self.alpha is None else losses * (self.alpha * smooth + (1 - self.alpha) * (1 - smooth))


class MulticlassFocalLoss(EventLoss):
    """Focal loss of the softmax, event by event: ``-sum_k q_k (1 - p_k)^gamma log p_k`` (arXiv 1708.02002).

    Parameters
    ----------
    gamma : float, default 2
        Exponent of ``1 - p``; 0 is cross-entropy.
    label_smoothing : float, default 0
        Share ``s`` of the target that is spread over the ``C`` classes: ``q = (1 - s) one_hot + s / C``.
    """

    def __init__(self, gamma: float = 2.0, label_smoothing: float = 0.0) -> None:
        super().__init__()
        self.gamma = _valid_gamma(gamma)
        self.label_smoothing = valid_smoothing(label_smoothing)

    def per_event(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Return the focal loss of each event."""
        log_p = logits_by_class(logits).log_softmax(dim=1)
        losses = -_power(-torch.expm1(log_p), self.gamma) * log_p
        own = losses.gather(1, targets.long().unsqueeze(1)).squeeze(1)
        return own if self.label_smoothing == 0 else torch.lerp(own, losses.mean(dim=1), self.label_smoothing)


def _power(missed: Tensor, gamma: float) -> Tensor:
    """Return ``missed ** gamma`` with a finite gradient at 0 for every gamma."""
    return missed.clamp_min(torch.finfo(missed.dtype).tiny) ** gamma


def _valid_gamma(gamma: float) -> float:
    if not 0 <= gamma < math.inf:
        raise ConfigError(f"loss_params.gamma: {gamma} is negative or not finite.")
    return gamma
