"""Densities in closed form that toy events are drawn from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

import numpy as np

from tabstar_lit.arrays import Float64
from tabstar_lit.errors import ConfigError
from tabstar_lit.families.hep.fakes.toy.config import Shape

SQRT_S_GEV = 13_000.0
N_CELLS = 20_000
"""Cells in which the density is integrated; the error is of the order of the inverse square."""
TAIL = 0.1
"""Outer share of the range that ``tail_boost`` doubles."""


class Density(Protocol):
    """A normalised density over points of ``D`` variables."""

    def __call__(self, points: Float64) -> Float64:
        """Return the density ``[N]`` at points ``[N, D]``; 0 outside its range."""

    def sample(self, rng: np.random.Generator, n: int) -> Float64:
        """Return ``n`` points ``[n, D]``."""


def _signal(x: Float64, a: float, b: float, c: float, d: float) -> Float64:
    return np.asarray(a * (x + b) ** -c * np.exp(-d * x))


def _background(x: Float64, a: float, b: float, c: float) -> Float64:
    return np.asarray(a * x**-b * np.exp(-c * x))


def _resonance(x: Float64, mean: float, width: float) -> Float64:
    return np.asarray(np.exp(-0.5 * ((x - mean) / width) ** 2))


def _qcd(x: Float64, a: float, b: float, c: float, d: float) -> Float64:
    u = x / SQRT_S_GEV
    return np.asarray(a * (1 - u) ** b / u ** (c + d * np.log(u)))


FORMULAS: Mapping[str, Callable[..., Float64]] = {
    "signal": _signal,
    "background": _background,
    "resonance": _resonance,
    "qcd": _qcd,
}
"""Shapes by name, of ``x`` in GeV and their parameters; not normalised."""


class ShapeDensity:
    """One of :data:`FORMULAS` between two bounds; points are ``[N, 1]``, in GeV.

    Parameters
    ----------
    shape : Shape
        Name and parameters.
    low, high : float
        Bounds, GeV.

    Raises
    ------
    ConfigError
        The formula is not positive and finite between the bounds.
    """

    def __init__(self, shape: Shape, low: float, high: float) -> None:
        self.shape, self.low, self.high = shape, low, high
        # Cells end where the boost begins, and the rule of the midpoint never looks across that step.
        edges = np.linspace(low, high, N_CELLS + 1)
        with np.errstate(all="ignore"):
            heights = self._formula(0.5 * (edges[1:] + edges[:-1]))
        if not (np.isfinite(heights).all() and heights.min() > 0):
            raise ConfigError(f"toy shape '{shape}' is not positive and finite from {low:g} to {high:g} GeV.")
        integral = np.concatenate([[0.0], np.cumsum(heights * np.diff(edges))])
        self._edges, self._cumulated, self._norm = edges, integral / integral[-1], integral[-1]

    def __call__(self, points: Float64) -> Float64:
        """Return the density per GeV."""
        x = points[:, 0]
        inside = (x >= self.low) & (x <= self.high)
        return np.where(inside, self._formula(np.clip(x, self.low, self.high)) / self._norm, 0.0)

    def sample(self, rng: np.random.Generator, n: int) -> Float64:
        """Draw points by the inverse of the cumulated density."""
        return np.interp(rng.random(n), self._cumulated, self._edges)[:, None]

    def _formula(self, x: Float64) -> Float64:
        heights = FORMULAS[self.shape.name](x, *self.shape.parameters)
        boosted = self.shape.tail_boost & (x > self.high - TAIL * (self.high - self.low))
        return np.where(boosted, 2 * heights, heights)


class CorrelatedDensity:
    """Falling in pt with a mean that depends on abs(eta): points ``[N, 2]`` of pt in GeV and abs(eta).

    ``p(eta) ~ exp(tilt eta)`` on (0, eta_max), and ``p(pt | eta) ~ exp(-pt / (mean + slope eta))`` between the bounds.

    Parameters
    ----------
    low, high : float
        Bounds of pt, GeV.
    eta_max : float
        Upper bound of abs(eta).
    tilt : float
        Above 0 for more events forward; not 0.
    mean, slope : float
        Scale of the fall at eta 0, GeV, and its change with eta.
    """

    def __init__(self, low: float, high: float, eta_max: float, *, tilt: float, mean: float, slope: float) -> None:
        self.low, self.high, self.eta_max = low, high, eta_max
        self.tilt, self.mean, self.slope = tilt, mean, slope

    def __call__(self, points: Float64) -> Float64:
        """Return the density per GeV and unit of eta."""
        pt, eta = points[:, 0], points[:, 1]
        inside = (pt >= self.low) & (pt <= self.high) & (eta >= 0) & (eta <= self.eta_max)
        scale = self._scale(np.clip(eta, 0, self.eta_max))
        of_eta = np.exp(self.tilt * eta) * self.tilt / np.expm1(self.tilt * self.eta_max)
        of_pt = np.exp(-(pt - self.low) / scale) / (-scale * np.expm1(-(self.high - self.low) / scale))
        return np.where(inside, of_eta * of_pt, 0.0)

    def sample(self, rng: np.random.Generator, n: int) -> Float64:
        """Draw points by the inverses of both cumulated densities."""
        eta = np.log1p(rng.random(n) * np.expm1(self.tilt * self.eta_max)) / self.tilt
        scale = self._scale(eta)
        pt = self.low - scale * np.log1p(rng.random(n) * np.expm1(-(self.high - self.low) / scale))
        return np.stack([pt, eta], axis=1)

    def _scale(self, eta: Float64) -> Float64:
        return self.mean + self.slope * eta


class ProductDensity:
    """Two independent variables: points ``[N, 2]``, the first of one density and the second uniform.

    Parameters
    ----------
    first : Density
        Of the first variable.
    high : float
        Upper bound of the second variable; its lower bound is 0.
    """

    def __init__(self, first: Density, high: float) -> None:
        self.first, self.high = first, high

    def __call__(self, points: Float64) -> Float64:
        """Return the density of both."""
        inside = (points[:, 1] >= 0) & (points[:, 1] <= self.high)
        return np.where(inside, self.first(points[:, :1]) / self.high, 0.0)

    def sample(self, rng: np.random.Generator, n: int) -> Float64:
        """Draw both variables."""
        return np.concatenate([self.first.sample(rng, n), rng.uniform(0, self.high, (n, 1))], axis=1)


class MixedDensity:
    """Events of one density with a certain probability, otherwise of another.

    Parameters
    ----------
    first, second : Density
        The densities.
    share : float
        Probability of the first.
    """

    def __init__(self, first: Density, second: Density, share: float) -> None:
        self.first, self.second, self.share = first, second, share

    def __call__(self, points: Float64) -> Float64:
        """Return the density of the mixture."""
        return self.share * self.first(points) + (1 - self.share) * self.second(points)

    def sample(self, rng: np.random.Generator, n: int) -> Float64:
        """Draw points of both in random order."""
        n_first = int(rng.binomial(n, self.share))
        points = np.concatenate([self.first.sample(rng, n_first), self.second.sample(rng, n - n_first)])
        return rng.permutation(points)
