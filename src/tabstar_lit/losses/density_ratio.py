"""Losses whose minimum is the ratio of two densities, each with its link from the network's output to that ratio.

Numerator events, of density ``p``, are charged ``l1(f)`` and denominator events, of density ``q``, ``l0(f)``. Where
``p l1'(f) + q l0'(f) = 0`` the link must give ``p / q``: every loss here is proper in that sense for any real output
``f``, of which no activation is asked. Densities carry their yields: the ratio of sums of weights is part of it.

The general theory is that of Bregman divergences (Sugiyama, Suzuki and Kanamori, doi 10.1007/s10463-011-0343-8);
Rizvi, Pettee and Nachman (arXiv 2305.10500) compare losses and links for likelihood ratios in particle physics.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from tabstar_lit.config.registry import Registry


class RatioLoss(ABC):
    """A loss of one output ``f`` for two samples, and the ratio that ``f`` stands for.

    All methods act element by element on tensors of any shape, in the precision they come in, and are finite with
    finite gradients in float32 for ``|f| <= 80``.

    Attributes
    ----------
    nonnegative : bool
        Neither term is ever below 0. The others can fall without bound where only one of the two samples has events.
    symmetric : bool
        Exchanging the samples only changes the sign of the output. The others measure errors of the ratio itself.
    """

    nonnegative: bool = True
    symmetric: ClassVar[bool] = True

    @abstractmethod
    def numerator(self, output: Tensor) -> Tensor:
        """Return ``l1(f)``, the loss of an event of the numerator."""

    @abstractmethod
    def denominator(self, output: Tensor) -> Tensor:
        """Return ``l0(f)``, the loss of an event of the denominator."""

    @abstractmethod
    def log_ratio(self, output: Tensor) -> Tensor:
        """Return the logarithm of the ratio that the output stands for."""

    @abstractmethod
    def output(self, log_ratio: Tensor) -> Tensor:
        """Return the output that stands for a ratio: the inverse of :meth:`log_ratio`."""

    def ratio(self, output: Tensor) -> Tensor:
        """Return the ratio that the output stands for."""
        return self.log_ratio(output).exp()


class _LogLink(RatioLoss):
    """The output is the logarithm of the ratio itself."""

    def log_ratio(self, output: Tensor) -> Tensor:
        return output

    def output(self, log_ratio: Tensor) -> Tensor:
        return log_ratio


class _SinhLink(RatioLoss):
    """The ratio is ``f + sqrt(f^2 + 1)``: about ``2f`` far up, ``1 / (2|f|)`` far down, and 1 at 0.

    Growing with ``f`` and not with ``e^f``, it keeps terms in the ratio itself, or in its inverse, within reach.
    """

    def log_ratio(self, output: Tensor) -> Tensor:
        return output.asinh()

    def output(self, log_ratio: Tensor) -> Tensor:
        return log_ratio.sinh()


class _SoftplusLink(RatioLoss):
    """The ratio is ``log(1 + e^f)``: positive, and linear far up, so that its square stays within reach."""

    nonnegative, symmetric = False, False

    def log_ratio(self, output: Tensor) -> Tensor:
        # Far down softplus is e^f, which float32 rounds to 0 from -104 on, while its logarithm is just f.
        low = output < -15.0
        safe = torch.where(low, torch.zeros_like(output), output)
        return torch.where(low, output, F.softplus(safe).log())

    def output(self, log_ratio: Tensor) -> Tensor:
        ratio = log_ratio.exp()
        return ratio + (-torch.expm1(-ratio)).log()

    def ratio(self, output: Tensor) -> Tensor:
        return F.softplus(output)


class BinaryCrossEntropy(_LogLink):
    """``log(1 + e^-f)`` and ``log(1 + e^f)``: the classifier's log-odds are the log-ratio (arXiv 1506.02169)."""

    def numerator(self, output: Tensor) -> Tensor:
        """Return ``softplus(-f)``."""
        return F.softplus(-output)

    def denominator(self, output: Tensor) -> Tensor:
        """Return ``softplus(f)``."""
        return F.softplus(output)


class Logistic(BinaryCrossEntropy):
    """The logistic margin loss (doi 10.1214/aos/1016218223): the same function as binary cross-entropy."""


