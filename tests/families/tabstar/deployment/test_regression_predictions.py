"""Numbers are predicted in the target's own unit, whatever scale and head they were learned with."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import r2_score
from trained_tables import Bench, train

import tabstar_lit
from tabstar_lit.families.tabstar.tables.corpus import Corpus


@pytest.mark.parametrize(
    ("transform", "head", "numbers", "offset"),
    [
        ("log", "both", "six", "null"),
        ("quantile", "binned", "bins", "additive"),
        ("z_score", "scalar", "six", "additive"),
        ("log", "scalar", "bins", "trees"),
    ],
)
def test_the_score_of_a_training_is_that_of_its_predictions(
    bench: Bench, tmp_path: Path, transform: str, head: str, numbers: str, offset: str
) -> None:
    architecture = "model_config.architecture_config"
    _, checkpoint = train(
        tmp_path, bench.corpus, "dataset_config.tables=[diabetes]", f"dataset_config.target_transform={transform}",
        f"{architecture}.regression_head={head}", f"{architecture}.numbers={numbers}",
        f"dataset_config.target_offset={offset}",
    )  # fmt: skip
    raw, held_out = bench.raw["diabetes"], Corpus.open(bench.corpus).load("diabetes").is_validation
    model = tabstar_lit.load(checkpoint)
    target = model.config["tables"]["diabetes"]["target"]["name"]
    predicted = model.predict(raw)["prediction"]
    # Targets are from 25 to 346, their logarithms and z-scores below 6; what a network adds to trees has no end there.
    low, high = (12, 692) if offset == "trees" else (25, 346)
    assert predicted.between(low, high).all(), "the unit of the target"
    assert predicted.nunique() > 100
    expected = r2_score(raw[target][held_out], predicted[held_out])
    (metrics,) = tmp_path.rglob("metrics.jsonl")
    scores = [line["val_score"] for line in map(json.loads, metrics.read_text().splitlines()) if "val_score" in line]
    assert scores[-1] == pytest.approx(expected, abs=1e-4)
    alone = [model.predict(raw[i : i + 1])["prediction"][i] for i in range(5)]
    np.testing.assert_allclose(alone, predicted[:5], rtol=1e-5)
    np.testing.assert_allclose(model.predict(raw, batch_size=7)["prediction"], predicted, rtol=1e-5)
