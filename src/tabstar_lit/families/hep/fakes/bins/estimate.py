"""The classical estimate of the fake factor: counted in bins, with linear propagation of statistical errors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tabstar_lit.arrays import Bool, Float64
from tabstar_lit.errors import ConfigError
from tabstar_lit.families.hep.fakes.variables import column_of

MOST_VARIABLES = 3


class FactorAt(NamedTuple):
    """The fake factor of events: ``[N]`` each, NaN where the estimate has none."""

    factor: Float64
    error: Float64


@dataclass(frozen=True)
class BinnedFactor:
    """``F = (D_T - M_T) / (D_L - M_L)`` of each cell.

    Attributes
    ----------
    variables : tuple of str
        One to three.
    edges : tuple of ndarray
        Bin edges of each, in its unit.
    factor, error : ndarray
        ``[bins of the first, ...]``: the factor and its statistical error. NaN where the denominator is empty or not
        above 0, since a ratio is not defined there; a negative numerator gives a negative factor.
    """

    variables: tuple[str, ...]
    edges: tuple[Float64, ...]
    factor: Float64
    error: Float64

    @property
    def undefined(self) -> int:
        """Number of cells without a factor."""
        return int(np.isnan(self.factor).sum())

    def at(self, columns: Mapping[str, Float64]) -> FactorAt:
        """Return the factor of events.

        Parameters
        ----------
        columns : mapping of str to ndarray
            ``[N]`` each. Events beyond the bins belong to the outermost; those without a value have no factor.
        """
        cells, known = _cells(columns, self.variables, self.edges)
        return FactorAt(*(np.where(known, table.ravel()[cells], np.nan) for table in (self.factor, self.error)))


def binned_factor(
    columns: Mapping[str, Float64], signed: Float64, tight: Bool, edges: Mapping[str, Sequence[float] | Float64]
) -> BinnedFactor:
    """Count tight over loose events in cells.

    Parameters
    ----------
    columns : mapping of str to ndarray
        ``[N]`` each; those of ``edges`` are used.
    signed : ndarray
        ``[N]`` weights, those of simulated events with their sign turned, so that sums are data minus simulation.
    tight : ndarray of bool
        ``[N]`` tight rather than loose.
    edges : mapping of str to sequence of float
        Rising bin edges of one to three variables. Events beyond them are counted in the outermost bins.

    Raises
    ------
    ConfigError
        There are no or more than three variables.
    """
    if not 1 <= len(edges) <= MOST_VARIABLES:
        raise ConfigError(
            f"a binned estimate is of 1 to {MOST_VARIABLES} variables, not of {len(edges)}: {list(edges)}."
        )
    variables, bounds = tuple(edges), tuple(np.asarray(own, dtype=np.float64) for own in edges.values())
    shape = tuple(len(own) - 1 for own in bounds)
    cells, known = _cells(columns, variables, bounds)

    def summed(chosen: Bool, weights: Float64) -> Float64:
        sums = np.bincount(cells[chosen & known], weights[chosen & known], int(np.prod(shape)))
        return np.asarray(sums.reshape(shape))

    above, below = summed(tight, signed), summed(~tight, signed)
    above_variance, below_variance = summed(tight, signed**2), summed(~tight, signed**2)
    positive = np.where(below > 0, below, np.nan)
    factor = above / positive
    error = np.sqrt(above_variance + factor**2 * below_variance) / positive
    return BinnedFactor(variables, bounds, factor, error)


def _cells(
    columns: Mapping[str, Float64], variables: Sequence[str], edges: Sequence[Float64]
) -> tuple[NDArray[Any], Bool]:
    """Return the number of each event's cell ``[N]``, and whether it has all values."""
    values = [column_of(columns, name) for name in variables]
    places = [
        np.clip(np.searchsorted(own, value, side="right") - 1, 0, len(own) - 2)
        for own, value in zip(edges, values, strict=True)
    ]
    cells = np.ravel_multi_index(tuple(places), tuple(len(own) - 1 for own in edges))
    return cells, np.all(np.isfinite(values), axis=0)
