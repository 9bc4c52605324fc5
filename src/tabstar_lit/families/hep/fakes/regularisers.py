"""Penalties that keep learned ratios close to one, and a sample reweighted by them from resting on few events."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

EssForm = Literal["normalised", "original"]
STABILISER = 1e-8
"""What SeeSawML adds to its effective sample size."""


def shrinkage(log_ratios: Tensor) -> Tensor:
    """Return the mean squared log-ratio, which ``w_lambda`` multiplies: it shrinks ratios to 1.

    A plain mean over events, whatever they weigh, as in SeeSawML: the penalty is on the function that is learned, not
    on a sample. Of the log-ratio and not the output, so that it means the same with every loss.

    Parameters
    ----------
    log_ratios : Tensor
        ``[B]``, or ``[B, C]`` of ``C`` heads, over which it is averaged.
    """
    return log_ratios.square().mean()


def effective_sample_size(log_ratios: Tensor) -> Tensor:
    """Return Kish's ``(sum r)^2 / sum r^2`` of ``B`` events reweighted by the ratio: between 1 and ``B``.

    Parameters
    ----------
    log_ratios : Tensor
        ``[B]``, or ``[B, C]`` for one of each head.

    Returns
    -------
    Tensor
        Scalar or ``[C]``. Computed from logarithms: finite for any finite log-ratios.
    """
    return (2 * torch.logsumexp(log_ratios, 0) - torch.logsumexp(2 * log_ratios, 0)).exp()


def ess_penalty(log_ratios: Tensor, form: EssForm = "normalised") -> Tensor:
    """Return the penalty on a small effective sample size ``n``, which ``ess_lambda`` multiplies.

    Parameters
    ----------
    log_ratios : Tensor
        ``[B]``, or ``[B, C]`` of ``C`` heads, over which it is averaged.
    form : str
        ``normalised``: ``1 - n / B``, a property of the ratio that does not change with the size of the batch: 0 when
        all events count the same, towards 1 when a few carry all. ``original``: SeeSawML's ``1 / n``, between
        ``1 / B`` and 1.
    """
    size = effective_sample_size(log_ratios)
    penalty = 1 - size / len(log_ratios) if form == "normalised" else 1 / (size + STABILISER)
    return penalty.mean()
