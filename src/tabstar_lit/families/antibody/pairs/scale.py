"""How measured affinities become numbers of the order of one."""

from __future__ import annotations

from typing import NamedTuple, Self

import numpy as np

from tabstar_lit.arrays import Float32


class PkdScale(NamedTuple):
    """The standardisation of pKd: a network is given ``(pkd - mean) / std``.

    Attributes
    ----------
    mean, std : float
        Of the pKd of training pairs.
    """

    mean: float = 0.0
    std: float = 1.0

    @classmethod
    def fit(cls, pkd: Float32) -> Self:
        """Return the scale of those of ``[N]`` that are known; 0 and 1 where none is, and 1 where all are equal."""
        known = np.asarray(pkd, dtype=np.float64)
        known = known[np.isfinite(known)]
        if not len(known):
            return cls()
        return cls(float(known.mean()), float(known.std()) or 1.0)
