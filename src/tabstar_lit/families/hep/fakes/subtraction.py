"""Weights that turn a sample of data, or of simulation, into data minus simulation (arXiv 2511.06972)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Subtraction(NamedTuple):
    """Factors on the weights of events, and how well they are known.

    Attributes
    ----------
    factors : Tensor
        ``[B]``, or ``[B, C]`` of ``C`` heads. Below 0 where there is more simulation than data.
    errors : Tensor
        The same shape; from the uncertainty of the ratio to first order.
    """

    factors: Tensor
    errors: Tensor


def subtraction(log_ratios: Tensor, errors: Tensor, is_data: Tensor) -> Subtraction:
    """Return what data, or simulation, is multiplied by to be distributed as data minus simulation.

    With ``r`` the ratio of data to simulation this is ``1 - 1/r`` for an event of data and ``r - 1`` for a simulated
    one, with the errors ``sigma_r / r^2`` and ``sigma_r``, where ``sigma_r = r sigma_log``.

    Parameters
    ----------
    log_ratios : Tensor
        ``[B]`` or ``[B, C]``: ``log r`` of the model of the event's region.
    errors : Tensor
        The same shape: ``sigma_log``, the uncertainty of ``log r``.
    is_data : Tensor
        ``[B]`` bool: data rather than simulation.
    """
    is_data = is_data if log_ratios.ndim == 1 else is_data.unsqueeze(1)
    # expm1 keeps the small differences of ratios close to one.
    signed = torch.where(is_data, -log_ratios, log_ratios)
    return Subtraction(torch.where(is_data, -1.0, 1.0) * signed.expm1(), signed.exp() * errors)
