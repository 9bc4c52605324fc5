"""What a frozen encoder says of the samples of a study, computed once."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from tabstar_lit.families.microbes.networks.sequence_predictor import SequencePredictor
from tabstar_lit.families.microbes.study.batch import SampleBatch


class FrozenStates:
    """States of the ASVs of every sample, made when they are first asked for, and kept where the network is.

    All samples pass in one fixed order, whatever batches they are trained in, so that a resumed run reads the same
    numbers as one that was never stopped.

    Parameters
    ----------
    network : SequencePredictor
        Its encoder is asked.
    samples : callable
        Gives every sample; the ASVs of a sample stand in the same order as in training.
    """

    def __init__(self, network: SequencePredictor, samples: Callable[[], Iterable[SampleBatch]]) -> None:
        self._network, self._samples = network, samples
        self._states: Tensor | None = None
        self._starts = torch.zeros(0, dtype=torch.int64)

    def of(self, batch: SampleBatch) -> Tensor:
        """Return the states ``[B, S, D]`` of a batch; zero where there is no ASV."""
        if self._states is None:
            self._states, self._starts = self._made(batch.asvs.device)
        mask = batch.asvs >= 0
        places = self._starts[batch.rows][:, None] + torch.arange(mask.shape[1], device=mask.device)
        return torch.where(mask[..., None], self._states[torch.where(mask, places, 0)], 0.0)

    @torch.no_grad()
    def _made(self, device: torch.device) -> tuple[Tensor, Tensor]:
        """Return the states of all samples one after the other, and where those of each row begin."""
        self._network.base.eval()
        states, rows, lengths = [], [], []
        for batch in self._samples():
            mask = batch.asvs >= 0
            rows.append(batch.rows)
            lengths.append(mask.sum(1))
            states.append(self._network.states(batch.to(device))[mask.to(device)])
        numbers, sizes = torch.cat(rows), torch.cat(lengths)
        starts = torch.zeros(int(numbers.max()) + 1, dtype=torch.int64)
        starts[numbers] = sizes.cumsum(0) - sizes
        return torch.cat(states), starts.to(device)
