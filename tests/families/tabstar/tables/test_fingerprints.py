"""Leaks: a table that a model was trained on is found again however it is turned, and others are not suspected."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from trained_tables import Bench, settings

from tabstar_lit.config import load_experiment
from tabstar_lit.families.tabstar.family import family
from tabstar_lit.families.tabstar.tables.corpus import Corpus
from tabstar_lit.families.tabstar.tables.fingerprints import KEY, fingerprints, leaks, overlap


def people(n: int, seed: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    return pd.DataFrame({
        "Age": rng.integers(18, 80, n), "height": rng.normal(170, 9, n), "word": rng.choice(["a", "b", None], n),
        "name": [f"person {number}" for number in rng.integers(0, 10**9, n)],
    })  # fmt: skip


@pytest.mark.parametrize("n", [300, 5000])
@pytest.mark.parametrize("share", [0.0, 0.05, 0.5, 1.0])
def test_the_share_of_known_rows_is_estimated(n: int, share: float) -> None:
    known = people(4000, 0)
    mine = pd.concat([known[: round(share * n)], people(n - min(len(known), round(share * n)), 1)])
    truth = min(len(known), round(share * n)) / len(mine)
    turned = mine.sample(frac=1, random_state=2)[["name", "word", "height", "Age"]].rename(columns={"Age": "AGE"})
    found = overlap(fingerprints(turned), fingerprints(known))
    assert found.rows == pytest.approx(truth, abs=0.08)
    assert found.is_suspicious == (share > 0)


def test_columns_are_known_by_their_values_under_another_name() -> None:
    known = people(2000, 0)
    mine = known.drop(columns="Age").rename(columns={"height": "cm", "name": "who"})
    found = overlap(fingerprints(mine), fingerprints(known))
    assert (found.rows, found.columns, found.of) == (0.0, ("cm", "who"), 2)
    assert found.is_suspicious
    other = overlap(fingerprints(people(2000, 5)), fingerprints(known))
    assert (other.rows, other.columns) == (0.0, ("age",)), "the ages of people are alike, and no leak"
    assert not other.is_suspicious


def test_whole_numbers_that_became_decimal_are_the_same() -> None:
    frame = people(100, 0)
    assert fingerprints(frame) == fingerprints(frame.astype({"Age": float}))


def test_a_table_of_the_pretraining_is_named_at_the_start_of_a_fine_tuning(
    bench: Bench, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    told = [*settings(tmp_path, bench.corpus), "model_config=tabstar/probe", f"model_config.base={bench.checkpoint}"]
    experiment = load_experiment(family.schema(), command=family.command, overrides=told).experiment
    with caplog.at_level(logging.WARNING):
        family.module(experiment, family.data(experiment, seed=0))
    assert "table 'trips' seems to be known to" in caplog.text
    assert "about 100% of its rows are in its training table 'trips'" in caplog.text


def test_tables_of_an_older_release_are_not_compared(bench: Bench) -> None:
    schemas = {name: dict(Corpus.open(bench.corpus).load(name).schema) for name in ("iris", "trips")}
    assert len([*leaks(schemas, schemas, "it")]) == 2
    old = {name: {key: own for key, own in schema.items() if key != KEY} for name, schema in schemas.items()}
    assert [*leaks(schemas, old, "it")] == []
