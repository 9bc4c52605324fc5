"""Scales of regression targets: scikit-learn's, undone exactly, kept as plain data."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from sklearn.preprocessing import QuantileTransformer

from tabstar_lit.data.splits import row_ids
from tabstar_lit.errors import DataError
from tabstar_lit.families.tabstar.config import TargetTransform
from tabstar_lit.families.tabstar.tables.corpus import Table
from tabstar_lit.families.tabstar.tables.encoding import Settings, encode_table
from tabstar_lit.families.tabstar.tables.files import RawTable
from tabstar_lit.families.tabstar.tables.manifest import TableEntry
from tabstar_lit.families.tabstar.targets import TargetScale

VALUES = np.exp(np.random.default_rng(3).normal(3, 1.5, 500))


def table(values: np.ndarray = VALUES) -> Table:
    frame = pd.DataFrame({"x": np.arange(float(len(values))), "y": values})
    entry = TableEntry.model_validate({"name": "toy", "file": "toy.csv", "target": "y", "task": "regression"})
    return encode_table(entry, RawTable(frame, row_ids(frame)), Settings())


@pytest.mark.parametrize("kind", ["z_score", "log", "quantile"])
def test_a_scale_is_undone_on_every_row_also_out_of_a_checkpoint(kind: TargetTransform) -> None:
    own = table()
    fitted = TargetScale.fit(kind, own)
    restored = TargetScale.from_schema(json.loads(json.dumps(fitted.to_schema())))
    learned = fitted.learned(own.targets)
    assert learned.dtype == np.float32
    # A quantile of the normal distribution far out is steep: single precision costs digits there.
    np.testing.assert_allclose(restored.values(learned), VALUES, rtol=2e-4 if kind == "quantile" else 2e-5)
    np.testing.assert_array_equal(restored.learned(own.targets), learned)


def test_they_are_fitted_on_training_rows() -> None:
    own = table()
    train = VALUES[~own.is_validation]
    logs = (np.log1p(VALUES) - np.log1p(train).mean()) / np.log1p(train).std()
    np.testing.assert_allclose(TargetScale.fit("log", own).learned(own.targets), logs, atol=1e-4)
    other = QuantileTransformer(n_quantiles=len(train), output_distribution="normal").fit(train[:, None])
    expected = other.transform(np.clip(VALUES, train.min(), train.max())[:, None]).ravel()
    inside = (train.min() <= VALUES) & (train.max() >= VALUES)
    np.testing.assert_allclose(
        TargetScale.fit("quantile", own).learned(own.targets)[inside], expected[inside], atol=1e-3
    )
    np.testing.assert_array_equal(TargetScale.fit("z_score", own).learned(own.targets), own.targets)


def test_beyond_the_training_rows_quantiles_go_on_in_a_straight_line() -> None:
    scale = TargetScale.fit("quantile", table())
    low, high = scale.ends
    further = np.array([low - 2 * scale.unit.std, low, high, high + 3 * scale.unit.std])
    learned = scale.learned(scale.unit.apply(further).astype(np.float32))
    assert learned[1] - learned[0] == pytest.approx(2, rel=1e-3)
    assert learned[3] - learned[2] == pytest.approx(3, rel=1e-3)
    np.testing.assert_allclose(scale.values(learned), further, rtol=1e-4)


def test_a_logarithm_of_negative_targets_is_refused() -> None:
    with pytest.raises(DataError, match=r"'toy': its target goes down to -[0-9.]+, and ln\(1 \+ y\).*target_transform"):
        TargetScale.fit("log", table(VALUES - 60))


def test_targets_of_older_checkpoints_are_z_scores() -> None:
    scale = TargetScale.from_schema({"name": "y", "classes": [], "mean": 10.0, "std": 2.0})
    assert scale.values(np.array([-1.0, 0.5])).tolist() == [8.0, 11.0]
