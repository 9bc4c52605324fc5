"""What the heads of an ensemble say together, and how well they know it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
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
    radius : float
        How far around an event the uncertainty is averaged, see :func:`displaced`; 0: at the event alone.
    """

    average: Average = "log"
    spread: Spread = "std"
    twins: int = 0
    balanced: bool = False
    radius: float = 0.0


PLAIN = Ensemble()
"""Logarithms and their standard deviation, without twins."""

MAX_DIRECTIONS = 4


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


def over_heads(log_ratios: Tensor, ensemble: Ensemble, around: Sequence[Tensor] = ()) -> LogFactor:
    """Return what ``C`` heads say together of a logarithm ``[B, C]``, and its uncertainty.

    Parameters
    ----------
    log_ratios : Tensor
        ``[B, C]`` of ``B`` events.
    ensemble : Ensemble
        How heads are taken together.
    around : sequence of Tensor
        ``[B, C]`` each, of events that were :func:`displaced` a little.
    """
    mean = log_ratios.mean(1)
    if ensemble.average == "ratio":
        mean = log_ratios.logsumexp(1) - math.log(log_ratios.shape[1])
    return LogFactor(mean, averaged(lambda logs: uncertainty(logs, ensemble), log_ratios, around))


def averaged(deviation: Callable[[Tensor], Tensor], log_ratios: Tensor, around: Sequence[Tensor]) -> Tensor:
    """Return a standard deviation over heads ``[B]``, root mean square over events and those around them."""
    if not around:
        return deviation(log_ratios)
    return torch.stack([deviation(logs).square() for logs in (log_ratios, *around)]).mean(0).sqrt()


def displaced(numbers: Tensor, radius: float) -> list[Tensor]:
    """Return scaled numbers ``[B, F]`` as they are a little away, to either side along up to four directions.

    Smooth functions that follow one sample and its bootstrap samples cross where these happen to agree. There they are
    next to equal, and no closer to the truth than elsewhere: the crossing is at other places for each sample. The mean
    of the variance over points around is nearly what many samples would have there.

    Parameters
    ----------
    numbers : Tensor
        In units of their standard deviations.
    radius : float
        Distance, in these units; 0 makes no points.

    Returns
    -------
    list of Tensor
        ``2 min(F, 4)`` of ``[B, F]``. Directions are the first vectors of a discrete cosine transform: each is of all
        features, and they are orthonormal.
    """
    n_features = numbers.shape[1]
    if radius == 0 or n_features == 0:
        return []
    steps = (torch.arange(n_features, dtype=torch.float64) + 0.5) * math.pi / n_features
    waves = torch.cos(torch.arange(min(n_features, MAX_DIRECTIONS), dtype=torch.float64)[:, None] * steps)
    waves = (radius * waves / waves.norm(dim=1, keepdim=True)).to(numbers)
    return [numbers + sign * wave for wave in waves for sign in (-1, 1)]
