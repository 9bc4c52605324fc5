"""A regression table whose target is a sum over its columns and a little noise: a bend, gaps, colors."""

from __future__ import annotations

import numpy as np
import pandas as pd

from tabstar_lit.arrays import Float64, Int64
from tabstar_lit.data.splits import row_ids
from tabstar_lit.families.tabstar.offsets.cells import encoded_rows
from tabstar_lit.families.tabstar.offsets.fitting import Offset
from tabstar_lit.families.tabstar.tables.corpus import Table
from tabstar_lit.families.tabstar.tables.encoding import Settings, encode_table
from tabstar_lit.families.tabstar.tables.files import RawTable
from tabstar_lit.families.tabstar.tables.manifest import TableEntry

ROWS = 1200
EFFECTS = {"red": -2.0, "green": 0.0, "blue": 3.0, "rare": 9.0}


def rows(seed: int = 0, count: int = ROWS) -> pd.DataFrame:
    """Draw rows; three have a rare color."""
    rng = np.random.default_rng(seed)
    x, gap, z = rng.uniform(-2, 2, count), rng.uniform(-1, 1, count), rng.normal(size=count)
    color = rng.choice(["red", "green", "blue"], count)
    color[:3] = "rare"
    gap[rng.random(count) < 0.2] = np.nan
    effects = pd.Series(color).map(EFFECTS).to_numpy()
    y = np.abs(x) * 4 + np.where(np.isnan(gap), 5, gap) + effects + 0.1 * rng.normal(size=count)
    return pd.DataFrame({"color": color, "gap": gap, "x": x, "z": z, "y": y})


def table(frame: pd.DataFrame | None = None) -> Table:
    """Encode rows as a corpus has them."""
    frame = rows() if frame is None else frame
    entry = TableEntry.model_validate({"name": "toy", "file": "toy.csv", "target": "y", "task": "regression"})
    return encode_table(entry, RawTable(frame, row_ids(frame)), Settings())


def everything(own: Table) -> Int64:
    """Return all columns."""
    return np.arange(len(own.feature_names))


def training(own: Table) -> Int64:
    """Return the training rows."""
    return np.flatnonzero(~own.is_validation)


def sums(fitted: Offset, own: Table) -> Float64:
    """Return the offsets of all rows."""
    return fitted.of(encoded_rows(own, np.arange(len(own)), everything(own)), own.feature_names)
