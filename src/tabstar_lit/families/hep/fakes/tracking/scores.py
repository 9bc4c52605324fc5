"""What is logged about a learned ratio: one number each, on weighted events.

Weights are physical and may be negative; every sum is signed, and every error is ``sqrt(sum w^2)``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from tabstar_lit.arrays import Bool, Float64, UInt64
from tabstar_lit.families.hep.fakes.toy.closed_form import ClosedForm
from tabstar_lit.families.hep.fakes.tracking.reweighted import Reweighted, Role
from tabstar_lit.families.hep.plotting import binned

CENTRAL = (0.01, 0.99)
"""Quantiles of pt between which a ratio is compared with its closed form."""
FEWEST = 10
"""Events of either sample that a bin of chi2 holds at least, so that its error can be taken from them."""
REGIONS: Mapping[Role, str] = {"numerator": "tight", "denominator": "loose"}


def score(
    events: Reweighted, variables: Sequence[str], *, bins: int, form: ClosedForm | None, pt_variable: str
) -> dict[str, float]:
    """Return every metric by name; all are NaN where a log-ratio is not finite.

    Parameters
    ----------
    events : Reweighted
        The validation events.
    variables : sequence of str
        Variables whose distributions are compared.
    bins : int
        Bins of each comparison.
    form : ClosedForm or None
        The truth, where it is known.
    pt_variable : str
        The variable whose central 98 % are compared with the truth.
    """
    if not np.isfinite(events.log_ratios).all():
        events = events.rows(slice(0, 0))
    by_variable = {name: reweighting_chi2(events, name, bins) for name in variables}
    return {
        "chi2": _mean(list(by_variable.values())),
        **{f"chi2_{name}": value for name, value in by_variable.items()},
        "ess": effective_share(events.reweights[~events.is_reference]),
        "logratio_mean": float(events.mean.mean()) if len(events.mean) else math.nan,
        "logratio_std": float(events.mean.std()) if len(events.mean) else math.nan,
        **({} if form is None else truth_scores(events, form, pt_variable)),
    }


def metric_names(variables: Sequence[str], *, known: bool) -> tuple[str, ...]:
    """Return the names that :func:`score` can give; they may be monitored as ``val_<name>``.

    Parameters
    ----------
    variables : sequence of str
        Variables whose distributions are compared.
    known : bool
        Whether there is a closed form.
    """
    names = ("chi2", *(f"chi2_{name}" for name in variables), "ess", "logratio_mean", "logratio_std")
    return (*names, "logerror", "coverage1", "coverage2") if known else names


def reweighting_chi2(events: Reweighted, variable: str, bins: int) -> float:
    """Return chi2 per bin of the reweighted sample against the reference; see :func:`chi2_per_bin`."""
    values = events.variable(variable)
    known = np.isfinite(values)
    reference = events.is_reference[known]
    return chi2_per_bin(values[known], events.reweights[known], reference, bins)


def chi2_per_bin(values: Float64, weights: Float64, reference: Bool, bins: int) -> float:
    """Return ``sum((a - b)^2 / (var a + var b))`` over its number of bins, for two weighted samples.

    Nothing is fitted to these events, so that each bin is a degree of freedom. Both samples enter with their
    statistical errors, ``sum w^2``. Where either has fewer than :data:`FEWEST` events a bin is left out: its events
    cannot tell its error, and no ratio makes events where there are none.

    Parameters
    ----------
    values, weights : ndarray
        ``[N]`` of both samples.
    reference : ndarray of bool
        ``[N]`` whether an event is of the first sample, whose quantiles are the bins.
    bins : int
        Their number, less where a bin would hold fewer than :data:`FEWEST` events.

    Returns
    -------
    float
        About 1 if the samples agree; NaN where there is nothing to compare.
    """
    if not reference.any() or reference.all():
        return math.nan
    edges = quantile_edges(values[reference], bins)
    a, a_error = binned(values[reference], weights[reference], edges)
    b, b_error = binned(values[~reference], weights[~reference], edges)
    filled = np.histogram(np.clip(values[~reference], edges[0], edges[-1]), edges)[0] >= FEWEST
    return chi2_of((a - b)[filled], (a_error**2 + b_error**2)[filled])


def chi2_of(differences: Float64, variances: Float64) -> float:
    """Return ``sum(d^2 / v)`` over the number of bins whose variance is known; NaN without any."""
    used = np.isfinite(differences) & (variances > 0)
    return float(np.mean(differences[used] ** 2 / variances[used])) if used.any() else math.nan


def grouped_variance(weights: Float64, groups: UInt64) -> float:
    """Return the variance of a sum of weights, where events come in independent groups: the events of one vary as one.

    Parameters
    ----------
    weights : ndarray
        ``[N]``.
    groups : ndarray of uint64
        ``[N]`` group of each event. Where each has its own this is ``sum w^2``.
    """
    sums = np.bincount(np.unique(groups, return_inverse=True)[1], weights=weights)
    return float(sums @ sums)


def grouped_variances(values: Float64, weights: Float64, groups: UInt64, edges: Float64) -> Float64:
    """Return that of the sum in each bin, ``[bins]``.

    Parameters
    ----------
    values, weights, groups : ndarray
        ``[N]``; values outside ``edges`` are counted in the first and last bin.
    edges : ndarray
        ``[bins + 1]``.
    """
    bins = np.clip(np.searchsorted(edges, values, side="right") - 1, 0, len(edges) - 2)
    pairs, index = np.unique(np.stack([groups, bins.astype(np.uint64)]), axis=1, return_inverse=True)
    sums = np.bincount(index, weights=weights)
    variances = np.bincount(pairs[1].astype(np.int64), weights=sums**2, minlength=len(edges) - 1)
    return np.asarray(variances, dtype=np.float64)


def quantile_edges(values: Float64, bins: int) -> Float64:
    """Return bin edges between which equal shares of ``values [N]`` lie, at least :data:`FEWEST` in each.

    A variable of few values has fewer bins, one that is constant a single one.
    """
    bins = max(1, min(bins, len(values) // FEWEST))
    edges = np.unique(np.quantile(values, np.linspace(0, 1, bins + 1)))
    return edges if len(edges) > 1 else edges[0] + np.array([-0.5, 0.5])


def effective_share(weights: Float64) -> float:
    """Return Kish's ``(sum w)^2 / sum w^2`` over the number of events: 1 where all count the same; NaN for none."""
    squares = float(np.sum(weights**2))
    return float(weights.sum()) ** 2 / squares / len(weights) if squares > 0 else math.nan


