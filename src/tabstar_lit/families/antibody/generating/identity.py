"""How near generated antibodies are to those of the training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from rapidfuzz.distance import Levenshtein
from rapidfuzz.process import cdist

from tabstar_lit.arrays import Float32, Int64
from tabstar_lit.data.plans import cut

BLOCK = 256
"""Antibodies that are compared with all of the training at a time."""


class Nearest(NamedTuple):
    """The most similar antibody of the training for each of ``N``.

    Attributes
    ----------
    rows : NDArray of int64
        ``[N]`` its place.
    identity : NDArray of float32
        ``[N]`` ``1 - d / L``: the edit distance over the length of the longer of both.
    """

    rows: Int64
    identity: Float32


def nearest(antibodies: Sequence[str], known: Sequence[str]) -> Nearest:
    """Compare each antibody with all known ones, of which there must be one; of equally near ones the first counts."""
    rows, identity = [], []
    for part in cut(np.arange(len(antibodies)), BLOCK):
        similar = cdist(
            [antibodies[row] for row in part], known, scorer=Levenshtein.normalized_similarity, dtype=np.float32
        )
        rows.append(similar.argmax(1))
        identity.append(similar.max(1))
    return Nearest(np.concatenate([np.zeros(0, np.int64), *rows]), np.concatenate([np.zeros(0, np.float32), *identity]))