class Exponential(_LogLink):
    """``e^(-f/2)`` and ``e^(f/2)``: AdaBoost's loss (doi 10.1006/jcss.1997.1504), or SQR of arXiv 2305.10500.

    Half the output stands in the exponent, so that the output is the log-ratio and half as far from overflow.
    """

    def numerator(self, output: Tensor) -> Tensor:
        """Return ``e^(-f/2)``."""
        return (-0.5 * output).exp()

    def denominator(self, output: Tensor) -> Tensor:
        """Return ``e^(f/2)``."""
        return (0.5 * output).exp()


class Savage(_LogLink):
    """``sigmoid(-f)^2`` and ``sigmoid(f)^2``: SavageBoost (Masnadi-Shirazi and Vasconcelos, NeurIPS 2008).

    It charges an event at most 1, however wrong, so that outliers do not pull.
    """

    def numerator(self, output: Tensor) -> Tensor:
        """Return ``sigmoid(-f)^2``."""
        return (-output).sigmoid().square()

    def denominator(self, output: Tensor) -> Tensor:
        """Return ``sigmoid(f)^2``."""
        return output.sigmoid().square()


class SquaredError(Savage):
    """Squared error of the probability ``sigmoid(f)`` (Brier score; MSE of arXiv 2305.10500): equals Savage.

    An unbounded output in place of the probability would stand for negative ratios outside (0, 1).
    """


class Tangent(RatioLoss):
    """``(1 - 2 atan(f)/pi)^2`` and ``(1 + 2 atan(f)/pi)^2``: TangentBoost (doi 10.1109/CVPR.2010.5540136).

    The published ``2 atan(f) -+ 1`` exceeds the probabilities it stands for when ``|f| > tan(1/2)``, where its ratio
    is negative. The factor makes all outputs probabilities: ``1/2 + atan(f)/pi`` (arXiv 2305.10500).
    """

    def numerator(self, output: Tensor) -> Tensor:
        """Return ``(1 - 2 atan(f)/pi)^2``."""
        return self._angle(output).mul(2 / math.pi).square()

    def denominator(self, output: Tensor) -> Tensor:
        """Return ``(1 + 2 atan(f)/pi)^2``."""
        return self._angle(-output).mul(2 / math.pi).square()

    def log_ratio(self, output: Tensor) -> Tensor:
        """Return ``log((pi/2 + atan f) / (pi/2 - atan f))``."""
        return self._angle(-output).log() - self._angle(output).log()

    def output(self, log_ratio: Tensor) -> Tensor:
        """Return ``tan(pi (sigmoid(log r) - 1/2))``."""
        return (0.5 * math.pi * (0.5 * log_ratio).tanh()).tan()

    @staticmethod
    def _angle(output: Tensor) -> Tensor:
        return torch.atan2(torch.ones_like(output), output)  # pi/2 - atan(f), to full precision for large f


class Square(_SinhLink):
    """``(1 - m)^2`` and ``(1 + m)^2`` with the margin ``m = f / (1 + sqrt(1 + f^2))`` between -1 and 1.

    The squared loss of Menon and Ong (ICML 2016), whose ratio ``(1 + m)/(1 - m)`` is negative for other margins.
    """

    def numerator(self, output: Tensor) -> Tensor:
        """Return ``(1 - m)^2``."""
        return (1 - self._margin(output)).square()

    def denominator(self, output: Tensor) -> Tensor:
        """Return ``(1 + m)^2``."""
        return (1 + self._margin(output)).square()

    @staticmethod
    def _margin(output: Tensor) -> Tensor:
        return output / (1 + (1 + output.square()).sqrt())


class LeastSquares(_SoftplusLink):
    """``-r`` and ``r^2 / 2``: least-squares importance fitting (Kanamori, Hido and Sugiyama, JMLR 10, 2009)."""

    def numerator(self, output: Tensor) -> Tensor:
        """Return ``-r``."""
        return -self.ratio(output)

    def denominator(self, output: Tensor) -> Tensor:
        """Return ``r^2 / 2``."""
        return 0.5 * self.ratio(output).square()


class KullbackLeibler(_SoftplusLink):
    """``-log r`` and ``r``: Kullback-Leibler importance estimation (KLIEP, doi 10.1007/s10463-008-0197-x).

    The paper's constraint that the ratio has mean 1 becomes the term ``r`` (MLC of arXiv 2305.10500), which leaves
    the yields in the ratio. Both terms are convex in ``f``.
    """

    def numerator(self, output: Tensor) -> Tensor:
        """Return ``-log r``."""
        return -self.log_ratio(output)

    def denominator(self, output: Tensor) -> Tensor:
        """Return ``r``."""
        return self.ratio(output)


