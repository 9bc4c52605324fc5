"""The weighted risk of a density-ratio loss, with a policy for events of negative weight."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn

from tabstar_lit.errors import ConfigError
from tabstar_lit.losses.bounded_ratio import BoundedRatio
from tabstar_lit.losses.classification import at_least_single
from tabstar_lit.losses.density_ratio import RatioLoss

NegativeWeights = Literal["bounded", "correction", "plain", "absolute", "zero"]


class RatioRisk(nn.Module):
    """``sum(w [y l1(f) + (1 - y) l0(f)])`` over a batch, over its size and the mean ``|w|`` of all training events.

    The divisor is the same for every batch. With the batch's own sum of weights events of large weight would count
    less the larger they are, and the ratio would be biased. For several heads it is the mean of their risks.

    What an event of negative weight does is said by ``negative_weights``:

    ``bounded``
        What the formula says, with ratios between ``1 / max_ratio`` and ``max_ratio``: its minimum is the ratio of
        the densities wherever that lies between the two, and else the nearer bound, also where a density is negative
        (:class:`~tabstar_lit.losses.bounded_ratio.BoundedRatio`). Equals ``plain`` as long as no bound is met.
    ``plain``
        What the formula says. The risk then has no lower bound: a network that singles out such an event is rewarded
        for pushing its output to infinity.
    ``correction``
        Each part of the risk that cannot be negative, were the densities known, is not allowed below its bound (the
        non-negative risk of Kiryo et al., arXiv 1703.00593). For losses that are never below 0 these parts are the
        risks of the two samples. The others are recombined first, ``a = l1 + c l0`` and ``b = l0 + c l1`` with
        ``c = 1 / max_ratio``: ``a`` is least at the ratio ``1/c`` and ``b`` at ``c``, and with a ratio between the two
        both are integrated over a positive density (Kato and Teshima, arXiv 2006.06979, for one of them). The bound
        is on the sum over the batch: one region of negative density meets it for all, and its minimum may lie at
        ratios of nearly 0 everywhere. Kept for runs that were begun with it.
    ``absolute``, ``zero``
        The weight without its sign, or no weight at all: bounded, and the ratio of another density.

    Parameters
    ----------
    loss : RatioLoss
        The loss of an event.
    negative_weights : str
        The policy.
    mean_weight : float
        Mean ``|w|`` of the training events.
    max_ratio : float
        The ratio lies between ``1 / max_ratio`` and ``max_ratio``: by ``bounded`` it is kept there, and ``correction``
        takes it to do so for losses that have no least value themselves.

    Attributes
    ----------
    loss : RatioLoss
        That with the link from outputs to ratios: with ``bounded``, to ratios between the bounds.

    Raises
    ------
    ConfigError
        ``mean_weight`` is not positive, or ``max_ratio`` not above 1.
    """

    def __init__(
        self,
        loss: RatioLoss,
        negative_weights: NegativeWeights = "bounded",
        *,
        mean_weight: float = 1.0,
        max_ratio: float = 1000.0,
    ) -> None:
        super().__init__()
        if not 0 < mean_weight < math.inf:
            raise ConfigError(f"the mean size of the training weights is {mean_weight}; it must be positive.")
        if not 1 < max_ratio < math.inf:
            raise ConfigError(f"training_config.max_ratio: {max_ratio} is not above 1.")
        self.wall = BoundedRatio(loss, max_ratio) if negative_weights == "bounded" else None
        self.loss, self.negative_weights, self.mean_weight = self.wall or loss, negative_weights, mean_weight
        self.mixing = 0.0 if loss.nonnegative else 1 / max_ratio
        self.floors = (0.0, 0.0) if loss.nonnegative else self._least(max_ratio)

    def forward(self, outputs: Tensor, targets: Tensor, weights: Tensor | None = None) -> Tensor:
        """Return the risk of a batch.

        Parameters
        ----------
        outputs : Tensor
            ``[B]``, or ``[B, C]`` of ``C`` heads.
        targets : Tensor
            ``[B]``: 1 for the numerator, 0 for the denominator.
        weights : Tensor or None
            ``[B]``, or ``[B, C]`` when each head has its own; of either sign. None weighs all events 1.

        Returns
        -------
        Tensor
            Scalar.
        """
        outputs = at_least_single(outputs if outputs.ndim == 2 else outputs.unsqueeze(1))
        weights = torch.ones_like(outputs[:, :1]) if weights is None else weights.to(outputs.dtype)
        weights = self._usable(weights if weights.ndim == 2 else weights.unsqueeze(1))
        share = targets.to(outputs.dtype).unsqueeze(1)
        above, below = weights * share, weights * (1 - share)
        risks = self._risks(self.loss.numerator(outputs), self.loss.denominator(outputs), above, below)
        if self.wall is not None:
            risks = risks + self.wall.wall(outputs, above, below).sum(0)
        return risks.mean() / (len(outputs) * self.mean_weight)

    def _risks(self, l1: Tensor, l0: Tensor, above: Tensor, below: Tensor) -> Tensor:
        """Return the summed risk of each head, ``[C]``."""
        if self.negative_weights != "correction":
            return (above * l1 + below * l0).sum(0)
        c, (floor_above, floor_below) = self.mixing, self.floors
        first = _floored(l1 + c * l0, above - c * below, floor_above)
        second = _floored(l0 + c * l1, below - c * above, floor_below)
        return (first + second) / (1 - c**2)

    def _usable(self, weights: Tensor) -> Tensor:
        if self.negative_weights == "absolute":
            return weights.abs()
        return weights.clamp(min=0) if self.negative_weights == "zero" else weights

    def _least(self, max_ratio: float) -> tuple[float, float]:
        """Return the least ``l1 + c l0`` and the least ``l0 + c l1``."""
        ends = self.loss.output(torch.tensor([max_ratio, 1 / max_ratio], dtype=torch.float64).log())
        l1, l0 = self.loss.numerator(ends), self.loss.denominator(ends)
        return float(l1[0] + self.mixing * l0[0]), float(l0[1] + self.mixing * l1[1])


def _floored(losses: Tensor, weights: Tensor, floor: float) -> Tensor:
    """Return ``sum(w l)`` of each head, or what it were at the least loss, if that is more."""
    return torch.maximum((weights * losses).sum(0), floor * weights.sum(0))
