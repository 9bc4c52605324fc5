"""A density-ratio loss whose ratio lies between two bounds, so that no sample of signed weights can push it further."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from tabstar_lit.errors import ConfigError
from tabstar_lit.losses.density_ratio import RatioLoss

REACH = 2.0
"""From this far beyond a bound on, the wall pulls no harder; more than 1, so that it outweighs what pushes outward."""


class BoundedRatio(RatioLoss):
    """Another loss with its ratio ``r`` kept between ``1 / R`` and ``R``.

    For weighted densities ``p`` and ``q`` of any sign, ``p l1 + q l0`` is least at ``p / q`` if that lies between the
    bounds, and otherwise at the nearer one: ``l1' = -l0' / r`` in every loss with ``l0' >= 0``, so that the slope is
    ``l0' (q - p / r)``. A region whose summed weight is negative, as subtraction leaves it where there is little, ends
    at a bound and takes no other with it. Where both are negative, one of the bounds is least, and no ratio is meant.

    Beyond a bound the ratio stays there, and each term goes on with the slope it has at the bound. :meth:`wall` adds
    what turns an output round that is out there, so that none runs away and all find back.

    Parameters
    ----------
    own : RatioLoss
        The other loss.
    max_ratio : float
        The bound ``R``.

    Attributes
    ----------
    low, high : float
        The outputs that stand for the bounds, in rising order.

    Raises
    ------
    ConfigError
        ``max_ratio`` is not above 1.
    """

    nonnegative = False

    def __init__(self, own: RatioLoss, max_ratio: float) -> None:
        if not 1 < max_ratio < math.inf:
            raise ConfigError(f"training_config.max_ratio: {max_ratio} is not above 1.")
        self.own, self.largest = own, math.log(max_ratio)
        ends = own.output(torch.tensor([-self.largest, self.largest], dtype=torch.float64)).sort().values
        self.low, self.high = ends.tolist()
        self._above, self._below = _slopes(own.numerator, ends), _slopes(own.denominator, ends)

    def numerator(self, output: Tensor) -> Tensor:
        """Return ``l1(f)``, continued as a line beyond the bounds."""
        beyond = self._beyond(output)
        return self.own.numerator(output - beyond) + self._slope(beyond, self._above) * beyond

    def denominator(self, output: Tensor) -> Tensor:
        """Return ``l0(f)``, continued as a line beyond the bounds."""
        beyond = self._beyond(output)
        return self.own.denominator(output - beyond) + self._slope(beyond, self._below) * beyond

    def log_ratio(self, output: Tensor) -> Tensor:
        """Return the logarithm of the ratio, at most ``log R`` in size."""
        return self.own.log_ratio(output).clamp(-self.largest, self.largest)

    def output(self, log_ratio: Tensor) -> Tensor:
        """Return the output that stands for a ratio between the bounds."""
        return self.own.output(log_ratio)

    def wall(self, output: Tensor, above: Tensor, below: Tensor) -> Tensor:
        """Return what an event is charged beside its loss: 0 between the bounds, and more the further beyond them.

        It grows as a parabola and then as a line, in proportion to how hard the event could push: one step beyond the
        bound nothing is left of the push, and two steps beyond each event pulls back.

        Parameters
        ----------
        output : Tensor
            ``[B, C]``.
        above, below : Tensor
            ``[B, C]`` weights in the numerator and in the denominator, of any sign.
        """
        beyond = self._beyond(output)
        push = (above * self._slope(beyond, self._above)).abs() + (below * self._slope(beyond, self._below)).abs()
        return push * F.huber_loss(beyond, torch.zeros_like(beyond), reduction="none", delta=REACH)

    def _beyond(self, output: Tensor) -> Tensor:
        """Return how far an output is beyond the nearer bound, with its sign; 0 between them."""
        return output - output.clamp(self.low, self.high)

    @staticmethod
    def _slope(beyond: Tensor, slopes: tuple[float, float]) -> Tensor:
        return torch.where(beyond > 0, slopes[1], slopes[0])


def _slopes(term: Callable[[Tensor], Tensor], ends: Tensor) -> tuple[float, float]:
    """Return the derivative of a term of the loss at both bounds."""
    with torch.enable_grad():
        at = ends.detach().requires_grad_()
        (slopes,) = torch.autograd.grad(term(at).sum(), at)
    low, high = slopes.tolist()
    return low, high
