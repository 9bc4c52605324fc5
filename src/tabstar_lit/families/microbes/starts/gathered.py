"""The sequences of training samples in one piece."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from tabstar_lit.arrays import Bool, Int64
from tabstar_lit.families.microbes.study.batch import PAD, SampleBatch


class Gathered(NamedTuple):
    """``U`` different sequences ``[U, L]``, PAD after their end, and which of ``N`` samples have them, ``[N, U]``."""

    sequences: Int64
    presence: Bool


def gather(batches: Iterable[SampleBatch], rows: Int64) -> Gathered:
    """Gather the sequences of the samples of ``rows`` ``[N]``, ascending, from batches of all samples of the study."""
    parts, samples = [], []
    for batch in batches:
        asvs = batch.asvs.numpy()
        wanted = np.isin(batch.rows.numpy(), rows)[:, None] & (asvs >= 0)
        parts.append(batch.sequences.numpy()[asvs[wanted]])
        samples.append(batch.rows.numpy()[np.nonzero(wanted)[0]])
    sequences, columns = np.unique(_padded(parts), axis=0, return_inverse=True)
    presence = np.zeros((len(rows), len(sequences)), dtype=bool)
    presence[np.searchsorted(rows, np.concatenate(samples)), columns.ravel()] = True
    return Gathered(sequences, presence)


def _padded(parts: list[Int64]) -> Int64:
    """Join sequences ``[n, L]`` of different lengths ``L``."""
    longest = max(own.shape[1] for own in parts)
    return np.concatenate([np.pad(own, ((0, 0), (0, longest - own.shape[1])), constant_values=PAD) for own in parts])
