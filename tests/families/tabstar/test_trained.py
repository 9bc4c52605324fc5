"""A checkpoint alone predicts new rows of its tables: the same as the training's validation, on the target's scale."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import MagicMock

import numpy as np
import pandas as pd
import pytest
import torch
from click.testing import CliRunner

import tabstar_lit
from tabstar_lit.commands.cli import main
from tabstar_lit.config import load_experiment
from tabstar_lit.engine.run import run
from tabstar_lit.engine.tracking import loggers
from tabstar_lit.engine.tracking.mlflow import MlflowLogger
from tabstar_lit.errors import CheckpointError, DataError
from tabstar_lit.families.tabstar.builtin import SOURCES
from tabstar_lit.families.tabstar.converter import FileSource, Source, convert
from tabstar_lit.families.tabstar.corpus import Corpus
from tabstar_lit.families.tabstar.family import family
from tabstar_lit.families.tabstar.manifest import read_manifest
from tabstar_lit.families.tabstar.tables import read_table
from tabstar_lit.families.tabstar.trained import TrainedTabstar

TRIPS = """
- name: trips
  file: trips.csv
  target: late
  task: classification
  dates: [start]
  ignore: [number]
"""


class Bench(NamedTuple):
    """A corpus, its raw tables, and a checkpoint of a network trained on it for a moment."""

    corpus: Path
    raw: dict[str, pd.DataFrame]
    checkpoint: Path
    predicted: dict[str, np.ndarray[Any, Any]]
    """What the training's own module gives for the validation rows of each table, in their order."""


def trips(folder: Path) -> Source:
    """Write a table with dates as text, words, gaps, a column that is ignored, and classes that look like numbers."""
    rng = np.random.default_rng(3)
    start = pd.date_range("2024-01-01", periods=200, freq="31h").strftime("%Y-%m-%d %H:%M")
    frame = pd.DataFrame({"start": start, "number": range(200), "line": rng.choice(["red", "blue", None], 200)})
    frame["minutes"] = rng.normal(30, 9, 200).round(1)
    frame.loc[::17, "minutes"] = None
    frame["late"] = (frame["minutes"].fillna(0) + rng.normal(0, 5, 200) > 30).astype(int)
    frame.to_csv(folder / "trips.csv", index=False)
    (folder / "manifest.yaml").write_text(TRIPS)
    (entry,) = read_manifest(folder / "manifest.yaml")
    return FileSource(entry, folder / "trips.csv")


def train(folder: Path, corpus: Path, *overrides: str) -> tuple[Any, Path]:
    """Train for an epoch; return the experiment and the last checkpoint."""
    settings = (
        "model_config=tabstar/tiny", f"dataset_config.corpus={corpus}", "dataset_config.rows_per_dataset=32",
        "model_config.training_config.max_epochs=1", "experiment_config.run_name=run",
        "experiment_config.accelerator=cpu", "experiment_config.plot_metrics_n_epoch=null",
        f"experiment_config.save_dir={folder}/logs", f"experiment_config.tracker_path={folder}/figures",
        f"model_config.training_config.model_save_path={folder}/models",
    )  # fmt: skip
    loaded = load_experiment(family.schema(), command=family.command, overrides=[*settings, *overrides])
    return loaded.experiment, run(family, loaded).checkpoints / "run_last.ckpt"


def outputs_of_training(experiment: Any, checkpoint: Path) -> dict[str, np.ndarray[Any, Any]]:
    """Run the training's own data and network over the validation rows."""
    data = family.data(experiment, seed=experiment.experiment_config.seed)
    network = family.module(experiment, data).network
    state = torch.load(checkpoint, weights_only=True)["state_dict"]
    network.load_state_dict({name.removeprefix("network."): value for name, value in state.items()})
    found: dict[str, list[torch.Tensor]] = {}
    with torch.no_grad():
        for batch in data.val_dataloader():
            found.setdefault(batch.source, []).append(network.eval()(batch))
    return {name: torch.cat(parts).numpy() for name, parts in found.items()}


@pytest.fixture(scope="module", autouse=True)
def _no_tracking_service() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        quiet = MagicMock(spec=MlflowLogger, run_id=None)
        patch.setattr(loggers, "_tracking_logger", lambda *_: quiet)
        patch.setattr(loggers, "_mlflow_logger", lambda *_, **__: quiet)
        yield


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    folder = tmp_path_factory.mktemp("tables")
    sources = [source for source in SOURCES if source.entry.name in ("iris", "diabetes")]
    sources = [*sources, trips(folder)]
    convert(sources, folder / "corpus.h5")
    experiment, checkpoint = train(folder, folder / "corpus.h5")
    raw = {source.entry.name: source.read().frame for source in sources}
    return Bench(folder / "corpus.h5", raw, checkpoint, outputs_of_training(experiment, checkpoint))


@pytest.fixture
def model(bench: Bench) -> TrainedTabstar:
    loaded = tabstar_lit.load(bench.checkpoint)
    assert isinstance(loaded, TrainedTabstar)
    return loaded


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
    pd.testing.assert_frame_equal(again, whole.loc[some.index], check_exact=False, atol=1e-5)


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
