"""Sequences of samples in one piece, whatever batches they come in."""

from __future__ import annotations

import numpy as np
from hand_made_samples import a_batch, in_batches

from tabstar_lit.families.microbes.starts.gathered import gather


def test_the_sequences_of_the_asked_samples_are_gathered() -> None:
    batch, rows = a_batch(12, n_asvs=20), np.array([1, 4, 5, 11])
    whole = gather(in_batches(batch, 5), rows)
    assert len(np.unique(whole.sequences, axis=0)) == len(whole.sequences)
    assert whole.presence.any(axis=0).all()
    for row, own in zip(rows, whole.presence, strict=True):
        expected = batch.sequences[batch.asvs[row][batch.asvs[row] >= 0]]
        found = np.pad(whole.sequences[own], ((0, 0), (0, expected.shape[1] - whole.sequences.shape[1])))
        np.testing.assert_array_equal(found, np.unique(expected, axis=0))
