"""Replicas for an ensemble: each head sees weights of its own, which are the same whenever it sees an event.

What varies from head to head then measures what varies from one experiment to the next: the statistics of the sample
(Poisson bootstrap, ATL-PHYS-PUB-2021-011) and the normalisation of the simulation. Balanced replicas differ as much,
and leave the mean of the heads where the sample itself puts it (Davison, Hinkley and Schechtman, Biometrika 73 (1986)
555).
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from pandas.util import hash_array

from tabstar_lit.arrays import Float64, UInt64
from tabstar_lit.data.splits import salt
from tabstar_lit.errors import ConfigError

MOST_COPIES = 20
"""P(Poisson(1) > 20) is 1e-20, below the resolution of a hash."""
_CUMULATED = np.cumsum([math.exp(-1) / math.factorial(k) for k in range(MOST_COPIES)])


def poisson_copies(event_ids: UInt64, heads: int, seed: int) -> npt.NDArray[np.uint8]:
    """Return how often each event is in the bootstrap sample of each head.

    A number depends on the seed, the head and the id alone: not on the order of events, on batches or epochs. A head
    therefore learns from one and the same bootstrap sample until the end, and further heads change none of the first.

    Parameters
    ----------
    event_ids : ndarray of uint64 [N]
        Of the events; or of their groups, if what belongs together must be drawn together.
    heads : int
        Number of heads ``C``.
    seed : int
        Seed of the run.

    Returns
    -------
    ndarray of uint8 [N, C]
        Independent Poisson numbers of mean 1.
    """
    hashes = hash_array(np.asarray(event_ids, dtype=np.uint64))
    columns = [_poisson(hash_array(hashes ^ salt(f"bootstrap {seed} {head}"))) for head in range(heads)]
    return np.stack(columns, axis=1) if columns else np.empty((len(hashes), 0), dtype=np.uint8)


def balanced_copies(event_ids: UInt64, heads: int, seed: int) -> npt.NDArray[np.uint8]:
    """Return how often each event is in the sample of each head, as often in all of them as there are heads.

    These are Poisson numbers given their sum. What is linear in the events then has the mean over heads that the sample
    itself gives, where independent samples add a ``1 / C`` of its variance, and heads are as far from one another as
    independent ones: their variance is ``1 - 1 / C``, and any two of them go apart by ``-1 / C``.

    Parameters
    ----------
    event_ids : ndarray of uint64 [N]
        Of the events; or of their groups, if what belongs together must be drawn together.
    heads : int
        Number of heads ``C``. With another number all are drawn anew; a single head has the sample itself.
    seed : int
        Seed of the run.

    Returns
    -------
    ndarray of uint8 [N, C]
        Multinomial numbers of mean 1, whose sum over heads is ``C``.
    """
    hashes = hash_array(np.asarray(event_ids, dtype=np.uint64))
    copies = np.zeros((len(hashes), heads), dtype=np.uint8)
    for draw in range(heads):
        chosen = hash_array(hashes ^ salt(f"balanced {seed} {heads} {draw}")) % np.uint64(heads)
        copies[np.arange(len(hashes)), chosen] += 1
    return copies


def mc_norm_factors(sigma: float, heads: int, seed: int, step: int | None = None, *, balanced: bool = False) -> Float64:
    """Return ``exp(sigma z)`` with a standard normal ``z`` for each head: the factor on its simulated events.

    Parameters
    ----------
    sigma : float
        Relative uncertainty of the simulation's normalisation.
    heads : int
        Number of heads ``C``.
    seed : int
        Seed of the run. With the same seed a head has the same factor in numerator and denominator: one normalisation.
    step : int, optional
        Without it, factors stay for the run, so that heads differ by the uncertainty. With the number of the batch
        they are drawn for each batch, as in SeeSawML: every head then learns the same average over factors.
    balanced : bool, default=False
        Take their mean from the ``z``, so that the product of all factors is 1. A single head has the factor 1.

    Returns
    -------
    ndarray of float64 [C]
        Positive; ones for ``sigma`` 0.

    Raises
    ------
    ConfigError
        ``sigma`` is negative or not finite.
    """
    if not 0 <= sigma < math.inf:
        raise ConfigError(f"training_config.mc_norm_sigma: {sigma} is not a finite number of at least 0.")
    drawn = "run" if step is None else f"step {step}"
    normals = [np.random.default_rng(int(salt(f"norm {seed} {head} {drawn}"))).normal() for head in range(heads)]
    return np.exp(sigma * (np.asarray(normals) - (np.mean(normals) if balanced else 0.0)))


def clip_threshold(weights: npt.NDArray[np.floating], quantile: float) -> float:
    """Return the size beyond which weights are clipped: a quantile of ``|w|`` over all training events.

    Taken once over the whole sample, it does not change from batch to batch as a quantile of each would.

    Parameters
    ----------
    weights : ndarray [N]
        Of either sign, at least one.
    quantile : float
        ``weight_clip_quantile``, above 0 and at most 1.

    Raises
    ------
    ConfigError
        ``quantile`` is out of range.
    """
    if not 0 < quantile <= 1:
        raise ConfigError(f"training_config.weight_clip_quantile: {quantile} is not above 0 and at most 1.")
    return float(np.quantile(np.abs(weights), quantile))


def clip_weights(weights: npt.NDArray[np.floating], threshold: float) -> npt.NDArray[np.floating]:
    """Return the weights, none larger in size than ``threshold``; negative ones are clipped as positive ones are."""
    return np.asarray(np.clip(weights, -threshold, threshold))


def _poisson(hashes: UInt64) -> npt.NDArray[np.uint8]:
    uniform = (hashes >> np.uint64(11)).astype(np.float64) * 2.0**-53
    return np.searchsorted(_CUMULATED, uniform, side="right").astype(np.uint8)
