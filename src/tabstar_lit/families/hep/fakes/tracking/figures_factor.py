"""The learned fake factor against variables: over the truth of a toy, and over the binned estimate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from tabstar_lit.arrays import Float64
from tabstar_lit.families.hep.fakes.factor.binned import BinnedFactor
from tabstar_lit.families.hep.fakes.tracking.figures_style import (
    COUNTED,
    LEARNED,
    TRUTH,
    draw_band,
    middles,
    with_ratio_panel,
)


@dataclass(frozen=True)
class Profile:
    """A fake factor averaged over the loose events in bins of a variable.

    Attributes
    ----------
    edges : ndarray
        ``[bins + 1]``.
    factor, error : ndarray
        ``[bins]``: mean over the heads and their standard deviation; NaN without events.
    truth : ndarray or None
        ``[bins]`` the closed form, averaged over the same events.
    """

    edges: Float64
    factor: Float64
    error: Float64
    truth: Float64 | None

    @property
    def base(self) -> Float64:
        """What others are compared with: the truth, or else what was learned."""
        return self.factor if self.truth is None else self.truth


def profile(
    values: Float64, weights: Float64, log_factors: Float64, edges: Float64, truth: Float64 | None = None
) -> Profile:
    """Average the factor of each head over the events in each bin.

    Parameters
    ----------
    values : ndarray
        ``[N]`` a variable of loose events. Events beyond the bins are left out.
    weights : ndarray
        ``[N]``; negative ones count as none, so that an average lies among what is averaged.
    log_factors : ndarray
        ``[N, C]`` of the heads.
    edges : ndarray
        ``[bins + 1]``.
    truth : ndarray, optional
        ``[N]`` true log-factors; events where it is NaN are left out.
    """
    used = np.isfinite(values) & (np.ones(len(values), dtype=bool) if truth is None else np.isfinite(truth))
    values, positive, heads = values[used], np.maximum(weights[used], 0.0), np.exp(log_factors[used])
    total = np.histogram(values, edges, weights=positive)[0]

    def averaged(factors: Float64) -> Float64:
        sums = np.histogram(values, edges, weights=positive * factors)[0]
        return np.asarray(sums / np.where(total > 0, total, np.nan))

    by_head = np.stack([averaged(head) for head in heads.T])
    error = by_head.std(axis=0, ddof=1) if len(by_head) > 1 else np.zeros(len(total))
    expected = None if truth is None else averaged(np.exp(truth[used]))
    return Profile(edges, averaged(np.exp(log_factors[used].mean(axis=1))), error, expected)


def factor_figure(
    variable: str, fine: Profile, coarse: Profile, counted: BinnedFactor, *, heads: int, log: bool = False
) -> Figure:
    """Draw the learned factor with the spread of its heads, the truth where it is known, and the binned estimate.

    Below: all over the truth, or without one over the learned factor; the binned estimate over its mean in the same
    bin.

    Parameters
    ----------
    variable : str
        Name of the axis.
    fine, coarse : Profile
        The learned factor in bins for a curve, and in those of the estimate.
    counted : BinnedFactor
        The estimate in this variable.
    heads : int
        Number of heads.
    log : bool
        Logarithmic axis.
    """
    figure, axes, below = with_ratio_panel(variable, log=log)
    label = f"learned, ±1σ of {heads} heads" if heads > 1 else "learned"
    draw_band(axes, fine.factor, fine.error, fine.edges, color=LEARNED, label=label)
    draw_band(below, fine.factor / fine.base, fine.error / fine.base, fine.edges, color=LEARNED)
    if fine.truth is not None:
        axes.stairs(fine.truth, fine.edges, color=TRUTH, linestyle="--", label="closed form", baseline=None)
    (edges,) = counted.edges
    style: dict[str, Any] = {"fmt": "o", "markersize": 3, "color": COUNTED, "linewidth": 1, "zorder": 3}
    style |= {"x": middles(edges), "xerr": np.diff(edges) / 2}
    axes.errorbar(y=counted.factor, yerr=counted.error, label="binned estimate", **style)
    below.errorbar(y=counted.factor / coarse.base, yerr=counted.error / coarse.base, **style)
    axes.set(ylabel="fake factor", title=f"Fake factor against {variable}", ylim=_limits(fine))
    axes.legend(frameon=False)
    below.set(ylabel="over learned" if fine.truth is None else "over\nclosed form")
    return figure


def _limits(fine: Profile) -> tuple[float, float]:
    """Return limits that hold what was learned and the truth, whatever a bin of few events says."""
    lines = [fine.factor - fine.error, fine.factor + fine.error]
    lines += [] if fine.truth is None else [fine.truth]
    known = np.concatenate([line[np.isfinite(line)] for line in lines])
    low, high = (known.min(), known.max()) if len(known) else (0.0, 1.0)
    margin = 0.25 * (high - low) + 0.02 * abs(high) + 1e-9
    return float(max(0.0, low - margin)), float(high + margin)
