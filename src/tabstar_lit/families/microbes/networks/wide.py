"""A linear model of the reads of each sequence, beside a network: wide and deep (arXiv 1606.07792).

Sequences are known by a hash of their letters (the hashing trick, arXiv 0902.2206), so that no list of them is kept,
and one that was never trained on has no part.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tabstar_lit.families.microbes.study.batch import SampleBatch

N_PLACES = 1 << 17
"""Different sequences share a weight by chance: of 5,000 one in 26 does."""
RAREST_SHARE = 1e-3
"""Shares count by ``ln(1 + share / RAREST_SHARE)``: 0 without a read, linear below this, a logarithm above."""
RAREST_SHARE_FITTED = 1e-4
"""Likewise of weights that are fitted, which no step size depends on: that of the classical models."""
FACTOR = 6364136223846793005
"""Its powers are the factors of the hash (D. Knuth's for random numbers)."""


class WideReads(nn.Module):
    """Sum over the ASVs of a sample: a weight of the sequence times the logarithm of its share of reads.

    Parameters
    ----------
    max_letters : int
        Letters ``L`` of the longest sequence.
    outputs : int
        Number of outputs ``O``.
    fitted : bool
        Weights are to be given by :meth:`take`, and are not trained.

    Attributes
    ----------
    apart : Tensor
        ``[rows, O]`` by row of the study: what weights that were fitted without its group say of a training sample.
        Empty where there are none; no checkpoint keeps it.
    """

    factors: Tensor
    apart: Tensor

    def __init__(self, max_letters: int, outputs: int, *, fitted: bool = False) -> None:
        super().__init__()
        powers = [pow(FACTOR, power, 1 << 62) for power in range(1, max_letters + 1)]
        self.register_buffer("factors", torch.tensor(powers), persistent=False)
        self.weights = nn.Embedding(N_PLACES, outputs)
        nn.init.zeros_(self.weights.weight)
        self.bias = nn.Parameter(torch.zeros(outputs), requires_grad=False) if fitted else None
        self.weights.requires_grad_(not fitted)
        self.register_buffer("apart", torch.zeros(0, outputs), persistent=False)

    def out_of_fold(self, batch: SampleBatch) -> Tensor:
        """Return ``[B, O]`` of training samples, of which fitted weights know too much.

        What such weights leave of the samples they were fitted to is less than, and other than, what they leave of new
        ones. A network that learns what they leave therefore has to see what weights say that never saw the sample, as
        in stacking (Wolpert, 1992).
        """
        return self.apart[batch.rows] if len(self.apart) else self(batch)

    def forward(self, batch: SampleBatch) -> Tensor:
        """Return ``[B, O]``, zero at first; sums that are learned are divided by the root of their number of ASVs."""
        places, logs = self.read(batch)
        if self.bias is None:
            logs = logs / (batch.asvs >= 0).sum(1, keepdim=True).clamp(min=1).sqrt()
        summed: Tensor = (logs[..., None] * self.weights(places)).sum(1)
        return summed if self.bias is None else summed + self.bias

    def read(self, batch: SampleBatch) -> tuple[Tensor, Tensor]:
        """Return the places of ASVs and the logarithms of their shares, ``[B, S]`` each, 0 where there is none."""
        there = batch.asvs >= 0
        places = torch.where(there, self.places(batch.sequences)[batch.asvs.clamp(min=0)], 0)
        shares = batch.counts / batch.counts.sum(1, keepdim=True).clamp(min=1)
        rarest = RAREST_SHARE if self.bias is None else RAREST_SHARE_FITTED
        return places, torch.where(there, (shares / rarest).log1p(), 0.0)

    @torch.no_grad()
    def take(self, places: Tensor, weights: Tensor, bias: Tensor, apart: Tensor | None = None) -> None:
        """Take over what was fitted: ``weights`` ``[P, O]`` of ``places`` ``[P]``, ``bias`` ``[O]`` and ``apart``."""
        self.weights.weight[places] = weights
        if self.bias is not None:
            self.bias.copy_(bias)
        if apart is not None:
            self.apart = apart

    def places(self, sequences: Tensor) -> Tensor:
        """Hash sequences ``[U, L]`` to numbers ``[U]`` below :data:`N_PLACES`; padding changes nothing."""
        sums = (sequences * self.factors[: sequences.shape[1]]).sum(1)  # overflows, as is meant
        return (sums >> 32).remainder(N_PLACES)
