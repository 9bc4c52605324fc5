"""An epoch of the microbes encoder: each sequence once and no needless padding, against both as AAM has them.

There, every sample is padded to 1,024 ASVs, and a sequence is read once for each sample of the batch that has it. Both
ways are the same network on the same samples and give the same embeddings, which is checked first.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import nn
from torch.nn import functional

from tabstar_lit.families.microbes.architecture import MicrobesArchitecture
from tabstar_lit.families.microbes.build import build_network
from tabstar_lit.families.microbes.config import MicrobesDataset
from tabstar_lit.families.microbes.study.batch import NO_ASV, SampleBatch
from tabstar_lit.families.microbes.study.data import MicrobesData
from tabstar_lit.families.microbes.study.generated import generate
from tabstar_lit.families.microbes.study.study import Study

SLOTS = 1024
TOLERANCE = 1e-5
ARCHITECTURE = MicrobesArchitecture(embedding_dim=64, asv_layers=1, sample_layers=1, encoder_layers=1, dropout=0.0)


def padded(batch: SampleBatch, slots: int = SLOTS) -> SampleBatch:
    """Return the same samples with a sequence for each ASV of each sample, and as many slots in each."""
    there = batch.asvs >= 0
    own = torch.where(there, (there.flatten().cumsum(0) - 1).view_as(there), NO_ASV)
    room = slots - there.shape[1]
    return replace(
        batch,
        sequences=batch.sequences[batch.asvs[there]],
        asvs=functional.pad(own, (0, room), value=NO_ASV),
        counts=functional.pad(batch.counts, (0, room)),
    )


def epoch_vs_padded(study: Study | None = None, *, batches: int = 4) -> float:
    """Return how many times longer training steps take on padded samples than on trimmed ones.

    Parameters
    ----------
    study : Study or None
        Its samples; None: the generated study.
    batches : int
        Steps of each kind; they take turns, so that both meet the same machine.
    """
    data = MicrobesData(MicrobesDataset(name="bench"), study or generate(), seed=0)
    network = build_network("encoder", ARCHITECTURE, data.facts)
    own = [data.train_dataset()[key] for key in data.train_plan().batches(0)[: batches + 1]]
    pairs = [(batch, padded(batch)) for batch in own]
    _require_equal(network, *pairs[0])
    times = [[_step_s(network, batch) for batch in pair] for pair in pairs][1:]
    trimmed, other = (sum(step) for step in zip(*times, strict=True))
    return other / trimmed


def figures() -> dict[str, float]:
    """Return the ratio by name."""
    return {"microbes.epoch_vs_padded": epoch_vs_padded()}


def _require_equal(network: nn.Module, one: SampleBatch, two: SampleBatch) -> None:
    network.eval()
    with torch.no_grad():
        worst = float((network(one).embedding - network(two).embedding).abs().max())
    network.train()
    if worst > TOLERANCE:
        raise AssertionError(f"padding changes an embedding by {worst:.2g}, and at most {TOLERANCE:.0e} is allowed")


def _step_s(network: nn.Module, batch: SampleBatch) -> float:
    start = time.perf_counter()
    network(batch).embedding.square().sum().backward()
    network.zero_grad()
    return time.perf_counter() - start


def main(names: Sequence[str] = ()) -> None:
    """Print ``BENCH name=value``."""
    for name, value in figures().items():
        print(f"BENCH {name}={value:.4g}")


if __name__ == "__main__":
    main()
