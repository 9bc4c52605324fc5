"""The two scores tables are judged by: ROC-AUC for classification, R² for regression; every row counts 1."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor
from torchmetrics.functional.classification import binary_auroc
from torchmetrics.functional.regression import r2_score


def roc_auc(scores: Tensor, targets: Tensor) -> float:
    """Area under the ROC curve, one class against the rest, averaged over classes.

    Classes that are absent, or the only one, among ``targets`` have no curve and are left out of the mean.

    Parameters
    ----------
    scores : Tensor
        ``[N, C]`` class scores on one scale per row, such as probabilities (softmax of logits).
    targets : Tensor of int
        ``[N]`` class numbers.

    Returns
    -------
    float
        In [0, 1]; NaN where no class has a curve.
    """
    present = torch.unique(targets)
    if len(present) < 2:
        return math.nan
    if scores.shape[1] == 2:
        # Both classes' curves mirror each other.
        present = present[-1:]
    areas = [area_under_roc(scores[:, int(c)], targets == c) for c in present]
    return sum(areas) / len(areas)


def area_under_roc(scores: Tensor, positive: Tensor) -> float:
    """Return the share of pairs in which a positive row scores above a negative one, ties counting half.

    Parameters
    ----------
    scores : Tensor
        ``[N]`` on any scale.
    positive : Tensor of bool
        ``[N]``; rows of both kinds.
    """
    # torchmetrics takes scores beyond [0, 1] for logits, and their sigmoid would make ties of the surest.
    distinct, ranks = torch.unique(scores.detach(), return_inverse=True)
    with _in_double():
        return float(binary_auroc(ranks.double() / len(distinct), positive.long()))


def r_squared(predictions: Tensor, targets: Tensor) -> float:
    """Coefficient of determination, 1 - residual variance / target variance.

    Parameters
    ----------
    predictions, targets : Tensor
        ``[N]``, in the same unit.

    Returns
    -------
    float
        At most 1; NaN for fewer than two rows or targets that are all equal.
    """
    if len(targets) < 2 or bool((targets == targets[0]).all()):
        return math.nan
    # In single precision a mean that is far from zero costs digits.
    return float(r2_score(predictions.detach().double(), targets.double()))


@contextmanager
def _in_double() -> Iterator[None]:
    """Have torchmetrics divide counts, which it does in torch's default type, in double precision."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(before)
