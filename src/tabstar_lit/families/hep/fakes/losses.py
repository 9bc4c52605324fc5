"""The loss of each stage."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tabstar_lit.families.hep.fakes.config import Role
from tabstar_lit.losses.bounded_ratio import BoundedRatio
from tabstar_lit.losses.density_ratio import Inverse, RatioLoss, ratio_loss


def loss_of(name: str, role: Role, max_ratio: float | None = None) -> RatioLoss:
    """Return the loss called ``name`` as a stage uses it, with ratios of at most ``max_ratio`` if that is given.

    With losses that measure errors of the ratio itself, numerator and denominator learn simulation over data, although
    their outputs stand for data over simulation: the former lies below 1 and is what is subtracted, the latter grows
    without bound where there is no simulation. To symmetric losses both are the same.

    Raises
    ------
    ConfigError
        There is no such loss, or the bound is not above 1.
    """
    loss = ratio_loss(name)
    own = loss if role == "ratio" or loss.symmetric else Inverse(loss)
    return own if max_ratio is None else BoundedRatio(own, max_ratio)


def link_of(payload: Mapping[str, Any]) -> RatioLoss:
    """Return the loss of a checkpoint, whose link makes ratios of its outputs; the first release knew no bound."""
    return loss_of(payload["loss"], payload["role"], payload.get("max_ratio"))
