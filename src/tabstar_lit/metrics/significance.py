"""Expected significance of a signal above background (Cowan, Cranmer, Gross and Vitells, arXiv 1007.1727)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tabstar_lit.metrics.weighted import Bools, Floats, passing


def asimov_significance(signal: ArrayLike, background: ArrayLike, uncertainty: float = 0.0) -> NDArray[np.float64]:
    """Return the median discovery significance ``sqrt(2 [(s + b) ln(1 + s / b) - s])`` in standard deviations.

    Parameters
    ----------
    signal, background : array_like
        Expected yields ``s`` and ``b``; the significance is 0 where one of them is not positive.
    uncertainty : float
        Relative uncertainty of the background, ``sigma_b / b``.
    """
    s, b = np.broadcast_arrays(np.asarray(signal, dtype=float), np.asarray(background, dtype=float))
    defined = (s > 0) & (b > 0)
    s, b = np.where(defined, s, 0.0), np.where(defined, b, 1.0)
    if uncertainty > 0:
        variance = (uncertainty * b) ** 2
        squared = (s + b) * np.log((s + b) * (b + variance) / (b**2 + (s + b) * variance))
        squared -= b**2 / variance * np.log1p(variance * s / (b * (b + variance)))
    else:
        squared = (s + b) * np.log1p(s / b) - s
    return np.asarray(np.sqrt(np.maximum(2 * squared, 0.0)))


@dataclass(frozen=True, slots=True)
class Scan:
    """The significance of every cut on a score.

    Attributes
    ----------
    cuts, signal, background, significance : ndarray
        ``[T]`` falling cuts, yields above them and their significance.
    integrated : float
        ``sqrt(sum Z^2)`` over the bins of the score: what a fit of its shape would reach.
    """

    cuts: Floats
    signal: Floats
    background: Floats
    significance: Floats
    integrated: float

    @property
    def best(self) -> int:
        """Index of the best cut."""
        return int(np.argmax(self.significance))

    @property
    def maximum(self) -> float:
        """Significance of the best cut."""
        return float(self.significance[self.best])


def scan_cuts(
    scores: Floats,
    signal: Bools,
    background: Bools,
    weights: Floats | None = None,
    *,
    uncertainty: float = 0.0,
    min_events: int = 10,
    bins: int = 10,
) -> Scan | None:
    """Return the significance of every cut on ``scores``; None where there is no signal or no background.

    Parameters
    ----------
    scores : ndarray
        ``[N]`` in [0, 1], larger for signal.
    signal, background : ndarray of bool
        ``[N]``; events of neither are left out.
    weights : ndarray or None
        ``[N]`` weights that sum to expected yields.
    uncertainty : float
        Relative uncertainty of the background.
    min_events : int
        Cuts and bins that fewer background events pass count as 0: their background is not known well enough, and
        the best of all cuts would be where it happens to be small.
    bins : int
        Equal bins in [0, 1] for the integrated significance.
    """
    if not (signal.any() and background.any()):
        return None
    passed = passing(scores, signal, background, weights)
    significance = asimov_significance(passed.signal, passed.background, uncertainty)
    significance = np.where(passed.background_events >= min_events, significance, 0.0)
    own = np.ones(len(scores)) if weights is None else weights
    which = np.clip((scores * bins).astype(np.int64), 0, bins - 1)
    s, b, n = (
        np.bincount(which[rows], values[rows], minlength=bins)
        for rows, values in ((signal, own), (background, own), (background, np.ones_like(own)))
    )
    by_bin = np.where(n >= min_events, asimov_significance(s, b, uncertainty), 0.0)
    integrated = math.sqrt(float(np.square(by_bin).sum()))
    return Scan(passed.cuts, passed.signal, passed.background, significance, integrated)
