"""DisCo (arXiv 2001.05310): distance correlation as a penalty, so that a score does not depend on a variable.

Distance correlation (Székely, Rizzo and Bakirov, arXiv 0803.4101) is 0 only where two variables are independent.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from tabstar_lit.losses.classification import at_least_single

Reduction = Literal["logits", "entropy"]


def distance_correlation(x: Tensor, y: Tensor, weights: Tensor | None = None, power: float = 1.0) -> Tensor:
    """Return the squared distance correlation of ``x`` and ``y``, raised to ``power``.

    The biased (V-statistic) estimate. It is 0 without a gradient where ``x`` or ``y`` does not vary, or where there
    is no weight. Time and memory grow with ``N^2``.

    Parameters
    ----------
    x, y : Tensor
        ``[N]``, or ``[N, K]`` for a vector per event.
    weights : Tensor or None
        ``[N]``, at least 0; an integer weight counts as that many equal rows.
    power : float, default 1
        1 is the *square* of what is usually called the distance correlation, 0.5 is that itself.

    Returns
    -------
    Tensor
        Scalar in [0, 1].
    """
    shares = _shares(x, weights)
    return _correlation(_centred(x, shares), _centred(y, shares), shares, power)


class DisCo(nn.Module):
    """Distance correlation between the output of a classifier and variables, over background events only.

    Parameters
    ----------
    power : float, default 1
        As in :func:`distance_correlation`.
    weighted : bool, default False
        Use the event weights.
    multiclass_reduction : str, default logits
        With more than two classes: ``logits`` adds up the correlations of all logits, ``entropy`` takes that of the
        entropy of the softmax.
    """

    def __init__(self, power: float = 1.0, weighted: bool = False, multiclass_reduction: Reduction = "logits") -> None:
        super().__init__()
        self.power = power
        self.weighted = weighted
        self.multiclass_reduction = multiclass_reduction

    def forward(self, logits: Tensor, variables: Tensor, background: Tensor, weights: Tensor | None = None) -> Tensor:
        """Return the correlation with each variable, ``[V]``.

        Parameters
        ----------
        logits : Tensor
            ``[B, K]``.
        variables : Tensor
            ``[B, V]``; an event is left out of all correlations where one of its variables is not finite.
        background : Tensor
            ``[B]`` bool, the events that count.
        weights : Tensor or None
            ``[B]`` event weights.
        """
        kept = background & variables.isfinite().all(dim=1)
        scores = self._scores(at_least_single(logits)[kept])
        chosen = variables.detach()[kept].to(scores.dtype)
        shares = _shares(scores, weights[kept] if self.weighted and weights is not None else None)
        centred = [_centred(score, shares) for score in scores.unbind(dim=1)]
        own = [_centred(variable, shares) for variable in chosen.unbind(dim=1)]
        return torch.stack([sum_of([_correlation(v, s, shares, self.power) for s in centred]) for v in own])

    def _scores(self, logits: Tensor) -> Tensor:
        if logits.shape[1] == 1 or self.multiclass_reduction == "logits":
            return logits
        log_p = logits.log_softmax(dim=1)
        return -(log_p.exp() * log_p).sum(dim=1, keepdim=True)


def sum_of(scalars: list[Tensor]) -> Tensor:
    """Return the sum of scalar tensors."""
    return torch.stack(scalars).sum()


def _shares(x: Tensor, weights: Tensor | None) -> Tensor:
    """Return weights ``[N]`` that sum to 1, or to 0 where there is none."""
    if weights is None:
        return x.new_full((len(x),), 1.0 / max(1, len(x)))
    weights = weights.to(x.dtype)
    total = weights.sum()
    return weights / torch.where(total > 0, total, torch.ones_like(total))


def _centred(x: Tensor, shares: Tensor) -> Tensor:
    """Return the distances ``[N, N]`` within ``x``, with weighted row and column means taken out.

    The result does not depend on the unit of ``x``; in its own, squares of large numbers would overflow.
    """
    with torch.no_grad():
        spread = (x - x.mean(dim=0)).abs().amax() if len(x) else x.new_ones(())
        scale = torch.where(spread > 0, spread, torch.ones_like(spread))
    x = x / scale
    if x.dim() == 1:
        distances = (x.unsqueeze(1) - x).abs()
    else:
        distances = torch.cdist(x, x, compute_mode="donot_use_mm_for_euclid_dist")
    means = distances @ shares
    return distances - means - (means - means @ shares).unsqueeze(1)


def _correlation(a: Tensor, b: Tensor, shares: Tensor, power: float) -> Tensor:
    squared = _product(a, b, shares)
    variances = _product(a, a, shares) * _product(b, b, shares)
    defined = variances > 0
    ratio = squared / torch.where(defined, variances, torch.ones_like(variances)).sqrt()
    least = torch.finfo(ratio.dtype).eps  # roots have no finite slope at 0, and rounding can lead below it
    return torch.where(defined & (ratio > least), ratio.clamp_min(least) ** power, torch.zeros_like(ratio))


def _product(a: Tensor, b: Tensor, shares: Tensor) -> Tensor:
    return (a * b) @ shares @ shares
