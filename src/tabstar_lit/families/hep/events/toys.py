"""Toy collisions: a resonance decaying to two b-jets over a falling dijet spectrum, with radiation and a detector.

Signal
    A particle of 125 GeV (Breit-Wigner, width 4 GeV) with rapidity N(0, 1) decays isotropically into two b-jets.
Background
    Two partons back to back with transverse momentum drawn from pt^-2.5 above 25 GeV and rapidities N(0, 1.5) each.
    The true spectrum is pt^-4.5: the ratio of the two is the event weight, as in samples generated in slices of pt.
Both
    The pair recoils against a jet of initial-state radiation (exponential pt; the signal radiates more), which boosts
    it; further soft jets are added. Every jet's four-momentum is smeared by its resolution, a calorimeter's
    70 %/sqrt(pt) plus 5 %. Jets below 20 GeV or beyond |eta| = 4.5 are lost, so that an event may have none. Missing
    momentum is what balances the smeared jets. Signal weights sum to 100 events, background weights to 10,000.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tabstar_lit.arrays import Array, Bool, Float64
from tabstar_lit.errors import DataError
from tabstar_lit.families.hep.events.file import (
    ColumnInfo,
    EventChunk,
    EventFile,
    EventSchema,
    EventWriter,
    ObjectChunk,
)
from tabstar_lit.families.hep.events.toy_files import has_toy, toy_identity

TOY_VERSION = 1
"""Raise with every change of what is generated: files of another version are made again."""

CLASSES = ("background", "signal")
BTAGS = ("none", "loose", "tight")
MASS_GEV, WIDTH_GEV = 125.0, 4.0
PT_MIN_GEV, PT_MAX_GEV, DRAWN_POWER, TRUE_POWER = 25.0, 600.0, 2.5, 4.5
JET_PT_GEV, JET_ETA = 20.0, 4.5
YIELDS = {"signal": 100.0, "background": 10_000.0}
N_SOFT = 5
CHUNK = 100_000

COLUMNS = {
    "met": "GeV",
    "met_phi": "rad",
    "n_jets": None,
    "ht": "GeV",
    "m_jj": "GeV",
    "pt_jj": "GeV",
    "deta_jj": None,
    "dphi_jj": "rad",
    "mass": "GeV",
}
"""Flat columns and their units. Those of the two leading jets are missing where there are fewer. ``mass`` is that of
the pair from the hard process, smeared but never lost: a spectator that a classifier should not sculpt."""


class _Process(NamedTuple):
    """Four-momenta ``[n, 8, 4]`` (E, px, py, pz; 0 where no jet), which jets are b-jets, and event weights ``[n]``."""

    jets: Float64
    is_b: Bool
    weights: Float64


def toy_events(path: Path, n_events: int = 40_000, seed: int = 0) -> EventFile:
    """Generate toy events, as many of signal as of background, in random order.

    Parameters
    ----------
    path : Path
        Event file to write.
    n_events : int
        At least 2.
    seed : int
        Equal seeds and sizes give equal files.

    Returns
    -------
    EventFile
        The file, opened.

    Raises
    ------
    DataError
        If it cannot be written, or fewer than two events are asked for.
    """
    if n_events < 2:
        raise DataError(f"{path}: {n_events} toy events are too few: ask for at least 2, one of each class")
    source = toy_source(n_events, seed)
    with EventWriter(path, _schema(), sources=[source], conversion=toy_identity(source)) as file:
        for chunk in _chunks(n_events, seed):
            file.append(chunk)
    return EventFile.open(path)


def ensure_toy(path: Path, n_events: int = 40_000, seed: int = 0) -> Path:
    """Return ``path`` once these toy events of this release lie there; fast when they do already.

    Parameters
    ----------
    path : Path
        Where the file belongs. Toy events of another size, seed or release are replaced.
    n_events, seed : int
        As for :func:`toy_events`.

    Returns
    -------
    Path
        The same path.

    Raises
    ------
    DataError
        If it cannot be written, or something else than toy events lies there.
    """
    if not has_toy(path, toy_source(n_events, seed)):
        toy_events(path, n_events, seed)
    return path


def _chunks(n_events: int, seed: int) -> Iterator[EventChunk]:
    labels = np.random.default_rng([seed, 0]).permutation(np.arange(n_events) % 2)
    n_of_class = np.bincount(labels, minlength=2)
    for number, start in enumerate(range(0, n_events, CHUNK), start=1):
        rng = np.random.default_rng([seed, number])
        part = labels[start : start + CHUNK]
        generated = [_generate(rng, name, int((part == i).sum())) for i, name in enumerate(CLASSES)]
        order = np.argsort(np.argsort(part, kind="stable"))  # background first, then signal: back to where they belong
        process = _Process(*(np.concatenate(arrays)[order] for arrays in zip(*generated, strict=True)))
        weights = process.weights * np.array([YIELDS[name] for name in CLASSES])[part] / n_of_class[part]
        columns, jets = _measure(rng, process)
        ids = np.arange(start, start + len(part), dtype=np.uint64)
        yield EventChunk(columns, part, weights, ids, {"jets": jets})


def _generate(rng: np.random.Generator, name: str, n: int) -> _Process:
    """Generate ``n`` events of a process before the detector, with weights of mean 1."""
    signal = name == "signal"
    pair, weights = _resonance(rng, n) if signal else _dijets(rng, n)
    recoil, phi = rng.exponential(35.0 if signal else 25.0, n), rng.uniform(-np.pi, np.pi, n)
    pair = boost_transversely(pair, recoil, phi)
    radiated = _massless(recoil, rng.normal(0, 2.0, n), phi + np.pi)
    soft_pt = 10.0 + rng.exponential(12.0, (n, N_SOFT))
    soft_pt[np.arange(N_SOFT) >= rng.poisson(0.8 if signal else 1.2, n)[:, None]] = 0.0
    soft = _massless(soft_pt, rng.normal(0, 2.0, (n, N_SOFT)), rng.uniform(-np.pi, np.pi, (n, N_SOFT)))
    jets = np.concatenate([pair, radiated[:, None], soft], axis=1)
    is_b = np.zeros(jets.shape[:2], dtype=bool)
    is_b[:, :2] = signal or rng.random((n, 1)) < 0.1  # gluons that split to a b quark pair
    return _Process(jets, is_b, weights)


def _resonance(rng: np.random.Generator, n: int) -> tuple[Float64, Float64]:
    """Decay a resonance without transverse momentum; ``[n, 2, 4]``, and weights that scatter as corrections do."""
    angle = rng.uniform(-0.45, 0.45, n)  # tails of the Breit-Wigner beyond 12 half-widths are cut off
    mass = MASS_GEV + 0.5 * WIDTH_GEV * np.tan(np.pi * angle)
    cosine, phi = rng.uniform(-1, 1, n), rng.uniform(-np.pi, np.pi, n)
    pt, rapidity = 0.5 * mass * np.sqrt(1 - cosine**2), rng.normal(0, 1.0, n)
    eta = np.arctanh(cosine)  # of the first massless daughter at rest; boosts along the beam add rapidities
    pair = [_massless(pt, rapidity + eta, phi), _massless(pt, rapidity - eta, phi + np.pi)]
    return np.stack(pair, axis=1), rng.lognormal(-0.5 * 0.2**2, 0.2, n)


def _dijets(rng: np.random.Generator, n: int) -> tuple[Float64, Float64]:
    """Draw two partons back to back; ``[n, 2, 4]``, and the weights that turn the drawn spectrum into the true one."""
    low, high = (edge ** (1 - DRAWN_POWER) for edge in (PT_MIN_GEV, PT_MAX_GEV))
    pt = rng.uniform(high, low, n) ** (1 / (1 - DRAWN_POWER))
    phi, eta = rng.uniform(-np.pi, np.pi, n), rng.normal(0, 1.5, (2, n))
    drawn, true = ((PT_MIN_GEV ** (1 - p) - PT_MAX_GEV ** (1 - p)) / (p - 1) for p in (DRAWN_POWER, TRUE_POWER))
    weights = pt ** (DRAWN_POWER - TRUE_POWER) * drawn / true
    return np.stack([_massless(pt, eta[0], phi), _massless(pt, eta[1], phi + np.pi)], axis=1), weights


def boost_transversely(momenta: Float64, pt: Float64, phi: Float64) -> Float64:
    """Give systems without transverse momentum one, by a Lorentz boost, which keeps every invariant mass.

    Parameters
    ----------
    momenta : ndarray [n, P, 4]
        E, px, py, pz of the members of each system.
    pt, phi : ndarray [n]
        Transverse momentum that the sum of the members will have, and its direction.

    Returns
    -------
    ndarray [n, P, 4]
        The boosted members.
    """
    gamma_beta = (pt / momenta[..., 0].sum(axis=1))[:, None]
    gamma = np.sqrt(1 + gamma_beta**2)
    along = np.stack([np.cos(phi), np.sin(phi)], axis=-1)[:, None]
    energy, transverse = momenta[..., 0], momenta[..., 1:3]
    parallel = (transverse * along).sum(axis=-1)
    shift = gamma_beta * energy + (gamma - 1) * parallel
    boosted = transverse + shift[..., None] * along
    energy = gamma * energy + gamma_beta * parallel
    return np.concatenate([energy[..., None], boosted, momenta[..., 3:]], axis=-1)


def _massless(pt: Float64, eta: Float64, phi: Float64) -> Float64:
    return np.stack([pt * np.cosh(eta), pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta)], axis=-1)


def _measure(rng: np.random.Generator, process: _Process) -> tuple[dict[str, Array], ObjectChunk]:
    """Smear the jets, lose some, and compute what depends on them."""
    true_pt = np.hypot(process.jets[..., 1], process.jets[..., 2])
    resolution = np.hypot(0.7 / np.sqrt(np.maximum(true_pt, 1.0)), 0.05)
    response = np.clip(1 + resolution * rng.standard_normal(true_pt.shape), 0.2, 1.8)
    jets = process.jets * response[..., None]
    pt = true_pt * response
    eta = np.arcsinh(np.divide(jets[..., 3], pt, out=np.zeros_like(pt), where=pt > 0))
    seen = (pt > JET_PT_GEV) & (np.abs(eta) < JET_ETA)
    missing = -jets[..., 1:3].sum(axis=1)
    order = np.argsort(np.where(seen, -pt, np.inf), axis=1)
    pt, eta, seen, is_b = (np.take_along_axis(x, order, axis=1) for x in (pt, eta, seen, process.is_b))
    sorted_jets = np.take_along_axis(jets, order[..., None], axis=1)
    phi = np.arctan2(sorted_jets[..., 2], sorted_jets[..., 1])
    tag = rng.random(pt.shape)[..., None] < np.where(is_b[..., None], [0.8, 0.6], [0.12, 0.02])
    jet_mass = 0.1 * pt * np.abs(rng.standard_normal(pt.shape))
    energy = np.hypot(sorted_jets[..., 0], jet_mass)
    flat = {"pt": pt, "eta": eta, "phi": phi, "energy": energy, "btag": tag.sum(axis=-1)}
    columns = {
        "met": np.hypot(missing[:, 0], missing[:, 1]),
        "met_phi": np.arctan2(missing[:, 1], missing[:, 0]),
        "n_jets": seen.sum(axis=1),
        "ht": np.where(seen, pt, 0).sum(axis=1),
        **_leading_pair(sorted_jets[:, :2], eta[:, :2], phi[:, :2], seen[:, 1]),
        "mass": _mass(jets[:, :2].sum(axis=1)),
    }
    return columns, ObjectChunk(seen.sum(axis=1), {name: values[seen] for name, values in flat.items()})


def _leading_pair(jets: Float64, eta: Float64, phi: Float64, both: Bool) -> dict[str, Float64]:
    total = jets.sum(axis=1)
    pair = {
        "m_jj": _mass(total),
        "pt_jj": np.hypot(total[:, 1], total[:, 2]),
        "deta_jj": np.abs(eta[:, 0] - eta[:, 1]),
        "dphi_jj": np.abs(np.mod(phi[:, 0] - phi[:, 1] + np.pi, 2 * np.pi) - np.pi),
    }
    return {name: np.where(both, values, np.nan) for name, values in pair.items()}


def _mass(momentum: Float64) -> Float64:
    squared = momentum[:, 0] ** 2 - (momentum[:, 1:] ** 2).sum(axis=1)
    return np.asarray(np.sqrt(np.maximum(squared, 0.0)))  # rounding may leave it a little below zero


def _schema() -> EventSchema:
    columns = {name: ColumnInfo(name, unit=unit, nullable=name.endswith("_jj")) for name, unit in COLUMNS.items()}
    units = {"pt": "GeV", "eta": None, "phi": "rad", "energy": "GeV"}
    jets = {name: ColumnInfo(name, unit=unit) for name, unit in units.items()}
    jets["btag"] = ColumnInfo("btag", "categorical", categories=BTAGS)
    return EventSchema(CLASSES, columns, {"jets": jets}, has_weights=True)


def toy_source(n_events: int = 40_000, seed: int = 0) -> dict[str, Any]:
    """Return what the event file of :func:`toy_events` says it is made from."""
    return {"file": "toy", "version": TOY_VERSION, "n_events": n_events, "seed": seed}
