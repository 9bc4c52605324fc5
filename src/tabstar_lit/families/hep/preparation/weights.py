"""Weights of the loss: simulated events' weights under a policy for negative ones, times class weights."""

from __future__ import annotations

from typing import Literal

import numpy as np

from tabstar_lit.arrays import Float64, Int64
from tabstar_lit.errors import DataError

Policy = Literal["error", "absolute", "zero", "drop"]

SHOWN_ROWS = 5
"""Rows that an error message lists."""

REMEDY = "convert the events with another weight, or without one and with dataset_config.use_mc_weights: false."
"""What helps where the weights of a class are of no use at all; not to use them in the loss leaves the metrics."""


def check_weights(weights: Float64, policy: Policy, where: str) -> None:
    """Refuse weights that the policy cannot make usable.

    Parameters
    ----------
    weights : ndarray of float64 [N]
        As in the file.
    policy : str
        ``negative_weights`` of the configuration.
    where : str
        The file, for messages.

    Raises
    ------
    DataError
        A weight is NaN or infinite, or negative under the policy ``error``.
    """
    require_finite(weights, where)
    negative = np.flatnonzero(weights < 0)
    if policy == "error" and len(negative):
        raise DataError(
            f"{where}: {len(negative)} of {len(weights)} event weights are negative, {_rows(negative)}, and a loss "
            "cannot use them. Choose dataset_config.negative_weights: absolute, zero or drop; or use_mc_weights: false."
        )


def require_finite(weights: Float64, where: str) -> None:
    """Refuse weights ``[N]`` of which one is NaN or infinite; ``where`` is the file, for messages.

    Raises
    ------
    DataError
        Names the first rows.
    """
    broken = np.flatnonzero(~np.isfinite(weights))
    if len(broken):
        raise DataError(f"{where}: {len(broken)} event weights are NaN or infinite, {_rows(broken)}. Convert it again.")


def usable_weights(weights: Float64, policy: Policy) -> Float64:
    """Return weights of at least 0.

    A negative weight would reward the network without bound for getting an event wrong, so each policy removes the
    sign: ``absolute`` keeps the size of the event, ``zero`` and ``drop`` count it as nothing; ``drop`` moreover takes
    it out of training, which is decided elsewhere.

    Parameters
    ----------
    weights : ndarray of float64 [N]
        As in the file.
    policy : str
        ``negative_weights`` of the configuration.

    Returns
    -------
    ndarray of float64 [N]
        For the loss only: metrics see the weights as they are.
    """
    return np.abs(weights) if policy == "absolute" else np.maximum(weights, 0.0)


def require_weight(weights: Float64, targets: Int64, classes: tuple[str, ...], where: str) -> None:
    """Refuse events of which a whole class weighs nothing.

    Parameters
    ----------
    weights : ndarray of float64 [n]
        Weights of the events of a split, at least 0.
    targets : ndarray of int64 [n]
        Their class numbers.
    classes : tuple of str
        Names of the classes.
    where : str
        File and split, for messages.

    Raises
    ------
    DataError
        All weights are zero, or all of one class.
    """
    sums = np.bincount(targets, weights=weights, minlength=len(classes))
    weightless = [name for name, total in zip(classes, sums, strict=True) if total == 0]
    if weightless:
        whose = "all" if len(weightless) == len(classes) else f"all '{weightless[0]}'"
        raise DataError(
            f"{where}: the weights of {whose} events are zero, and a loss learns nothing from them. {REMEDY}"
        )


def require_positive_sums(weights: Float64, targets: Int64, classes: tuple[str, ...], where: str, why: str) -> None:
    """Refuse events of which a class has no positive sum of weights.

    Parameters
    ----------
    weights : ndarray of float64 [n]
        Signed weights of the events of a split.
    targets : ndarray of int64 [n]
        Their class numbers.
    classes : tuple of str
        Names of the classes.
    where, why : str
        File and split, and what needs the sum and what to do, for messages.

    Raises
    ------
    DataError
        Names the class, its events and their sum.
    """
    sums = np.bincount(targets, weights=weights, minlength=len(classes))
    counts = np.bincount(targets, minlength=len(classes))
    for name, total, count in zip(classes, sums.tolist(), counts.tolist(), strict=True):
        if count and not total > 0:
            raise DataError(
                f"{where}: the weights of the {count} events of class '{name}' sum to {total + 0.0:g}, {why}"
            )


def class_weights(weights: Float64, targets: Int64, n_classes: int, *, normalise: bool) -> Float64:
    """Return N / (n_i C) for each of the ``C`` classes.

    N and n_i are sums of ``weights``: numbers of events where these are ones. Every class then has the same total.

    Parameters
    ----------
    weights : ndarray of float64 [n]
        Weights of the training events; each class has a positive sum.
    targets : ndarray of int64 [n]
        Their class numbers.
    n_classes : int
        ``C``.
    normalise : bool
        Scale so that weight times class weight is 1 in the mean over the training events, which leaves the size of a
        summed loss as it is without weights.

    Returns
    -------
    ndarray of float64 [C]
        The weights.
    """
    sums = np.bincount(targets, weights=weights, minlength=n_classes)
    total = len(weights) if normalise else weights.sum()
    return np.asarray(total / (sums * n_classes))


def _rows(rows: Int64) -> str:
    more = ", …" if len(rows) > SHOWN_ROWS else ""
    return f"rows {', '.join(map(str, rows[:SHOWN_ROWS].tolist()))}{more}"
