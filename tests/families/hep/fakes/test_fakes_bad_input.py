"""Bad input to `train_fakes`: exit code 2, a message with place and remedy, no traceback, nothing left behind."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from checks import assert_refused
from click.testing import CliRunner
from fakes_bench import RUN, TRAINING

from tabstar_lit.commands.train import train_fakes
from tabstar_lit.families.hep.events.file import ColumnInfo, EventChunk, EventFile, EventSchema, EventWriter
from tabstar_lit.families.hep.fakes.toy.closed_form import CLASSES

N = 400
LABELS = np.arange(N) % 4


def where(label: int, weight: float) -> np.ndarray:
    return np.where(LABELS - label, 1.0, weight)


WEIGHTS: dict[str, np.ndarray] = {
    "negative": where(2, -1.0),
    "weightless": where(2, 0.0),
    "cancelling": np.where(LABELS == 3, np.where(np.arange(N) % 8 == 3, 1.0, -1.0), 1.0),
    "plain": np.ones(N),
}
CASES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "simulation with a negative sum": (("files=negative.h5",), ("train split", "class 'tight_mc' sum to -")),
    "simulation without weight": (("files=weightless.h5",), ("class 'tight_mc' sum to 0", "positive sum")),
    "no simulation at all": (("files=data_only.h5",), ("regions.tight.mc", "no event is labelled 'tight_mc'")),
    "no data": (("files=mc_only.h5",), ("regions.tight.data", "no event is labelled 'tight_data'")),
    "a region that a cut empties": (("files=plain.h5", "pt_cut={min: 1e6}"), ("has no events of class",)),
    "a slice without events": (
        ("files=plain.h5", "pt_slices=['0:1000', '1000:2000']"),
        ("the slice '1000:2000' of pt has no tight_data events",),
    ),
    "a file that is not there": (("files=nowhere.h5",), ("nowhere.h5",)),
    "a feature that is not there": (("files=plain.h5", "features=[pt, et]"), ("features", "'et'")),
    "a spectator that is not there": (("files=plain.h5", "spectators=[met]"), ("spectators", "'met'")),
    "pt that is not there": (("files=plain.h5", "pt_variable=PT"), ("pt_variable", "no numerical column 'PT'")),
    "a spectator listed as category": (("files=plain.h5", "pt_variable=kind"), ("pt_variable", "'kind'")),
}


def write(path: Path, classes: tuple[str, ...], weights: np.ndarray) -> None:
    columns = {"pt": ColumnInfo("pt", unit="GeV"), "kind": ColumnInfo("kind", "categorical", categories=("a", "b"))}
    with EventWriter(path, EventSchema(classes, columns, has_weights=True)) as file:
        values = {"pt": np.linspace(20, 200, N), "kind": np.arange(N, dtype=np.int32) % 2}
        file.append(EventChunk(values, LABELS % len(classes), weights, np.arange(N, dtype=np.uint64)))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bad_fakes")
    for name, weights in WEIGHTS.items():
        write(folder / f"{name}.h5", CLASSES, weights)
    write(folder / "data_only.h5", CLASSES[:2], np.ones(N))
    write(folder / "mc_only.h5", CLASSES[2:], np.ones(N))
    return folder


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("option", ["--check", None])
def test_bad_events_are_refused_and_leave_nothing(
    folder: Path, monkeypatch: pytest.MonkeyPatch, case: str, option: str | None
) -> None:
    monkeypatch.chdir(folder)
    settings, words = CASES[case]
    arguments = [*([option] if option else []), *RUN, *(f"dataset_config.{setting}" for setting in settings)]
    assert_refused(CliRunner().invoke(train_fakes, arguments), *words)
    left = [path.relative_to(folder).parts for path in folder.rglob("*") if path.is_file() and path.parent != folder]
    assert [parts for parts in left if "mlruns" not in parts] == []  # the tracker's own store knows of the attempt


def test_loose_simulation_whose_weights_cancel_is_found_in_its_own_stage(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    arguments = ["--check", *RUN, "dataset_config.files=cancelling.h5"]
    assert_refused(CliRunner().invoke(train_fakes, arguments), "class 'loose_mc' sum to")


def test_a_metric_that_is_never_computed_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    monitor = f"{TRAINING}.monitor=val_chi"
    refused = CliRunner().invoke(train_fakes, ["--check", *RUN, "dataset_config.files=plain.h5", monitor])
    assert_refused(refused, "no metric is called 'val_chi'", "Did you mean 'val_chi2'")


def test_the_files_of_these_tests_are_events(folder: Path) -> None:
    assert {path.stem for path in folder.glob("*.h5")} == {*WEIGHTS, "data_only", "mc_only"}
    assert all(EventFile.open(path).n_events == N for path in folder.glob("*.h5"))
