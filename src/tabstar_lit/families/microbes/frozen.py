"""What a frozen encoder says of the samples of a study, computed once."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from tabstar_lit.families.microbes.networks.sequence_predictor import Read, SequencePredictor
from tabstar_lit.families.microbes.study.batch import SampleBatch


class FrozenReads:
    """What is read of every sample, made when it is first asked for, and kept where the network is.

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
        self._kept: Read | None = None
        self._starts = torch.zeros(0, dtype=torch.int64)

    def of(self, batch: SampleBatch) -> Read:
        """Return what is read of a batch; zero where there is no ASV."""
        if self._kept is None:
            self._kept, self._starts = self._made(batch.asvs.device)
        mask, kept = batch.asvs >= 0, self._kept
        places = self._starts[batch.rows][:, None] + torch.arange(mask.shape[1], device=mask.device)
        places = torch.where(mask, places, 0)
        return Read(
            None if kept.states is None else torch.where(mask[..., None], kept.states[places], 0.0),
            None if kept.vector is None else kept.vector[batch.rows],
            None if kept.weights is None else torch.where(mask, kept.weights[places], 0.0),
        )

    @torch.no_grad()
    def _made(self, device: torch.device) -> tuple[Read, Tensor]:
        """Return what is read of all samples: of ASVs one after the other, and where those of each row begin."""
        self._network.base.eval()
        reads, rows, lengths = [], [], []
        for batch in self._samples():
            mask, read = batch.asvs >= 0, self._network.read(batch.to(device))
            rows.append(batch.rows)
            lengths.append(mask.sum(1))
            there = mask.to(device)
            states, weights = (None if own is None else own[there] for own in (read.states, read.weights))
            reads.append(Read(states, read.vector, weights))
        numbers, sizes = torch.cat(rows), torch.cat(lengths)
        starts = torch.zeros(int(numbers.max()) + 1, dtype=torch.int64)
        starts[numbers] = sizes.cumsum(0) - sizes
        vector = _joined([own.vector for own in reads])
        if vector is not None:  # by row of the study, as they are asked for
            vector = vector.new_zeros(len(starts), vector.shape[1]).index_copy(0, numbers.to(device), vector)
        states, weights = (_joined([own[place] for own in reads]) for place in (0, 2))
        return Read(states, vector, weights), starts.to(device)


def _joined(parts: list[Tensor | None]) -> Tensor | None:
    known = [own for own in parts if own is not None]
    return torch.cat(known) if known else None
