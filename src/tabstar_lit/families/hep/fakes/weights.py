"""What each event counts for each head: made once for a stage, so that a head sees the same sample in every epoch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tabstar_lit.arrays import Bool, Float32, Float64, Int64, UInt64
from tabstar_lit.errors import DataError
from tabstar_lit.families.hep.fakes.replicas import (
    balanced_copies,
    clip_threshold,
    clip_weights,
    mc_norm_factors,
    poisson_copies,
)
from tabstar_lit.families.hep.fakes.training_config import FakesTraining


@dataclass(frozen=True)
class Sample:
    """The events of a stage, in a table with those of the other stages.

    Attributes
    ----------
    weights : ndarray of float64 [N]
        Signed weights as in the file.
    ids : ndarray of uint64 [N]
        What a bootstrap draws together: events, or groups of them.
    training : ndarray of bool [N]
        Training events of the stage; its other events validate or test.
    simulated : ndarray of bool [N]
        Simulation rather than data.
    """

    weights: Float64
    ids: UInt64
    training: Bool
    simulated: Bool


@dataclass(frozen=True)
class HeadWeights:
    """Weights of events by their row in the file.

    Attributes
    ----------
    loss : Tensor
        ``[N, C]`` float32: in the loss, of each of the ``C`` heads. Held-out events have the same for all heads: no
        copies, no variation of the normalisation, and the mean over heads of the subtraction factor.
    events : Tensor
        ``[N]`` float32: signed weights for metrics and figures, times that mean; never clipped.
    mean : float
        Mean size of ``loss`` over the training events.
    """

    loss: Tensor
    events: Tensor
    mean: float


def head_weights(
    sample: Sample, options: FakesTraining, *, heads: int, seed: int, factors: Float32 | None = None
) -> HeadWeights:
    """Weigh every event for every head.

    Parameters
    ----------
    sample : Sample
        The events.
    options : FakesTraining
        Clipping, bootstrap and normalisation.
    heads : int
        Number of heads ``C``.
    seed : int
        Seed of the run.
    factors : ndarray of float32 [N, C] or [N, 1], optional
        Subtraction factors, by head.

    Raises
    ------
    DataError
        All training events weigh nothing.
    """
    nominal = (sample.weights[:, None] * (1.0 if factors is None else factors)).astype(np.float32)
    events = nominal.mean(axis=1)
    clipped = nominal
    if options.weight_clip_quantile is not None:
        threshold = clip_threshold(nominal[sample.training], options.weight_clip_quantile)
        clipped = clip_weights(nominal, threshold).astype(np.float32)
    loss = np.repeat(clipped.mean(axis=1, keepdims=True), heads, axis=1)
    rows = np.flatnonzero(sample.training)
    loss[rows] = clipped[rows] * _variations(sample, options, rows, heads, seed)
    mean = float(np.abs(loss[rows], dtype=np.float64).mean()) if len(rows) else 0.0
    if mean == 0:
        raise DataError("all training events of this stage weigh 0: nothing can be learned from them.")
    return HeadWeights(torch.from_numpy(loss), torch.from_numpy(events), mean)


def weights_settings(options: FakesTraining, *, heads: int, seed: int) -> dict[str, Any]:
    """Return the settings that weights of heads follow from, beside the events and the models that subtract."""
    names = {"poisson_bootstrap", "mc_norm_sigma", "weight_clip_quantile"}
    drawn = {"seed": seed, "twins": options.twins_among(heads)} if options.draws_replicas else {}
    if options.balances_replicas:  # named only where it holds: data of before are the same data
        drawn["balanced_replicas"] = True
    return {"heads": heads, **options.model_dump(mode="json", include=names), **drawn}


def _variations(sample: Sample, options: FakesTraining, rows: Int64, heads: int, seed: int) -> Float32:
    """Return the factors ``[n, C]`` in which heads differ on the training events ``rows``; twins have equal ones."""
    replicas = heads - options.twins_among(heads)
    own = np.arange(heads) % replicas
    varied = np.ones((len(rows), heads), dtype=np.float32)
    if options.poisson_bootstrap:
        copies = balanced_copies if options.balanced_replicas else poisson_copies
        varied *= copies(sample.ids[rows], replicas, seed)[:, own]
    if options.mc_norm_sigma > 0:
        norms = mc_norm_factors(options.mc_norm_sigma, replicas, seed, balanced=options.balanced_replicas)[own]
        varied *= np.where(sample.simulated[rows, None], norms, 1.0).astype(np.float32)
    return varied
