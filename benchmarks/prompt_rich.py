"""Events whose tight leptons are mostly prompt, so that subtraction leaves less than nothing in places; F is known.

Tight fakes fall steeply from 20 GeV on and have all but ended at 100 GeV, where prompt leptons have not. There the sum
of the subtraction's weights is negative as often as not: a ratio is to be learned beside a region that has none.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy import stats

from tabstar_lit.arrays import Bool, Float64
from tabstar_lit.families.hep.events.file import ColumnInfo, EventChunk, EventFile, EventSchema, EventWriter
from tabstar_lit.families.hep.fakes.factor.factors import event_factors, loose_events, region_events
from tabstar_lit.families.hep.fakes.factor.restore import Restored

LOW, HIGH, ETA_MAX = 20.0, 300.0, 2.5
"""Range of pt, GeV, and of the size of eta."""
CLASSES = ("tight_data", "loose_data", "tight_mc", "loose_mc")
FAKES = {"tight": 6_000, "loose": 26_000}
"""Expected fakes in the data of each region."""
PROMPT = {"tight": 12_000, "loose": 5_000}
"""Expected prompt leptons, which simulation is normalised to."""
N_SIMULATED, N_SCATTERED = 30_000, 100_000
"""Simulated events of a region: of equal weights, and of weights that scatter and count for 7 in 100 of as many."""
FLAT = 0.003
"""Share of the tight fakes that is spread evenly, so that the fake factor is nowhere 0."""
NEGATIVE = 0.35
"""Share of negative weights among simulated events where they scatter."""
BIN_GEV, FEWEST = 5.0, 5.0
"""The factor is compared where bins of this width hold at least so many tight fakes."""

Law = Callable[[np.random.Generator, int], Float64]


class Agreement(NamedTuple):
    """A learned fake factor against the true one.

    Attributes
    ----------
    total : float
        Predicted over true fakes of the held-out events.
    heads : ndarray
        ``[C]`` the same of each head.
    log_error : float
        Mean of abs(log F - log F_true) over tight fakes, in the bins that hold enough of them.
    """

    total: float
    heads: Float64
    log_error: float

    @property
    def worst_head(self) -> float:
        """Greatest relative difference of a head's fakes from the true ones."""
        return float(np.abs(self.heads - 1).max())


def tight_density(pt: Float64) -> Float64:
    """Return the density of tight fakes per GeV."""
    return (1 - FLAT) * _cut(_STEEP, pt) + FLAT / (HIGH - LOW)


def log_factor(pt: Float64) -> Float64:
    """Return the logarithm of the true fake factor; both kinds of fakes are flat in eta."""
    return np.asarray(np.log(FAKES["tight"] * tight_density(pt) / (FAKES["loose"] * _cut(_BROAD, pt))))


def enough_fakes(pt: Float64, *, share: float = 1.0) -> Bool:
    """Return which values lie in bins that hold more than :data:`FEWEST` tight fakes, of ``share`` of all events."""
    centres = np.arange(LOW, HIGH, BIN_GEV) + BIN_GEV / 2
    filled = share * FAKES["tight"] * BIN_GEV * tight_density(centres) > FEWEST
    return np.asarray(filled[((pt - LOW) / BIN_GEV).astype(int).clip(0, len(centres) - 1)])


def write_prompt_rich(path: Path, seed: int, *, negative: float = 0.0, share: float = 1.0) -> EventFile:
    """Generate the events.

    Parameters
    ----------
    path : Path
        Event file to write.
    seed : int
        Equal seeds make equal events.
    negative : float
        Share of negative weights among simulated events, which then scatter log-normally; 0 leaves them all equal.
    share : float
        Of all the yields and events above.
    """
    rng = np.random.default_rng([seed, round(100 * negative)])
    simulated = N_SCATTERED if negative else N_SIMULATED
    fakes: Mapping[str, Law] = {"tight": _tight_fakes, "loose": lambda rng, n: _drawn(_BROAD, rng, n)}
    pt, eta, weights, labels = [], [], [], []
    for number, name in enumerate(CLASSES):
        region, kind = name.split("_")
        n_prompt = rng.poisson(share * PROMPT[region]) if kind == "data" else round(share * simulated)
        n_fakes = rng.poisson(share * FAKES[region]) if kind == "data" else 0
        pt += [_drawn(_PROMPT, rng, n_prompt), fakes[region](rng, n_fakes)]
        eta += [_CENTRAL.rvs(n_prompt, random_state=rng), rng.uniform(-ETA_MAX, ETA_MAX, n_fakes)]
        scattered = _scattered(rng, n_prompt, negative) if kind == "mc" else np.ones(n_prompt)
        weights += [scattered * (share * PROMPT[region] / scattered.sum() if kind == "mc" else 1.0), np.ones(n_fakes)]
        labels.append(np.full(n_prompt + n_fakes, number))
    columns = {"pt": np.concatenate(pt), "eta": np.concatenate(eta)}
    order = rng.permutation(len(columns["pt"]))
    schema = EventSchema(CLASSES, {"pt": ColumnInfo("pt", unit="GeV"), "eta": ColumnInfo("eta")}, has_weights=True)
    with EventWriter(path, schema) as file:
        shuffled = {name: values[order] for name, values in columns.items()}
        ids = np.arange(len(order), dtype=np.uint64)
        file.append(EventChunk(shuffled, np.concatenate(labels)[order], np.concatenate(weights)[order], ids))
    return EventFile.open(path)


def agreement(model: Restored, file: EventFile, *, split: str | None = "test", share: float = 1.0) -> Agreement:
    """Compare what a trained ratio predicts on one side of its split with what is expected there."""
    loose = loose_events(model, region_events(model, file, split))
    by_head = np.concatenate([part.heads for part in event_factors(model, loose)])
    total = loose.signed @ np.exp(np.log(by_head).mean(1))
    expected = share * FAKES["tight"] * len(model.rows(file, split)) / file.n_events
    pt = file.column("pt")[loose.rows]
    distance = np.abs(np.log(by_head).mean(1) - log_factor(pt))
    compared = enough_fakes(pt, share=share) & ~loose.simulated
    log_error = float(np.average(distance[compared], weights=np.exp(log_factor(pt))[compared]))
    return Agreement(float(total / expected), loose.signed @ by_head / expected, log_error)


_STEEP, _BROAD, _PROMPT = stats.expon(scale=10), stats.gamma(1.2, scale=28), stats.gamma(4, scale=9)
_CENTRAL = stats.truncnorm(-ETA_MAX / 1.2, ETA_MAX / 1.2, scale=1.2)


def _cut(law: stats.distributions.rv_frozen, pt: Float64) -> Float64:
    """Return the density of a law above ``LOW``, cut off at ``HIGH``."""
    return np.asarray(law.pdf(pt - LOW) / law.cdf(HIGH - LOW))


def _drawn(law: stats.distributions.rv_frozen, rng: np.random.Generator, n: int) -> Float64:
    return np.asarray(LOW + law.ppf(rng.random(n) * law.cdf(HIGH - LOW)))


def _tight_fakes(rng: np.random.Generator, n: int) -> Float64:
    return np.where(rng.random(n) < FLAT, rng.uniform(LOW, HIGH, n), _drawn(_STEEP, rng, n))


def _scattered(rng: np.random.Generator, n: int, negative: float) -> Float64:
    if not negative:
        return np.ones(n)
    return rng.lognormal(0.0, 0.5, n) * np.where(rng.random(n) < negative, -1.0, 1.0)
