"""The loss of each stage."""

from __future__ import annotations

from tabstar_lit.families.hep.fakes.config import Role
from tabstar_lit.losses.density_ratio import Inverse, RatioLoss, ratio_loss


def loss_of(name: str, role: Role) -> RatioLoss:
    """Return the loss called ``name`` as a stage uses it.

    With losses that measure errors of the ratio itself, numerator and denominator learn simulation over data, although
    their outputs stand for data over simulation: the former lies below 1 and is what is subtracted, the latter grows
    without bound where there is no simulation. To symmetric losses both are the same.

    Raises
    ------
    ConfigError
        There is no such loss.
    """
    loss = ratio_loss(name)
    return loss if role == "ratio" or loss.symmetric else Inverse(loss)
