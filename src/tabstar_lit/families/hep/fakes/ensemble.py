"""What the heads of an ensemble say together, and how well they know it."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from scipy import stats
from torch import Tensor

from tabstar_lit.families.hep.fakes.architecture import Average, Spread


class Ensemble(NamedTuple):
    """How heads are taken together.

    Attributes
    ----------
    average : str
        ``log``: the mean of their logarithms; ``ratio``: the logarithm of their mean ratio. A ratio is linear in the
        sample of its numerator: its mean is what the whole sample gives, where a mean of logarithms lies below it by
        half their variance.
    spread : str
        ``std``: the uncertainty is their standard deviation; ``student``: that of what is known of the truth by so
        few, which is larger.
    twins : int
        Heads at the end that learned from the same samples as the first ones.
    balanced : bool
        Whether samples of all heads hold each event equally often, so that their mean does not scatter.
    """

    average: Average = "log"
    spread: Spread = "std"
    twins: int = 0
    balanced: bool = False


PLAIN = Ensemble()
"""Logarithms and their standard deviation, without twins."""


class LogFactor(NamedTuple):
    """What an ensemble says about the logarithm of a ratio.

    Attributes
    ----------
    mean : Tensor
        ``[B]`` mean over heads, or the logarithm of their mean ratio.
    std : Tensor
        ``[B]`` the uncertainty of one experiment, see :func:`uncertainty`; 0 with a single head.
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


def uncertainty(by_head: Tensor, ensemble: Ensemble) -> Tensor:
    """Return the uncertainty of what an ensemble says.

    With ``student`` it is the standard deviation of what is known of the truth, which three things make larger than
    that of the heads:

    - They are few, and their standard deviation is itself uncertain: see :func:`student_deviation`.
    - The truth is as far from the whole sample as bootstrap samples are, and so is farther from their mean, which
      scatters about the whole sample, than they are among themselves: with ``C`` heads by the factor ``1 + 1/C`` in the
      variance, or ``1 + (C + 2T)/C**2`` when ``T`` of their samples count twice. The mean of balanced samples is the
      whole sample but for those that count twice, which leaves ``1 + (C + 2T)/C**2 - 1/(C - T)``.
    - Twins are alike, which lowers the variance over all heads. That is undone as if they were equal.

    Parameters
    ----------
    by_head : Tensor
        ``[..., C]`` of ``C`` heads.
    ensemble : Ensemble
        How they are taken together.

    Returns
    -------
    Tensor
        ``[...]``; 0 with a single head, and of twins of one sample what they differ in.
    """
    heads, twins = by_head.shape[-1], ensemble.twins
    if heads == 1:
        return torch.zeros_like(by_head[..., 0])
    std, samples = by_head.std(-1), heads - twins
    if ensemble.spread == "std" or samples == 1:
        return std
    mean_scatters = 1 + (heads + 2 * twins) / heads**2 - (1 / samples if ensemble.balanced else 0)
    twins_are_alike = 1 - 2 * twins / (heads * (heads - 1))
    return std * student_deviation(samples) * math.sqrt(mean_scatters / twins_are_alike)


def student_deviation(samples: int) -> float:
    """Return the standard deviation of Student's t of so many samples (JCGM 101:2008, 6.4.9).

    What is known by a mean and a standard deviation of a few numbers is distributed by it. One deviation of 16 covers
    70.0 % and two cover 95.1 %. Where there is none, of two or three samples, it is the half-width that covers 68.3 %.
    """
    if samples > 3:
        return math.sqrt((samples - 1) / (samples - 3))
    return float(stats.t.ppf(stats.norm.cdf(1), samples - 1))


def over_heads(log_ratios: Tensor, ensemble: Ensemble) -> LogFactor:
    """Return what ``C`` heads say together of a logarithm ``[B, C]``, and its uncertainty."""
    mean = log_ratios.mean(1)
    if ensemble.average == "ratio":
        mean = log_ratios.logsumexp(1) - math.log(log_ratios.shape[1])
    return LogFactor(mean, uncertainty(log_ratios, ensemble))
