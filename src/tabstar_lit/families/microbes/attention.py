"""Which sequences mattered: how much the pooling of a network looks at each ASV."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from tabstar_lit.families.microbes.study.batch import PAD, START, SampleBatch

LETTERS = "?ACGT"
SHOWN = 20
"""Sequences in the table."""


class Attended(NamedTuple):
    """A sequence and what a network makes of it.

    Attributes
    ----------
    sequence : str
        Its bases; ``?`` where one is not known.
    attention : float
        Mean weight over the samples that have it, in units of that of an ASV as any other.
    samples : int
        How many have it.
    reads : float
        Mean reads in these.
    """

    sequence: str
    attention: float
    samples: int
    reads: float


@torch.no_grad()
def attended(network: nn.Module, batches: Iterable[SampleBatch], fewest: int = 3) -> list[Attended]:
    """Return sequences by falling attention.

    Parameters
    ----------
    network : nn.Module
        From a batch to something with ``weights`` ``[B, S]`` of its ASVs.
    batches : iterable of SampleBatch
        The samples, on the network's device.
    fewest : int
        Samples that a sequence is in at least: of one in a single sample little can be said.
    """
    sums: dict[str, Tensor] = {}
    for batch in batches:
        there = batch.asvs >= 0
        relative = (network(batch).weights * there.sum(1, keepdim=True))[there]
        found = torch.stack([relative, torch.ones_like(relative), batch.counts[there]], dim=1).double()
        own = found.new_zeros(len(batch.sequences), 3).index_add_(0, batch.asvs[there], found).cpu()
        for text, values in zip(_texts(batch.sequences), own, strict=True):
            sums[text] = sums.get(text, 0) + values
    rows = [(text, *values.tolist()) for text, values in sums.items()]
    shown = [Attended(text, weight / n, int(n), reads / n) for text, weight, n, reads in rows if n >= fewest]
    return sorted(shown, key=lambda row: -row.attention)


def attention_table(rows: list[Attended]) -> str:
    """Return the first sequences as a table in Markdown."""
    lines = [
        "Sequences by the weight that the pooling gives them, in units of that of any ASV in the same sample.",
        "",
        "| weight | samples | mean reads | sequence |",
        "|---|---|---|---|",
    ]
    lines += [f"| {row.attention:.2f} | {row.samples} | {row.reads:.1f} | `{row.sequence}` |" for row in rows[:SHOWN]]
    return "\n".join(lines) + "\n"


def _texts(sequences: Tensor) -> list[str]:
    """Return the bases of sequences ``[U, L]``."""
    rows = sequences.cpu().tolist()
    ends = [max((place for place, letter in enumerate(row) if letter != PAD), default=0) + 1 for row in rows]
    return [
        "".join(LETTERS[letter] for letter in row[:end] if letter != START) for row, end in zip(rows, ends, strict=True)
    ]
