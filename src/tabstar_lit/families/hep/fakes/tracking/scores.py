"""What is logged about a learned ratio: one number each, on weighted events.

Weights are physical and may be negative; every sum is signed, and every error is ``sqrt(sum w^2)``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from tabstar_lit.arrays import Bool, Float64
from tabstar_lit.families.hep.fakes.bins.statistics import chi2_per_bin
from tabstar_lit.families.hep.fakes.config import Role
from tabstar_lit.families.hep.fakes.toy.closed_form import ClosedForm
from tabstar_lit.families.hep.fakes.tracking.reweighted import Reweighted

CENTRAL = (0.01, 0.99)
"""Quantiles of pt between which a ratio is compared with its closed form."""
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
    named = [f"{head} ({errors[head]:+.0%})" for head in far[:MOST_NAMED]]
    more = ["..."] if len(far) > MOST_NAMED else []
    return (
        f"{len(far)} of {events.heads} heads do not give {sample} the total of {reference}, by more than {bound:.0%}: "
        f"head {', '.join(named + more)}. Their ratio is not learned: look at the figures, train longer or with "
        "another loss, or leave out events by pt_cut where there are none of one sample.",
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
