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
MOST_NAMED = 8
"""Heads that a line names at most."""
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
        "yield_error": _greatest(yield_errors(events)),
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
    names = ("chi2", *(f"chi2_{name}" for name in variables), "yield_error", "ess", "logratio_mean", "logratio_std")
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
    statistical errors, ``sum w^2``, and bins are merged until both have events enough to tell these by.

    Parameters
    ----------
    values, weights : ndarray
        ``[N]`` of both samples.
    reference : ndarray of bool
        ``[N]`` whether an event is of the first sample, whose quantiles are the bins.
    bins : int
        Their number, less where a bin would hold fewer than :data:`FEWEST` events of either sample.

    Returns
    -------
    float
        About 1 if the samples agree; NaN where there is nothing to compare.
    """
    if not reference.any() or reference.all():
        return math.nan
    edges = comparable_edges(values[reference], values[~reference], bins)
    a, a_error = binned(values[reference], weights[reference], edges)
    b, b_error = binned(values[~reference], weights[~reference], edges)
    return chi2_of(a - b, a_error**2 + b_error**2)


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


def comparable_edges(reference: Float64, sample: Float64, bins: int) -> Float64:
    """Return edges of bins in which two samples can be compared: each holds :data:`FEWEST` events of either.

    Fewer events cannot tell their own error; with none it would be 0. Neighbours are merged until they hold enough,
    from below; what is left above joins the last.

    Parameters
    ----------
    reference : ndarray
        ``[N]`` values of the first sample, whose quantiles are the edges.
    sample : ndarray
        ``[M]`` values of the other one; those outside are counted in the first and last bin.
    bins : int
        Of the first sample, before any are merged.
    """
    edges = quantile_edges(reference, bins)
    seen = np.histogram(reference, edges)[0]
    other = np.histogram(np.clip(sample, edges[0], edges[-1]), edges)[0]
    kept = [0]
    for end in range(1, len(edges)):
        if min(seen[kept[-1] : end].sum(), other[kept[-1] : end].sum()) >= FEWEST:
            kept.append(end)
    return edges[[*(kept[:-1] or [0]), len(edges) - 1]]


def yield_errors(events: Reweighted) -> Float64:
    """Return for each head ``[C]`` how far the total of the reweighted sample is from the reference, relative to it.

    NaN where the reference has no total to compare with.
    """
    sample = ~events.is_reference
    reference = events.weights[events.is_reference].sum()
    totals = events.weights[sample] @ np.exp(events.log_ratios[sample])
    return np.asarray(totals / reference - 1) if reference > 0 else np.full(events.heads, math.nan)


def yield_resolution(events: Reweighted) -> float:
    """Return the relative statistical error of :func:`yield_errors`, that of both samples; NaN where there are none."""
    reference = events.weights[events.is_reference].sum()
    return math.sqrt(float(np.sum(events.reweights**2))) / reference if reference > 0 else math.nan


def strayed_heads(events: Reweighted, tolerance: float | None) -> tuple[str, ...]:
    """Say which heads' totals are further from the reference than ``tolerance`` and two statistical errors.

    Parameters
    ----------
    events : Reweighted
        The validation events.
    tolerance : float or None
        ``plotting_config.yield_tolerance``, relative to the reference; None: nothing is said.

    Returns
    -------
    tuple of str
        One line, or none where all heads are near.
    """
    if tolerance is None:
        return ()
    errors, bound = yield_errors(events), tolerance + 2 * np.nan_to_num(yield_resolution(events))
    far = np.flatnonzero(~(np.abs(errors) <= bound))
    if not len(far) or not events.weights[events.is_reference].sum() > 0:
        return ()
    reference, sample = events.names
    named = ", ".join(f"{head} ({errors[head]:+.0%})" for head in far[:MOST_NAMED]) + (
        ", ..." if len(far) > MOST_NAMED else ""
    )
    return (
        f"{len(far)} of {events.heads} heads do not give {sample} the total of {reference}, by more than {bound:.0%}: "
        f"head {named}. Their ratio is not learned: look at the figures, train longer or with another loss, or leave "
        "out events by pt_cut where there are none of one sample.",
    )


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


def _greatest(errors: Float64) -> float:
    return float(np.abs(errors).max()) if np.isfinite(errors).all() else math.nan


def _mean(values: Sequence[float]) -> float:
    defined = [value for value in values if not math.isnan(value)]
    return sum(defined) / len(defined) if defined else math.nan
