"""A random forest and a linear model, tuned within the training samples alone."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, clone
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import log_loss, mean_squared_error
from sklearn.model_selection import GroupKFold, StratifiedGroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from tabstar_lit.arrays import Array, Float64, Int64

N_TREES = 300
INNER_FOLDS = 3
STRENGTHS = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1)
"""How far a linear model may follow the samples: from hardly at all, where they say nothing of the target."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Candidates:
    """Settings of one kind of model, from which the best is taken.

    Attributes
    ----------
    name : str
        Of the kind: ``forest`` or ``linear``.
    models : mapping of str to estimator
        By what is different about each.
    """

    name: str
    models: Mapping[str, Any]


def candidates(kind: str, seed: int = 0) -> tuple[Candidates, ...]:
    """Return what is tuned, for ``classification`` or ``regression``.

    The forest reads shares of reads, of which it tries few or more for each branching; the linear model reads their
    logarithms in standard deviations, and tries several strengths of its penalty.
    """
    forest = RandomForestClassifier if kind == "classification" else RandomForestRegressor
    common = {"n_estimators": N_TREES, "random_state": seed, "n_jobs": -1}
    trees = {f"{share} of features a branching": forest(max_features=share, **common) for share in ("sqrt", 0.1)}
    return Candidates("forest", trees), linear_candidates(kind, FunctionTransformer(logs))


def linear_candidates(kind: str, *reading: Any) -> Candidates:
    """Return logistic or ridge regression of features in standard deviations, after ``reading`` them."""
    classes = kind == "classification"
    models = {
        f"C {strength:g}" if classes else f"alpha {1 / strength:g}": make_pipeline(
            *reading,
            StandardScaler(),
            LogisticRegression(C=strength, max_iter=2000) if classes else Ridge(alpha=1 / strength),
        )
        for strength in STRENGTHS
    }
    return Candidates("linear", models)


def fit_tuned(
    kinds: Candidates, features: Float64, targets: Array, groups: Int64, *, n_classes: int
) -> tuple[str, Callable[[Float64], Float64]]:
    """Choose a setting by folds of groups within the training samples, and fit it on all of them.

    Parameters
    ----------
    kinds : Candidates
        The settings.
    features : NDArray of float64
        ``[N, F]`` of training samples.
    targets : NDArray
        ``[N]`` classes or values.
    groups : NDArray of int64
        ``[N]``; samples of a group are never parted.
    n_classes : int
        0 for values.

    Returns
    -------
    str
        The setting.
    callable
        From features to probabilities ``[N, n_classes]``, or values ``[N, 1]``.
    """
    best, fitted = fit_best(kinds, features, targets, groups, n_classes=n_classes)
    return best, lambda own: _predict(fitted, own, n_classes)


def fit_best(kinds: Candidates, features: Float64, targets: Array, groups: Int64, *, n_classes: int) -> tuple[str, Any]:
    """Do as :func:`fit_tuned`, and return the fitted estimator itself."""
    folds = group_folds(targets, groups, n_classes)
    errors = (
        {name: _error(model, features, targets, folds, n_classes) for name, model in kinds.models.items()}
        if folds
        else dict.fromkeys(kinds.models, 0.0)
    )
    best = min(errors, key=lambda name: errors[name])
    return best, clone(kinds.models[best]).fit(features, targets)


def group_folds(
    targets: Array, groups: Int64, n_classes: int, most: int = INNER_FOLDS
) -> Sequence[tuple[Int64, Int64]]:
    """Return inner folds of groups, as samples to train and to test with; none where there are too few groups.

    At ``most`` so many, and only those whose training part has more than one class.
    """
    n_groups = len(np.unique(groups))
    if n_groups < 2:
        return ()
    n_folds = min(most, n_groups)
    splitter = StratifiedGroupKFold(n_folds, shuffle=True, random_state=0) if n_classes else GroupKFold(n_folds)
    try:
        found = list(splitter.split(np.zeros(len(targets)), targets, groups))
    except ValueError:  # a class with fewer members than folds
        found = list(GroupKFold(n_folds).split(np.zeros(len(targets)), targets, groups))
    return [(train, test) for train, test in found if not n_classes or len(np.unique(targets[train])) > 1]


def _error(
    model: BaseEstimator, features: Float64, targets: Array, folds: Sequence[tuple[Int64, Int64]], n_classes: int
) -> float:
    """Return log-loss or mean squared error over all inner folds together."""
    predicted, true = [], []
    for train, test in folds:
        fitted = clone(model).fit(features[train], targets[train])
        predicted.append(_predict(fitted, features[test], n_classes))
        true.append(targets[test])
    own, known = np.concatenate(predicted), np.concatenate(true)
    if n_classes:
        possible = own.clip(1e-6)
        return float(log_loss(known, possible / possible.sum(axis=1, keepdims=True), labels=range(n_classes)))
    return float(mean_squared_error(known, own[:, 0]))


def _predict(model: Any, features: Float64, n_classes: int) -> Float64:
    if not n_classes:
        return np.asarray(model.predict(features), dtype=np.float64).reshape(-1, 1)
    out = np.zeros((len(features), n_classes))
    out[:, model.classes_] = model.predict_proba(features)
    return out


def logs(shares: Float64) -> Float64:
    """Return what linear models read of shares of reads: 0 without a read, nearly linear below 1e-4."""
    return np.log1p(1e4 * shares)
