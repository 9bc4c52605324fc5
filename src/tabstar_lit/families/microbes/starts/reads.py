"""The wide part of a predictor as a linear model that is tuned and fitted to the training samples.

That of values is fitted once more without each fold of groups, which tells how far it can be believed, and what it
leaves of samples it does not know.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from scipy import sparse
from sklearn.base import clone

from tabstar_lit.arrays import Array, Float64, Int64
from tabstar_lit.families.microbes.classical.models import fit_best, group_folds, linear_candidates
from tabstar_lit.families.microbes.networks.wide import WideReads
from tabstar_lit.families.microbes.study.batch import SampleBatch

NEVER = -14.0
"""Logit of a class that no training sample has."""

FOLDS = 10
"""Of groups, each of which weights of values are fitted without."""
TINY = 1e-12

log = logging.getLogger(__name__)


def fit_reads(wide: WideReads, batches: Iterable[SampleBatch], rows: Int64, targets: Array, *, n_classes: int) -> None:
    """Fit weights of reads to the targets, and give them to the wide part.

    Parameters
    ----------
    wide : WideReads
        What takes them.
    batches : iterable of SampleBatch
        All samples of the study.
    rows : NDArray of int64
        ``[N]`` training samples, as rows of the study, ascending.
    targets : NDArray
        ``[N, K]`` on the scale they are learned on, NaN where missing, or ``[N]`` classes, -1 where missing.
    n_classes : int
        0 for values.
    """
    places, features, groups = _read(wide, batches, rows)
    if n_classes:
        found = _fit_classes(features, targets, groups, n_classes)
    else:
        columns = zip(*(_fit_values(features, own, groups) for own in targets.T), strict=True)
        weights, bias, outputs = (np.concatenate(own, axis=-1) for own in columns)
        apart = np.zeros((rows[-1] + 1, outputs.shape[1]))
        apart[rows] = outputs
        found = weights, bias, apart
    each = wide.weights.embedding_dim // found[0].shape[1]  # quantiles of a target begin at one value
    wide.take(torch.from_numpy(places), *(torch.from_numpy(np.repeat(own, each, axis=-1)).float() for own in found))


def _read(wide: WideReads, batches: Iterable[SampleBatch], rows: Int64) -> tuple[Int64, Float64, Int64]:
    """Return the places ``[P]`` that training samples have, what they sum up there ``[N, P]``, and groups ``[N]``."""
    samples, places, logs, numbers, groups = [], [], [], [], []
    for batch in batches:
        hashed, read = (own.numpy() for own in wide.read(batch))
        wanted = np.isin(batch.rows.numpy(), rows)
        there = wanted[:, None] & (batch.asvs.numpy() >= 0)
        samples.append(batch.rows.numpy()[np.nonzero(there)[0]])
        places.append(hashed[there])
        logs.append(read[there].astype(np.float64))
        numbers.append(batch.rows.numpy()[wanted])
        groups.append(batch.groups.numpy()[wanted])
    known, columns = np.unique(np.concatenate(places), return_inverse=True)
    where = np.searchsorted(rows, np.concatenate(samples)), columns
    features = sparse.csr_matrix((np.concatenate(logs), where), (len(rows), len(known))).toarray()
    return known, features, np.concatenate(groups)[np.argsort(np.concatenate(numbers))]


def _fit_classes(features: Float64, targets: Array, groups: Int64, n_classes: int) -> tuple[Float64, ...]:
    """Return weights ``[P, O]`` and bias ``[O]`` of the logits of all classes.

    They are of all samples: what a network learned from what is left of unknown groups was worse, of few subjects, than
    what the linear model says by itself.
    """
    known = targets >= 0
    if len(np.unique(targets[known])) < 2:
        return np.zeros((features.shape[1], n_classes)), np.zeros(n_classes)
    kinds = linear_candidates("classification")
    setting, fitted = fit_best(kinds, features[known], targets[known], groups[known], n_classes=n_classes)
    log.info("Wide part: linear model with %s", setting)
    return _logits(fitted[-1], *_linear(fitted), n_classes)


def _fit_values(features: Float64, targets: Float64, groups: Int64) -> tuple[Float64, Float64, Float64]:
    """Return weights ``[P, 1]`` and bias ``[1]`` of a value, and what weights fitted without its group say ``[N, 1]``.

    All are drawn towards the mean, as far as makes the last best.
    """
    known = ~np.isnan(targets)
    own, true, parted = features[known], targets[known], groups[known]
    setting, fitted = fit_best(linear_candidates("regression"), own, true, parted, n_classes=0)
    weights, bias = _linear(fitted)
    outputs, mean = features @ weights + bias, true.mean()
    outputs[known] = _out_of_fold(fitted, own, true, parted)
    told = outputs[known, 0] - mean
    share = float(np.clip(told @ (true - mean) / max(told @ told, TINY), 0, 1))
    log.info("Wide part: linear model with %s, of which %.0f %% count", setting, 100 * share)
    return weights * share, mean + share * (bias - mean), mean + share * (outputs - mean)


def _out_of_fold(fitted: Any, features: Float64, targets: Array, groups: Int64) -> Float64:
    """Return values ``[N, 1]`` that the same model says when it is fitted without their groups."""
    told = fitted.predict(features)
    for train, test in group_folds(targets, groups, 0, FOLDS):
        told[test] = clone(fitted).fit(features[train], targets[train]).predict(features[test])
    return np.asarray(told, dtype=np.float64)[:, None]


def _linear(fitted: Any) -> tuple[Float64, Float64]:
    """Return weights ``[P, O]`` of features as they are, and bias ``[O]``."""
    scaler, model = fitted[0], fitted[-1]
    weights = (np.atleast_2d(model.coef_) / scaler.scale_).T
    return weights, np.atleast_1d(model.intercept_) - scaler.mean_ @ weights


def _logits(model: Any, weights: Float64, bias: Float64, n_classes: int) -> tuple[Float64, Float64]:
    """Spread the outputs of a classifier over all classes; of two it tells how much likelier the second is."""
    classes = model.classes_.astype(np.int64)
    if len(classes) == 2:
        classes = classes[1:]
    spread, added = np.zeros((len(weights), n_classes)), np.full(n_classes, NEVER)
    added[model.classes_.astype(np.int64)] = 0.0
    spread[:, classes], added[classes] = weights, bias
    return spread, added
