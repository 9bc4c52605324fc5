"""Toy events of fakes, whose fake factor is known in closed form.

Data are real leptons (prompt) and fakes, simulation is real leptons only; both in a tight and a loose region. Fakes of
the two regions are distributed differently, which makes the fake factor a function of the variables. Simulated events
have weights that scatter and may be negative; each region's sum to the real leptons in its data.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from tabstar_lit.arrays import Float64
from tabstar_lit.families.hep.events.file import ColumnInfo, EventChunk, EventFile, EventSchema, EventWriter
from tabstar_lit.families.hep.events.toy_files import has_toy, toy_identity
from tabstar_lit.families.hep.fakes.toy.closed_form import CLASSES, counts_of, form_of
from tabstar_lit.families.hep.fakes.toy.config import FakesToy

CHUNK = 100_000
UNITS = {"pt": "GeV", "abs_eta": None}
CAUCHY_TAIL = 10.0
MEAN_WEIGHT = {"lognormal": math.exp(3.5 + 0.5**2 / 2), "normal": 1.0, "cauchy": 1.0, "uniform": 0.5, "unity": 1.0}


def toy_fakes(path: Path, toy: FakesToy) -> EventFile:
    """Generate a toy.

    Parameters
    ----------
    path : Path
        Event file to write: columns ``pt`` (GeV) and, of ``pt_eta``, ``abs_eta``; classes :data:`CLASSES`.
    toy : FakesToy
        What to generate.

    Returns
    -------
    EventFile
        The file, opened.

    Raises
    ------
    ConfigError
        A shape is not positive and finite.
    DataError
        The file cannot be written.
    """
    form, counts = form_of(toy), counts_of(toy.n_events)
    rng = np.random.default_rng([toy.seed, toy.n_events])
    points, weights, labels = [], [], []
    for number, name in enumerate(CLASSES):
        n = int(rng.poisson(counts[name])) if toy.poisson else counts[name]
        kind = toy.mc_weights if name.endswith("mc") else toy.data_weights
        points.append(form.densities[name].sample(rng, n))
        drawn = draw_weights(rng, kind, n, form.totals[name])
        weights.append(drawn * _varied(rng, kind, n, counts[name]) if toy.poisson else drawn)
        labels.append(np.full(n, number))
    order = rng.permutation(sum(map(len, labels)))
    rows, shuffled, classes = (np.concatenate(parts)[order] for parts in (points, weights, labels))
    schema = EventSchema(CLASSES, {name: ColumnInfo(name, unit=UNITS[name]) for name in form.columns}, has_weights=True)
    with EventWriter(path, schema, sources=[toy.to_plain()], conversion=toy_identity(toy.to_plain())) as file:
        for start in range(0, len(order), CHUNK):
            part = slice(start, min(start + CHUNK, len(order)))
            columns = dict(zip(form.columns, rows[part].T, strict=True))
            ids = np.arange(part.start, part.stop, dtype=np.uint64)
            file.append(EventChunk(columns, classes[part], shuffled[part], ids))
    return EventFile.open(path)


def ensure_toy_fakes(path: Path, toy: FakesToy) -> Path:
    """Return ``path`` once this toy of this release lies there; fast when it does already.

    Raises
    ------
    DataError
        It cannot be written, or something else than such toy events lies there.
    """
    if not has_toy(path, toy.to_plain()):
        toy_fakes(path, toy)
    return path


def draw_weights(rng: np.random.Generator, kind: str, n: int, total: float) -> Float64:
    """Return ``n`` weights that scatter as ``kind`` says, scaled so that they sum to ``total``.

    ``cauchy`` is centred at 1 (at 0, as in SeeSawML, its sum would be of random sign), about one in eight is negative,
    and what lies further than 10 from the centre is put back there.
    """
    weights = _SCATTER[kind](rng, n)
    return np.asarray(weights * (total / weights.sum()))


def _varied(rng: np.random.Generator, kind: str, n: int, expected: int) -> float:
    """Return how much more than expected the weights of ``n`` events sum to, where neither is held fixed."""
    sample = _SCATTER[kind](rng, n)
    return float(sample.sum() / (expected * MEAN_WEIGHT[kind]))


def _cauchy(rng: np.random.Generator, n: int) -> Float64:
    departure = 0.5 * rng.standard_cauchy(n)
    return 1 + np.where(np.abs(departure) > CAUCHY_TAIL, 0.0, departure)


_SCATTER: Mapping[str, Callable[[np.random.Generator, int], Float64]] = {
    "lognormal": lambda rng, n: rng.lognormal(3.5, 0.5, n),
    "normal": lambda rng, n: rng.normal(1.0, 0.1, n),
    "cauchy": _cauchy,
    "uniform": lambda rng, n: rng.uniform(0.0, 1.0, n),
    "unity": lambda rng, n: np.ones(n),
}