def truth_scores(events: Reweighted, form: ClosedForm, pt_variable: str) -> dict[str, float]:
    """Return ``logerror``, and with several heads ``coverage1`` and ``coverage2``.

    Over the events that the ratio is applied to, each counted once, in the central 98 % of their pt: the loose events
    for the fake factor, the data of the region for numerator and denominator.
    """
    truth = truth_of(events, form)
    applied = ~events.is_reference if events.role == "ratio" else events.is_reference
    compared = applied & np.isfinite(truth)
    compared[compared] = central(events.variables[pt_variable][compared])
    if not compared.any():
        return dict.fromkeys(("logerror", "coverage1", "coverage2"), math.nan)
    distance, std = np.abs(events.mean - truth)[compared], events.std[compared]
    scores = {"logerror": float(distance.mean())}
    if events.heads > 1:
        scores |= {f"coverage{n}": float(np.mean(distance <= n * std)) for n in (1, 2)}
    return scores


def truth_of(events: Reweighted, form: ClosedForm) -> Float64:
    """Return the true log-ratio ``[N]``; NaN where there is none, as where there is more simulation than data."""
    points = np.stack([events.variable(name) for name in form.columns], axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        if events.role == "ratio":
            return np.log(form.factor(points))
        return form.log_ratio(REGIONS[events.role], points)


def central(pt: Float64) -> Bool:
    """Return which events ``[N]`` lie between the quantiles :data:`CENTRAL` of their pt."""
    low, high = np.quantile(pt, CENTRAL) if len(pt) else (0.0, 0.0)
    return np.asarray((pt >= low) & (pt <= high))


def _mean(values: Sequence[float]) -> float:
    defined = [value for value in values if not math.isnan(value)]
    return sum(defined) / len(defined) if defined else math.nan
