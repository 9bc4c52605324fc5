"""Scales on which regression targets are learned: fitted on training rows, undone wherever values are shown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tabstar_lit.arrays import Array, Float32, Float64
from tabstar_lit.data.scalers import ColumnScaler, ZScore
from tabstar_lit.errors import DataError
from tabstar_lit.families.tabstar.config import TargetTransform
from tabstar_lit.families.tabstar.tables.corpus import Table

KINDS: dict[TargetTransform, dict[str, Any]] = {"log": {}, "quantile": {"output_distribution": "normal"}}
"""Arguments of the scalers behind the transforms; z-scores need none, as a corpus holds them."""


@dataclass(frozen=True)
class TargetScale:
    """From z-scores, as a corpus holds them, to what is learned, and from there to the target's own unit.

    Attributes
    ----------
    unit : ZScore
        Mean and standard deviation of the training rows.
    scaler : ColumnScaler or None
        Of values in the target's unit; None: z-scores are learned.
    ends : tuple of float
        Least and greatest training value. Beyond them a quantile knows nothing: the scale goes on in a straight line.
    """

    unit: ZScore
    scaler: ColumnScaler | None = None
    ends: tuple[float, float] = (-np.inf, np.inf)

    @classmethod
    def fit(cls, kind: TargetTransform, table: Table) -> TargetScale:
        """Measure the training rows of a regression table.

        Raises
        ------
        DataError
            A logarithm is asked of a target of -1 or less.
        """
        unit = ZScore(table.target_mean, table.target_std)
        if kind == "z_score":
            return cls(unit)
        values = table.targets.astype(np.float64) * unit.std + unit.mean
        if kind == "log" and values.min() <= -1:
            raise DataError(
                f"table '{table.name}': its target goes down to {values.min():g}, and ln(1 + y) needs values above -1. "
                "Set dataset_config.target_transform to z_score or quantile."
            )
        own = values[~table.is_validation]
        ends = (float(own.min()), float(own.max())) if kind == "quantile" else cls.ends
        return cls(unit, ColumnScaler(kind, KINDS[kind]).fit(own), ends)

    def learned(self, z_scores: Float32) -> Float32:
        """Return what is learned of targets ``[N]``."""
        if self.scaler is None:
            return z_scores
        values = z_scores.astype(np.float64) * self.unit.std + self.unit.mean
        inside = np.clip(values, *self.ends)
        scaled: Float32 = (self.scaler.transform(inside) + (values - inside) / self.unit.std).astype(np.float32)
        return scaled

    def values(self, learned: Array) -> Float64:
        """Return values ``[N]`` on the scale that is learned in the target's unit."""
        own = learned.astype(np.float64)
        if self.scaler is None:
            return np.asarray(own * self.unit.std + self.unit.mean)
        low, high = self.scaler.transform(np.array(self.ends)) if np.isfinite(self.ends[0]) else self.ends
        inside = np.clip(own, low, high)
        return np.asarray(self.scaler.inverse(inside) + (own - inside) * self.unit.std)

    def to_schema(self) -> dict[str, Any]:
        """Return it as plain data for JSON: the part of a target's schema that :meth:`from_schema` needs."""
        if self.scaler is None:
            return self.unit._asdict()
        plain = self.scaler.to_plain()
        learned = [{key: np.asarray(own).tolist() for key, own in step.items()} for step in plain["learned"]]
        return self.unit._asdict() | {"transform": plain | {"learned": learned}, "ends": list(self.ends)}

    @classmethod
    def from_schema(cls, target: Mapping[str, Any]) -> TargetScale:
        """Rebuild it from a target's schema; older ones know z-scores only."""
        unit, plain = ZScore(target["mean"], target["std"]), target.get("transform")
        if plain is None:
            return cls(unit)
        low, high = target["ends"]
        return cls(unit, ColumnScaler.from_plain(plain), (low, high))


def on_learned_scale(table: Table, transform: TargetTransform) -> Table:
    """Return a regression table with its targets as they are learned, and how to undo that in its schema."""
    scale = TargetScale.fit(transform, table)
    schema = table.schema | {"target": table.schema["target"] | scale.to_schema()}
    return replace(table, targets=scale.learned(table.targets), schema=schema)
