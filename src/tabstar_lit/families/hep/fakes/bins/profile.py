"""The learned fake factor against variables: over the truth of a toy, and over the binned estimate."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from matplotlib.figure import Figure

from tabstar_lit.arrays import Float64
from tabstar_lit.families.hep.fakes.bins.estimate import BinnedFactor
from tabstar_lit.families.hep.fakes.bins.statistics import quantile_edges
from tabstar_lit.families.hep.fakes.ensemble import PLAIN, Ensemble, uncertainty
from tabstar_lit.plots.histograms import Bins, draw_band, draw_points, with_ratio_panel
from tabstar_lit.plots.style import PALETTE

LEARNED, BEFORE, TRUTH = PALETTE[1], "0.55", PALETTE[2]
"""Colours of what was learned, of samples before that, and of what is known of a toy."""
STANDARD_BINS = 10
"""Bins of the binned estimate, where nobody names others."""
CURVE_BINS = 25


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


@dataclass(frozen=True)
class Learned:
    """The learned fake factor of ``n`` loose events.

    Attributes
    ----------
    weights : ndarray
        ``[n]``.
    log_factors : ndarray
        ``[n, C]`` of the heads.
    log_factor : ndarray
        ``[n]`` of all heads together.
    truth : ndarray or None
        ``[n]`` true log-factors, where they are known; NaN where there is none.
    ensemble : Ensemble
        How heads are taken together.
    """

    weights: Float64
    log_factors: Float64
    log_factor: Float64
    truth: Float64 | None = None
    ensemble: Ensemble = PLAIN


def profile(values: Float64, learned: Learned, edges: Float64) -> Profile:
    """Average the factor, and that of each head, over the events in each bin.

    Parameters
    ----------
    values : ndarray
        ``[n]`` a variable of the loose events. Events beyond the bins are left out, and those without a known truth.
    learned : Learned
        Their factor; negative weights count as none, so that an average lies among what is averaged.
    edges : ndarray
        ``[bins + 1]``.
    """
    truth = learned.truth
    used = np.isfinite(values) & (np.ones(len(values), dtype=bool) if truth is None else np.isfinite(truth))
    values, positive = values[used], np.maximum(learned.weights[used], 0.0)
    total = np.histogram(values, edges, weights=positive)[0]

    def averaged(log_factors: Float64) -> Float64:
        sums = np.histogram(values, edges, weights=positive * np.exp(log_factors[used]))[0]
        return np.asarray(sums / np.where(total > 0, total, np.nan))

    by_head = np.stack([averaged(head) for head in learned.log_factors.T], axis=-1)
    error = uncertainty(torch.from_numpy(by_head), learned.ensemble).numpy()
    return Profile(edges, averaged(learned.log_factor), error, None if truth is None else averaged(truth))


def factor_against(
    variable: str, values: Float64, learned: Learned, counted: BinnedFactor, *, log: bool = False
) -> Figure:
    """Draw the factor against a variable, in bins for a curve and in those of the binned estimate.

    Parameters
    ----------
    variable : str
        Name of the axis.
    values : ndarray
        ``[n]`` the variable, NaN where missing; at least one is not.
    learned : Learned
        The factor of the same events.
    counted : BinnedFactor
        The estimate in this variable.
    log : bool
        Logarithmic axis.
    """
    curve = quantile_edges(values[np.isfinite(values)], CURVE_BINS)
    fine, coarse = (profile(values, learned, edges) for edges in (curve, counted.edges[0]))
    return factor_figure(variable, fine, coarse, counted, heads=learned.log_factors.shape[1], log=log)


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
    learned = Bins(fine.factor, fine.error, fine.edges)
    draw_band(axes, learned, color=LEARNED, label=f"learned, ±1σ of {heads} heads" if heads > 1 else "learned")
    draw_band(below, learned.over(fine.base), color=LEARNED)
    if fine.truth is not None:
        axes.stairs(fine.truth, fine.edges, color=TRUTH, linestyle="--", label="closed form", baseline=None)
    estimate = Bins(counted.factor, counted.error, counted.edges[0])
    draw_points(axes, estimate, label="binned estimate", widths=True)
    draw_points(below, estimate.over(coarse.base), widths=True)
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