class Bregman(_SoftplusLink):
    """``-h'(r)`` and ``r h'(r) - h(r)`` with ``h(r) = e^(2r) / 4``: the Bregman divergence of an exponential.

    Above :attr:`KNEE` the parabola that osculates ``h`` replaces it, which is as convex, so that the minimum is the
    same (doi 10.1007/s10463-011-0343-8), and ``e^(2r)`` can neither overflow nor let large ratios drown all others.
    """

    KNEE: ClassVar[float] = 2.0

    def numerator(self, output: Tensor) -> Tensor:
        """Return ``-h'(r)``."""
        exponential, above = self._parts(output)
        return -exponential * (0.5 + above)

    def denominator(self, output: Tensor) -> Tensor:
        """Return ``r h'(r) - h(r)``."""
        exponential, above = self._parts(output)
        value = exponential * (0.25 + 0.5 * above + 0.5 * above.square())
        return self.ratio(output) * exponential * (0.5 + above) - value

    def _parts(self, output: Tensor) -> tuple[Tensor, Tensor]:
        """Return ``e^(2r)`` up to the knee, and how far above it the ratio is."""
        ratio = self.ratio(output)
        return (2 * ratio.clamp(max=self.KNEE)).exp(), (ratio - self.KNEE).clamp(min=0)


class GaussianLikelihood(_SinhLink):
    """Gaussian negative log-likelihood of the label: mean ``p = r / (1 + r)``, variance ``p (1 - p)``.

    ``(log p(1-p) + 1/r) / 2`` and ``(log p(1-p) + r) / 2``. As a score of the first two moments (Dawid and Sebastiani,
    doi 10.1214/aos/1018031101) it is least where both are right, and a label's variance follows from its mean.
    """

    nonnegative = False

    def numerator(self, output: Tensor) -> Tensor:
        """Return ``(log p(1-p) + 1/r) / 2``."""
        return 0.5 * (self._log_variance(output) + self.ratio(-output))

    def denominator(self, output: Tensor) -> Tensor:
        """Return ``(log p(1-p) + r) / 2``."""
        return 0.5 * (self._log_variance(output) + self.ratio(output))

    def _log_variance(self, output: Tensor) -> Tensor:
        log_ratio = self.log_ratio(output)
        return -F.softplus(log_ratio) - F.softplus(-log_ratio)


class Inverse(RatioLoss):
    """Another loss with its two samples exchanged, which learns the inverse of the ratio.

    The minimum is the same. Losses that measure errors of the ratio itself (least squares, Kullback-Leibler, Bregman)
    learn best what is bounded: of simulation over data, which is at most 1 where data contain what is simulated, all
    values count; of data over simulation only those where it is largest.

    Parameters
    ----------
    own : RatioLoss
        The other loss.
    """

    def __init__(self, own: RatioLoss) -> None:
        self.own, self.nonnegative = own, own.nonnegative

    def numerator(self, output: Tensor) -> Tensor:
        """Return what the other loss charges an event of the denominator."""
        return self.own.denominator(output)

    def denominator(self, output: Tensor) -> Tensor:
        """Return what the other loss charges an event of the numerator."""
        return self.own.numerator(output)

    def log_ratio(self, output: Tensor) -> Tensor:
        """Return minus the logarithm of the ratio that the output stands for to the other loss."""
        return -self.own.log_ratio(output)

    def output(self, log_ratio: Tensor) -> Tensor:
        """Return the output that stands for the inverse to the other loss."""
        return self.own.output(-log_ratio)


RATIO_LOSSES: Registry[type[RatioLoss]] = Registry(
    "density-ratio loss",
    {
        "bce": BinaryCrossEntropy,
        "logistic": Logistic,
        "exp": Exponential,
        "savage": Savage,
        "tangent": Tangent,
        "square": Square,
        "mse": SquaredError,
        "lsif": LeastSquares,
        "kliep": KullbackLeibler,
        "bregman": Bregman,
        "gaussian_nll": GaussianLikelihood,
    },
    absent="no density-ratio loss is called",
)
"""The losses by the name in ``training_config.loss``."""


def ratio_loss(name: str) -> RatioLoss:
    """Return the loss called ``name``.

    Raises
    ------
    ConfigError
        None of :data:`RATIO_LOSSES` is called so.
    """
    return RATIO_LOSSES.find(name, ("loss",))()
