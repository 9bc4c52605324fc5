"""Weights that turn a sample of data, or of simulation, into data minus simulation (arXiv 2511.06972)."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from tabstar_lit.families.hep.fakes.architecture import Average


class Subtraction(NamedTuple):
    """Factors on the weights of events, and how well they are known.

    Attributes
    ----------
    factors : Tensor
        ``[B]``, or ``[B, C]`` of ``C`` heads. Below 0 where there is more simulation than data.
    errors : Tensor
        The same shape; from the uncertainty of the ratio to first order.
    """

    factors: Tensor
    errors: Tensor


def subtraction(log_ratios: Tensor, errors: Tensor, is_data: Tensor) -> Subtraction:
    """Return what data, or simulation, is multiplied by to be distributed as data minus simulation.

    With ``r`` the ratio of data to simulation this is ``1 - 1/r`` for an event of data and ``r - 1`` for a simulated
    one, with the errors ``sigma_r / r^2`` and ``sigma_r``, where ``sigma_r = r sigma_log``.

    Parameters
    ----------
    log_ratios : Tensor
        ``[B]`` or ``[B, C]``: ``log r`` of the model of the event's region.
    errors : Tensor
        The same shape: ``sigma_log``, the uncertainty of ``log r``.
    is_data : Tensor
        ``[B]`` bool: data rather than simulation.
    """
    is_data = is_data if log_ratios.ndim == 1 else is_data.unsqueeze(1)
    # expm1 keeps the small differences of ratios close to one.
    signed = torch.where(is_data, -log_ratios, log_ratios)
    return Subtraction(torch.where(is_data, -1.0, 1.0) * signed.expm1(), signed.exp() * errors)


class LogFactor(NamedTuple):
    """What an ensemble says about the logarithm of a ratio.

    Attributes
    ----------
    mean : Tensor
        ``[B]`` mean over heads, or the logarithm of their mean ratio.
    std : Tensor
        ``[B]`` standard deviation of the heads: the uncertainty of one experiment; 0 with a single head.
    """

    mean: Tensor
    std: Tensor

    def ratio(self) -> Tensor:
        """Return ``e^mean``, ``[B]``."""
        return self.mean.exp()

    def ratio_error(self) -> Tensor:
        """Return the uncertainty of :meth:`ratio` to first order, ``[B]``."""
        return self.ratio() * self.std


def training_spread(by_head: Tensor, twins: int) -> Tensor:
    """Return how far apart heads are that learned from equal samples: the standard deviation that training adds.

    Parameters
    ----------
    by_head : Tensor
        ``[..., C]`` of ``C`` heads, the last ``twins`` of which learned from the samples of the first ones.
    twins : int
        Their number ``T``; the square is the mean of ``T`` estimates of one degree of freedom each.

    Returns
    -------
    Tensor
        ``[...]``; NaN without twins.
    """
    apart = by_head[..., by_head.shape[-1] - twins :] - by_head[..., :twins]
    return (apart.square() / 2).mean(-1).sqrt()


def over_heads(log_ratios: Tensor, average: Average = "log") -> LogFactor:
    """Return mean and standard deviation of log-ratios ``[B, C]`` over their ``C`` heads.

    By ``ratio`` the mean is the logarithm of the heads' mean ratio. A ratio is linear in the sample of its numerator:
    this is what the whole sample gives, where a mean of logarithms lies below it by half their variance.
    """
    if log_ratios.shape[1] == 1:
        return LogFactor(log_ratios[:, 0], torch.zeros_like(log_ratios[:, 0]))
    std, mean = torch.std_mean(log_ratios, dim=1)
    if average == "ratio":
        mean = log_ratios.logsumexp(1) - math.log(log_ratios.shape[1])
    return LogFactor(mean, std)
