"""How well targets and distances are told, on their own scales."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from tabstar_lit.arrays import Float64
from tabstar_lit.families.microbes.facts import StudyFacts
from tabstar_lit.families.microbes.study.batch import NO_CLASS
from tabstar_lit.metrics.scores import r_squared, roc_auc

OF_CLASSES = ("auroc", "accuracy", "balanced_accuracy")
OF_NUMBERS = ("r2", "mae")


def score_names(facts: StudyFacts) -> tuple[str, ...]:
    """Return the names that :func:`target_scores` gives."""
    if facts.kind == "classification":
        return OF_CLASSES
    several = (
        [f"{score}/{target}" for target in facts.targets for score in OF_NUMBERS] if len(facts.targets) > 1 else []
    )
    return (*OF_NUMBERS, *several) if facts.kind else ()


def target_scores(facts: StudyFacts, predicted: Tensor, true: Tensor) -> dict[str, float]:
    """Score predictions of samples whose target is known.

    Parameters
    ----------
    facts : StudyFacts
        Says what the targets are.
    predicted : Tensor
        Probabilities ``[N, K]`` of classes, or values ``[N, K]`` on the target's own scale.
    true : Tensor
        Classes ``[N]``, or values ``[N, K]``; missing as in a batch.

    Returns
    -------
    dict of str to float
        ``auroc``, ``accuracy`` and ``balanced_accuracy``; or ``r2`` and ``mae``, means over the targets, and those of
        each where there are several. NaN where too little is known.
    """
    if facts.kind == "classification":
        known = true != NO_CLASS
        return class_scores(predicted[known], true[known])
    scores = {
        target: number_scores(predicted[known, column], true[known, column])
        for column, target in enumerate(facts.targets)
        for known in [~true[:, column].isnan()]
    }
    means = {name: _mean([own[name] for own in scores.values()]) for name in OF_NUMBERS}
    each = {f"{name}/{target}": value for target, own in scores.items() for name, value in own.items()}
    return means | (each if len(facts.targets) > 1 else {})


def class_scores(probabilities: Tensor, classes: Tensor) -> dict[str, float]:
    """Return area under the ROC curve (one class against the rest), accuracy, and the mean of accuracies by class."""
    if not len(classes):
        return dict.fromkeys(OF_CLASSES, math.nan)
    right = (probabilities.argmax(-1) == classes).double()
    by_class = torch.stack([right[classes == own].mean() for own in torch.unique(classes)])
    return {
        "auroc": roc_auc(probabilities, classes),
        "accuracy": float(right.mean()),
        "balanced_accuracy": float(by_class.mean()),
    }


def number_scores(predicted: Tensor, true: Tensor) -> dict[str, float]:
    """Return the share of variance that is explained, and the mean absolute error in the target's unit."""
    error = float((predicted.double() - true.double()).abs().mean()) if len(true) else math.nan
    return {"r2": r_squared(predicted, true), "mae": error}


def by_group(facts: StudyFacts, predicted: Tensor, true: Tensor, groups: Tensor) -> dict[int, dict[str, float]]:
    """Return :func:`target_scores` of each group of samples, such as a subject, by its number."""
    return {
        int(group): target_scores(facts, predicted[groups == group], true[groups == group])
        for group in torch.unique(groups)
    }


def middle(values: Tensor, quantiles: tuple[float, ...]) -> Tensor:
    """Return the quantile nearest to the median, ``[N, K]`` of ``[N, K, Q]``; values without quantiles as they are."""
    if values.ndim < 3:
        return values
    return values[..., min(range(len(quantiles)), key=lambda place: abs(quantiles[place] - 0.5))]


def pair_scores(predicted: Float64, true: Float64) -> Mapping[str, float]:
    """Return mean squared error and R² of the distances ``[P]`` of pairs."""
    if not len(true):
        return {"unifrac_mse": math.nan, "unifrac_r2": math.nan}
    mse = float(np.mean((predicted - true) ** 2))
    return {"unifrac_mse": mse, "unifrac_r2": r_squared(torch.from_numpy(predicted), torch.from_numpy(true))}


def _mean(values: list[float]) -> float:
    known = [value for value in values if not math.isnan(value)]
    return sum(known) / len(known) if known else math.nan
