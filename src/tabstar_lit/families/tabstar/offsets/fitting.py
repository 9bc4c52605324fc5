"""Offsets of the rows of a table, fitted by cross-fitting, as in stacking (Wolpert, 1992).

A model is nearer to the target of a row that it was fitted to than to that of a new row, so a network that learned
what it leaves would learn too little, and other things. So the offset of a training row is that of a model which has
not seen it; new rows and those held out have that of the model of all training rows. Out-of-fold predictions also
choose how many trees count, and how far offsets lie from their mean: never farther than the model says.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol, Self

import numpy as np

from tabstar_lit.arrays import Float32, Float64, Int64, UInt64
from tabstar_lit.families.tabstar.config import TargetOffset
from tabstar_lit.families.tabstar.offsets.additive import AdditiveOffset
from tabstar_lit.families.tabstar.offsets.cells import encoded_rows
from tabstar_lit.families.tabstar.offsets.trees import TreesOffset
from tabstar_lit.families.tabstar.tables.corpus import Table
from tabstar_lit.families.tabstar.tables.preprocessing import Encoded

OFFSET, KIND = "offset", "kind"
"""What the schema of a target calls it, and in there its kind: without one, an additive model."""

FOLDS = 5


class Offset(Protocol):
    """A model of a regression target, on the scale that is learned; see :class:`TreesOffset`."""

    @classmethod
    def fit(cls, table: Table, features: Int64, rows: Int64) -> Self:
        """Fit rows of a table."""

    def of(self, encoded: Encoded, names: Sequence[str]) -> Float64:
        """Return the offsets of rows, ``[N]``."""

    def stages(self, encoded: Encoded, names: Sequence[str]) -> Float64:
        """Return the offsets of rows by smaller models and, last, this one: ``[S, N]``."""

    def shrunk(self, stage: int, slope: float, center: float) -> Self:
        """Return the model of a stage, its offsets ``slope`` times as far from ``center``."""

    def to_plain(self) -> dict[str, Any]:
        """Return it as plain data for JSON."""

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Self:
        """Rebuild it from the data of :meth:`to_plain`."""


KINDS: Mapping[TargetOffset, type[Offset]] = {"additive": AdditiveOffset, "trees": TreesOffset}


def offset_from(plain: Mapping[str, Any]) -> Offset:
    """Rebuild an offset from what a target's schema keeps of it."""
    own = {name: value for name, value in plain.items() if name != KIND}
    return KINDS[plain.get(KIND, "additive")].from_plain(own)


def less_offsets(table: Table, features: Int64, kind: TargetOffset) -> tuple[Table, Float32]:
    """Return a regression table with its targets less what the columns in use say of them, and that, ``[N]``.

    Its schema then tells how the offsets of new rows are found. A table of fewer than :data:`FOLDS` different training
    rows that count starts from nothing.
    """
    weights = np.ones(len(table)) if table.weights is None else table.weights.astype(np.float64)
    is_seen = ~table.is_validation & (weights > 0)
    train, others = np.flatnonzero(is_seen), np.flatnonzero(~is_seen)
    parts = folds(table.row_ids[train])
    if parts.max(initial=0) < FOLDS - 1:
        return table, np.zeros(len(table), dtype=np.float32)
    targets, weights = table.targets[train].astype(np.float64), weights[train]
    unseen = out_of_fold(KINDS[kind], table, features, train, parts)
    whole = KINDS[kind].fit(table, features, train)
    stage = int(np.argmin([weights @ np.square(own - targets) for own in unseen]))
    slope, center = shrinkage(unseen[stage], targets, weights)
    model = whole.shrunk(stage, slope, center)
    offsets = np.empty(len(table), dtype=np.float32)
    offsets[train] = center + slope * (unseen[stage] - center)
    names = [table.feature_names[place] for place in features]
    offsets[others] = model.of(encoded_rows(table, others, features), names)
    schema = table.schema | {"target": table.schema["target"] | {OFFSET: {KIND: kind, **model.to_plain()}}}
    return replace(table, targets=table.targets - offsets, schema=schema), offsets


def folds(row_ids: UInt64) -> Int64:
    """Return the fold of each row: a function of the contents of all rows, and equal rows are in one."""
    _, ranks = np.unique(row_ids, return_inverse=True)
    return np.asarray(ranks % FOLDS, dtype=np.int64)


def out_of_fold(kind: type[Offset], table: Table, features: Int64, rows: Int64, parts: Int64) -> Float64:
    """Return the offsets of rows by models of the other parts, ``[S, N]``."""
    names = [table.feature_names[place] for place in features]
    found = list[Float64]()
    for part in range(FOLDS):
        model = kind.fit(table, features, rows[parts != part])
        found.append(model.stages(encoded_rows(table, rows[parts == part], features), names))
    stages = np.empty((min(map(len, found)), len(rows)))
    for part, own in enumerate(found):
        stages[:, parts == part] = own[: len(stages)]
    return stages


def shrinkage(unseen: Float64, targets: Float64, weights: Float64) -> tuple[float, float]:
    """Return the slope of targets over out-of-fold predictions, within [0, 1], and the mean of targets."""
    center = float(np.average(targets, weights=weights))
    away = unseen - np.average(unseen, weights=weights)
    spread = float(weights @ np.square(away))
    return (float(np.clip(weights @ (away * targets) / spread, 0, 1)) if spread else 0.0), center
