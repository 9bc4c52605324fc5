"""The two scores tables are judged by: ROC-AUC for classification, R² for regression."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import r2_score, roc_auc_score
from torch import Tensor


def roc_auc(scores: Tensor, targets: Tensor, weights: Tensor | None = None) -> float:
    """Area under the ROC curve, one class against the rest, averaged over classes.

    Classes that are absent, or the only one, among ``targets`` have no curve and are left out of the mean.

    Parameters
    ----------
    scores : Tensor
        ``[N, C]`` class scores on one scale per row, such as probabilities (softmax of logits).
    targets : Tensor of int
        ``[N]`` class numbers.
    weights : Tensor or None
        ``[N]`` row weights.

    Returns
    -------
    float
        In [0, 1]; NaN where no class has a curve.
    """
    values, classes = _array(scores), _array(targets)
    row_weights = None if weights is None else _array(weights)
    present = np.unique(classes)
    if len(present) < 2:
        return float("nan")
    if values.shape[1] == 2:
        # Both classes' curves mirror each other.
        present = present[-1:]
    areas = [roc_auc_score(classes == c, values[:, int(c)], sample_weight=row_weights) for c in present]
    return float(np.mean(areas))


def r_squared(predictions: Tensor, targets: Tensor, weights: Tensor | None = None) -> float:
    """Coefficient of determination, 1 - residual variance / target variance.

    Parameters
    ----------
    predictions, targets : Tensor
        ``[N]``, in the same unit.
    weights : Tensor or None
        ``[N]`` row weights.

    Returns
    -------
    float
        At most 1; NaN for fewer than two rows or targets that are all equal.
    """
    values = _array(targets)
    if len(values) < 2 or np.ptp(values) == 0:
        return float("nan")
    row_weights = None if weights is None else _array(weights)
    return float(r2_score(values, _array(predictions), sample_weight=row_weights))


def _array(tensor: Tensor) -> NDArray[np.float64]:
    array: NDArray[np.float64] = tensor.detach().double().cpu().numpy()
    return array
