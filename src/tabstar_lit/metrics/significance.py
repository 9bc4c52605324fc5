"""Expected significance of a signal above background (Cowan, Cranmer, Gross and Vitells, arXiv 1007.1727)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from tabstar_lit.arrays import Bool, Float64
from tabstar_lit.metrics.weighted import Passing, passing


def asimov_significance(signal: ArrayLike, background: ArrayLike, uncertainty: float = 0.0) -> Float64:
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
        ``sqrt(sum Z^2)`` over bins of the score: what a fit of its shape would reach. At least that of the best cut.
    """

    cuts: Float64
    signal: Float64
    background: Float64
    significance: Float64
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
    scores: Float64,
    signal: Bool,
    background: Bool,
    weights: Float64 | None = None,
    *,
    uncertainty: float = 0.0,
    min_events: int = 10,
    bins: int = 10,
) -> Scan | None:
    """Return the significance of every cut on ``scores``; None where there is no signal or no background.

    The integrated significance is that of bins which hold equal shares of the signal, and so depends on the order of
    the scores only: not on their scale, which a calibration changes. Bins begin at the signal-like end. Each grows
    until it holds its share of the signal and ``min_events`` of background, so that the best part of the score counts
    however little background is in it; what is left over is joined with the bin before it. One bin ends at the best
    cut.

    Parameters
    ----------
    scores : ndarray
        ``[N]`` on any scale, larger for signal.
    signal, background : ndarray of bool
        ``[N]``; events of neither are left out.
    weights : ndarray or None
        ``[N]`` weights that sum to expected yields.
    uncertainty : float
        Relative uncertainty of the background.
    min_events : int
        Cuts that fewer background events pass count as 0, and bins grow until they hold as many: less background is
        not known well enough, and the best of all cuts would be where it happens to be small.
    bins : int
        Number of shares of the signal for the integrated significance.
    """
    if not (signal.any() and background.any()):
        return None
    passed = passing(scores, signal, background, weights)
    significance = asimov_significance(passed.signal, passed.background, uncertainty)
    significance = np.where(passed.background_events >= min_events, significance, 0.0)
    ends = _bin_ends(passed, int(np.argmax(significance)), min_events=min_events, bins=bins)
    s, b, n = (
        np.diff(rising[ends], prepend=0) for rising in (passed.signal, passed.background, passed.background_events)
    )
    by_bin = np.where(n >= min_events, asimov_significance(s, b, uncertainty), 0.0)
    integrated = math.sqrt(float(np.square(by_bin).sum()))
    return Scan(passed.cuts, passed.signal, passed.background, significance, integrated)


def _bin_ends(passed: Passing, best: int, *, min_events: int, bins: int) -> list[int]:
    """Return the numbers of the cuts that end a bin, from the signal-like end to all events; ``best`` is among them."""
    events, last = passed.background_events, len(passed.cuts) - 1
    signal = np.maximum.accumulate(passed.signal)  # negative weights let it fall
    share = (1 - 1e-9) * signal[-1] / bins
    ends: list[int] = []
    for stop in (best, last):
        while True:
            signal_so_far, events_so_far = (signal[ends[-1]], events[ends[-1]]) if ends else (0.0, 0)
            end = max(
                int(np.searchsorted(signal, signal_so_far + share)),
                int(np.searchsorted(events, events_so_far + min_events)),
            )
            if end >= stop or events[stop] - events[end] < min_events:
                break
            ends.append(end)
        ends.append(stop)
    return ends
