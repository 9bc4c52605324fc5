"""A checkpoint alone predicts new rows of its tables: the same as the training's validation, on the target's scale."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from click.testing import CliRunner
from trained_tables import Bench, train

import tabstar_lit
from tabstar_lit.commands.cli import main
from tabstar_lit.errors import CheckpointError, DataError
from tabstar_lit.families.tabstar.deployment.trained import TrainedTabstar
from tabstar_lit.families.tabstar.tables.corpus import Corpus
from tabstar_lit.families.tabstar.tables.files import read_table


@pytest.mark.parametrize("name", ["iris", "trips"])
def test_probabilities_are_those_of_the_training(bench: Bench, model: TrainedTabstar, name: str) -> None:
    table = Corpus.open(bench.corpus).load(name)
    predicted = model.predict(bench.raw[name], table=name)
    assert [*predicted] == ["prediction", *(f"p_{label}" for label in table.classes)]
    logits = torch.from_numpy(bench.predicted[name]).double()
    own = predicted.iloc[np.flatnonzero(table.is_validation), 1:]
    np.testing.assert_allclose(own, logits.softmax(1), atol=1e-5)
    best = np.array(table.classes)[logits.argmax(1)]
    np.testing.assert_array_equal(predicted["prediction"][table.is_validation], best)


def test_values_are_in_the_unit_of_the_target(bench: Bench, model: TrainedTabstar) -> None:
    table = Corpus.open(bench.corpus).load("diabetes")
    predicted = model.predict(bench.raw["diabetes"], table="diabetes")
    expected = bench.predicted["diabetes"][:, 0] * table.target_std + table.target_mean
    np.testing.assert_allclose(predicted["prediction"][table.is_validation], expected, rtol=1e-5)
    assert abs(predicted["prediction"].mean() - bench.raw["diabetes"][table.schema["target"]["name"]].mean()) < 100


def test_rows_may_come_in_any_order_without_target_under_any_index(bench: Bench, model: TrainedTabstar) -> None:
    frame = bench.raw["trips"]
    whole = model.predict(frame, table="trips", batch_size=16)
    some = frame.sample(37, random_state=1).drop(columns=["late", "number"]).assign(more=1)
    again = model.predict(some, table="trips", batch_size=7)
    assert again.index.equals(some.index)
    pd.testing.assert_frame_equal(again, whole.loc[some.index], check_exact=False, rtol=0, atol=1e-6)


def test_files_and_frames_give_the_same(bench: Bench, model: TrainedTabstar, tmp_path: Path) -> None:
    frame = bench.raw["iris"]
    frame.to_csv(tmp_path / "iris.csv", index=False)
    pd.testing.assert_frame_equal(
        model.predict(tmp_path / "iris.csv", table="iris"), model.predict(frame, table="iris")
    )
    done = CliRunner().invoke(
        main,
        ["predict", str(bench.checkpoint), str(tmp_path / "iris.csv"), "--table", "iris", "-o", str(tmp_path / "p")],
    )
    assert done.exit_code == 0, done.output
    assert f"predictions for {len(frame)} rows" in done.stdout
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "p"), model.predict(frame, table="iris"))


def test_a_file_whose_classes_are_numbers_reads_as_in_training(bench: Bench, model: TrainedTabstar) -> None:
    path = bench.corpus.with_name("trips.csv")
    assert read_table(path).frame["late"].dtype == np.int64
    predicted = model.predict(path, table="trips")
    assert set(predicted["prediction"]) <= {"0", "1"}


def test_only_features_in_use_are_needed_and_one_table_needs_no_name(bench: Bench, tmp_path: Path) -> None:
    _, checkpoint = train(tmp_path, bench.corpus, "dataset_config.tables=[trips]", "dataset_config.max_features=2")
    model = tabstar_lit.load(checkpoint)
    features = model.config["tables"]["trips"]["features"]
    assert len(features) == 2
    columns = {"start" if name.startswith("start") else name for name in features}
    predicted = model.predict(bench.raw["trips"][sorted(columns)])
    assert np.isfinite(predicted["p_1"]).all()


@pytest.mark.parametrize(
    ("change", "options", "words"),
    [
        (lambda frame: frame, {}, r"several tables: say which of .*iris"),
        (
            lambda frame: frame,
            {"table": "irsi"},
            r"not trained on a table 'irsi'.* Did you mean 'iris'\?.*must be trained",
        ),
        (lambda frame: frame.iloc[:0], {"table": "iris"}, r"there are no rows"),
        (lambda frame: frame.iloc[:, 1:], {"table": "iris"}, r"no column 'sepal length"),
        (lambda frame: frame.assign(**{frame.columns[0]: np.inf}), {"table": "iris"}, r"is infinite"),
    ],
)
def test_rows_that_cannot_be_predicted_are_refused(
    bench: Bench, model: TrainedTabstar, change: Callable[[pd.DataFrame], pd.DataFrame], options: Any, words: str
) -> None:
    with pytest.raises(DataError, match=words):
        model.predict(change(bench.raw["iris"]), **options)


@pytest.mark.parametrize(
    ("strip", "words"),
    [
        (lambda payload: payload.pop("encoder"), r"keeps no encoder, .*older release"),
        (lambda payload: payload["tables"]["iris"].pop("features"), r"keeps no 'features' of the table 'iris'"),
        (lambda payload: payload["architecture_config"].update(depth=3), r"does not know: .* at depth"),
        (lambda payload: payload.update(family="signal"), r"keeps no output_dim"),
    ],
)
def test_checkpoints_that_keep_too_little_say_so(bench: Bench, tmp_path: Path, strip: Any, words: str) -> None:
    content = torch.load(bench.checkpoint, weights_only=True)
    strip(content["tabstar_lit"]["payload"])
    torch.save(content, tmp_path / "old.ckpt")
    with pytest.raises(CheckpointError, match=words):
        tabstar_lit.load(tmp_path / "old.ckpt").predict(bench.raw["iris"], table="iris")
