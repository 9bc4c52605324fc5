"""Heads for regression targets: one number, shares of bins that are read by their mean, or both (TabSTAR v1.1).

Targets are in standard deviations of the training rows, and end at ``limit`` of them while a head learns.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tabstar_lit.families.tabstar.config import TabstarArchitecture
from tabstar_lit.nn.tabstar import PredictionHead

ScalarError = Callable[[Tensor, Tensor], Tensor]
"""Predictions ``[B]`` and targets ``[B]`` in, the error of each out ``[B]``."""


class ScalarHead(PredictionHead):
    """One number: the target itself."""

    def __init__(self, width: int, hidden: int, limit: float) -> None:
        super().__init__(width, hidden)
        self.limit = limit

    def values(self, outputs: Tensor) -> Tensor:
        """Return the predicted targets ``[B]`` of outputs ``[B, 1]``."""
        return outputs.squeeze(-1)

    def errors(self, outputs: Tensor, targets: Tensor, error: ScalarError) -> Tensor:
        """Return the loss of each row, ``[B]``; ``error`` is that of a number."""
        return error(outputs.squeeze(-1), targets.clamp(-self.limit, self.limit))


class BinnedHead(PredictionHead):
    """Shares of ``K`` equal bins between -limit and limit; their mean is the prediction.

    Learned by cross-entropy against a normal distribution around the target, one bin wide (HL-Gauss, arXiv 2403.03950):
    bins next to the right one are less wrong than others.
    """

    centers: Tensor
    edges: Tensor

    def __init__(self, width: int, hidden: int, limit: float, bins: int) -> None:
        super().__init__(width, hidden, bins)
        self.limit = limit
        edges = torch.linspace(-limit, limit, bins + 1)
        self.register_buffer("edges", edges, persistent=False)
        self.register_buffer("centers", (edges[:-1] + edges[1:]) / 2, persistent=False)

    def values(self, outputs: Tensor) -> Tensor:
        """Return the predicted targets ``[B]`` of outputs ``[B, K]``."""
        shares: Tensor = outputs.softmax(dim=-1)
        return shares @ self.centers.to(outputs.dtype)

    def errors(self, outputs: Tensor, targets: Tensor, error: ScalarError) -> Tensor:
        """Return the loss of each row, ``[B]``; it is not made of ``error``."""
        ends = (self.edges - targets.clamp(-self.limit, self.limit).unsqueeze(-1)) / (self.edges[1] - self.edges[0])
        shares = torch.special.ndtr(ends).diff(dim=-1)
        shares = shares / shares.sum(dim=-1, keepdim=True)  # what lies beyond the ends belongs to the rest
        loss: Tensor = -(shares * outputs.log_softmax(dim=-1)).sum(dim=-1)
        return loss


class BothHeads(nn.Module):
    """A number and shares of bins, read as the mean of the two, as the package ``tabstar`` has it in its v1.1.

    The loss is half that of the number, and a quarter each of cross-entropy and of the continuous ranked probability
    score of the shares.
    """

    def __init__(self, width: int, hidden: int, limit: float, bins: int) -> None:
        super().__init__()
        self.limit = limit
        self.scalar_head = ScalarHead(width, hidden, limit)
        self.dist_head = BinnedHead(width, hidden, limit, bins)

    def forward(self, targets: Tensor) -> Tensor:
        """Score ``[B, 1, D]`` target elements: ``[B, 1, 1 + K]``, the number first."""
        return torch.cat([self.scalar_head(targets), self.dist_head(targets)], dim=-1)

    def values(self, outputs: Tensor) -> Tensor:
        """Return the predicted targets ``[B]`` of outputs ``[B, 1 + K]``."""
        mean = (outputs[..., 0] + self.dist_head.values(outputs[..., 1:])) / 2
        return mean.clamp(-self.limit, self.limit)

    def errors(self, outputs: Tensor, targets: Tensor, error: ScalarError) -> Tensor:
        """Return the loss of each row, ``[B]``; ``error`` is that of a number."""
        own, shares = targets.clamp(-self.limit, self.limit), outputs[..., 1:]
        bins = torch.bucketize(own, self.dist_head.edges[1:-1].to(own.dtype))
        of_shares = F.cross_entropy(shares, bins, reduction="none") + ranked_probability_score(
            shares.softmax(dim=-1), self.dist_head.centers, own
        )
        return 0.5 * self.scalar_head.errors(outputs[..., :1], own, error) + 0.25 * of_shares


RegressionHead = ScalarHead | BinnedHead | BothHeads


def regression_head(architecture: TabstarArchitecture, width: int) -> RegressionHead:
    """Return the head that the architecture names, for elements of ``width``."""
    hidden, limit = architecture.head_hidden or 4 * width, architecture.regression_limit
    if architecture.regression_head == "scalar":
        return ScalarHead(width, hidden, limit)
    kind = BinnedHead if architecture.regression_head == "binned" else BothHeads
    return kind(width, hidden, limit, architecture.regression_bins)


def ranked_probability_score(shares: Tensor, centers: Tensor, targets: Tensor) -> Tensor:
    """Return the continuous ranked probability score of shares at equally distant points: ``[B]``.

    It is the integral of (F(x) - 1[x >= y])², with F the sum of the shares up to x, which is constant between points.

    Parameters
    ----------
    shares : Tensor
        ``[B, K]``, of each row 1 together.
    centers : Tensor
        ``[K]`` the points, ascending.
    targets : Tensor
        ``[B]`` the truth ``y``.
    """
    own = targets.unsqueeze(-1)
    step = centers[1] - centers[0]
    below = (own - centers[:-1]).clamp(torch.zeros_like(step), step)
    total = shares.cumsum(dim=-1)[..., :-1]
    inside = (total.square() * below + (1 - total).square() * (step - below)).sum(dim=-1)
    return inside + (centers[0] - targets).clamp_min(0) + (targets - centers[-1]).clamp_min(0)
