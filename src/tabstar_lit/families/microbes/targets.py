"""Scales on which numeric targets are learned: fitted on training samples, undone wherever values are shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from tabstar_lit.arrays import Float64, Int64
from tabstar_lit.errors import DataError
from tabstar_lit.families.microbes.training_config import Transform

FEWEST = 2
"""Known values that a category needs for a mean and a spread of its own; others use those of all samples."""


class TargetTransform(nn.Module):
    """``(f(y) - shift) / scale`` with ``f`` the identity or ``ln(1 + y)``.

    Parameters
    ----------
    kind : str
        Name of the transform, see ``training_config.target_transform``.
    shift, scale : Tensor
        ``[G, K]`` of ``G`` categories, or of all samples where ``G`` is 1, and ``K`` targets; float32.
    """

    shift: Tensor
    scale: Tensor

    def __init__(self, kind: Transform, shift: Tensor, scale: Tensor) -> None:
        super().__init__()
        self.kind: Transform = kind
        self.register_buffer("shift", shift, persistent=False)
        self.register_buffer("scale", scale, persistent=False)

    @classmethod
    def fit(
        cls,
        kind: Transform,
        values: Float64,
        codes: Int64 | None = None,
        *,
        names: Sequence[str] = (),
        n_codes: int = 0,
    ) -> TargetTransform:
        """Measure training samples.

        Parameters
        ----------
        kind : str
            Name of the transform.
        values : ndarray of float64
            ``[N, K]`` on the target's own scale; NaN is missing.
        codes : ndarray of int64 or None
            ``[N]`` categories of the samples, for ``category_z_score``; 0 is none that is known.
        names : sequence of str
            Of the targets, for messages.
        n_codes : int
            Known categories; code 0 comes on top.

        Raises
        ------
        DataError
            A target has no known value, or a logarithm is asked of one of -1 or less.
        """
        if kind.startswith("log"):
            values = _logarithm(values, names)
        for column, name in enumerate(names):
            if np.isnan(values[:, column]).all():
                raise DataError(
                    f"target '{name}' is missing in all training samples. Choose another target, or another split."
                )
        if kind == "none":
            shift, scale = np.zeros((1, values.shape[1])), np.ones((1, values.shape[1]))
        elif kind.endswith("min_max"):
            low = np.nanmin(values, axis=0, keepdims=True)
            shift, scale = low, np.nanmax(values, axis=0, keepdims=True) - low
        elif kind == "category_z_score" and codes is not None:
            shift, scale = _by_category(values, codes, n_codes)
        else:
            shift, scale = _mean_and_spread(values)
        return cls(kind, *(torch.from_numpy(own).float() for own in (shift, np.where(scale > 0, scale, 1.0))))

    def forward(self, values: Tensor, codes: Tensor | None = None) -> Tensor:
        """Transform ``[B, K]`` of samples with categories ``codes`` ``[B]``; NaN stays NaN."""
        shift, scale = self._of(codes)
        plain = values.log1p() if self.kind.startswith("log") else values
        return (plain - shift) / scale

    def invert(self, values: Tensor, codes: Tensor | None = None) -> Tensor:
        """Return transformed values ``[B, K]``, or quantiles ``[B, K, Q]``, to the target's own scale."""
        shift, scale = self._of(codes)
        if values.ndim == 3:
            shift, scale = shift[..., None], scale[..., None]
        plain = values.float() * scale + shift
        return plain.expm1() if self.kind.startswith("log") else plain

    def to_plain(self) -> dict[str, Any]:
        """Return what a checkpoint keeps."""
        return {"kind": self.kind, "shift": self.shift.tolist(), "scale": self.scale.tolist()}

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> TargetTransform:
        """Return the transform that a checkpoint kept."""
        shift, scale = (torch.tensor(plain[name], dtype=torch.float32) for name in ("shift", "scale"))
        return cls(plain["kind"], shift, scale)

    def _of(self, codes: Tensor | None) -> tuple[Tensor, Tensor]:
        if len(self.shift) == 1 or codes is None:
            return self.shift[:1], self.scale[:1]
        return self.shift[codes], self.scale[codes]


def _logarithm(values: Float64, names: Sequence[str]) -> Float64:
    lowest = np.nanmin(values, axis=0, initial=0.0)
    for name, low in zip(names, lowest, strict=True):
        if low <= -1:
            raise DataError(
                f"target '{name}' goes down to {low:g}, and ln(1 + y) needs values above -1. Set "
                "training_config.target_transform to z_score."
            )
    return np.asarray(np.log1p(values))


def _mean_and_spread(values: Float64) -> tuple[Float64, Float64]:
    return np.nanmean(values, axis=0, keepdims=True), np.nanstd(values, axis=0, keepdims=True)


def _by_category(values: Float64, codes: Int64, n_codes: int) -> tuple[Float64, Float64]:
    """Return mean and spread of each category; of one with too few known values, or without spread, those of all."""
    shift, scale = (np.repeat(own, n_codes + 1, axis=0) for own in _mean_and_spread(values))
    for code in range(1, n_codes + 1):
        own = values[codes == code]
        for column in np.flatnonzero((~np.isnan(own)).sum(axis=0) >= FEWEST):
            spread = np.nanstd(own[:, column])
            if spread > 0:
                shift[code, column], scale[code, column] = np.nanmean(own[:, column]), spread
    return shift, scale
