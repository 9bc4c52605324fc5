"""Scaling of numbers: fitted once on the training rows, stored as plain floats."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from sklearn.preprocessing import StandardScaler

LARGEST = 1e150
"""Numbers beyond this cannot be scaled: their squares overflow float64."""

Float64 = npt.NDArray[np.float64]


class ZScore(NamedTuple):
    """Mean and standard deviation of a column (population, ddof 0), in the column's own unit.

    A column without spread has ``std`` 1, so that it maps to zeros.
    """

    mean: float
    std: float

    @classmethod
    def fit(cls, values: Float64) -> ZScore:
        """Measure the values that are not NaN.

        Parameters
        ----------
        values : ndarray of float64 [N]
            At least one of them must be a number, and none beyond :data:`LARGEST`.

        Returns
        -------
        ZScore
            The statistics.
        """
        known = values[~np.isnan(values)]
        scaler = StandardScaler().fit(known.reshape(-1, 1))
        return cls(mean=float(scaler.mean_[0]), std=float(scaler.scale_[0]))

    def apply(self, values: Float64, *, clip: float) -> Float64:
        """Scale, clip, and put missing values at the mean.

        Parameters
        ----------
        values : ndarray of float64 [N]
            In the column's unit; NaN is missing.
        clip : float
            Largest absolute z-score.

        Returns
        -------
        ndarray of float64 [N]
            In standard deviations, within [-clip, clip]; 0 where missing.
        """
        return np.nan_to_num(np.clip((values - self.mean) / self.std, -clip, clip), nan=0.0)
