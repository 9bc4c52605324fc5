"""Quality of signal classifiers: scores are those of held-out events under the last weights, and the page says so."""

from __future__ import annotations

import gzip
import itertools
from pathlib import Path
from unittest.mock import MagicMock

import pytest
from benchmarks import results, signal_results
from benchmarks.experiment import Trained
from benchmarks.signal_results import HeldOut, train_and_test
from click.testing import CliRunner, Result

from tabstar_lit.engine.runs.files import RunFiles
from tabstar_lit.families.hep.config import FoldsConfig, SplitConfig
from tabstar_lit.families.hep.events.file import EventFile
from tabstar_lit.families.hep.preparation.split import SPLITS, split_events

N_EVENTS = 300
SHORT = (
    "model_config.training_config.max_epochs=2",
    "model_config.architecture_config.n_hidden=8",
    "dataset_config.dataloader_kwargs.batch_size=64",
    "experiment_config.tqdm_refresh_rate=0",
    "experiment_config.tracker=none",
)


@pytest.fixture
def few_events(tmp_path: Path, shared_data: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put the first events of the challenge where the experiment looks for all of them, and work in a fresh folder."""
    folder = tmp_path / "events"
    (folder / "hep").mkdir(parents=True)
    name = "hep/higgsml_atlas.csv.gz"
    with gzip.open(shared_data / name, "rt") as source, gzip.open(folder / name, "wt") as target:
        target.writelines(itertools.islice(source, N_EVENTS + 1))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(signal_results.DATA_VARIABLE, str(folder))
    monkeypatch.setattr(results, "PAGE", tmp_path / "docs" / "results.md")
    return folder


def measure(name: str) -> Result:
    return CliRunner().invoke(results.main, [name], catch_exceptions=False)


def printed(done: Result) -> dict[str, str]:
    return dict(line[7:].split("=") for line in done.stdout.splitlines() if line.startswith("RESULT "))


def test_higgsml_end_to_end(few_events: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folds: list[HeldOut] = []

    def short(*overrides: str) -> HeldOut:
        folds.append(train_and_test(*overrides, *SHORT))
        return folds[-1]

    monkeypatch.setattr(signal_results, "N_FOLDS", 2)
    monkeypatch.setattr(signal_results, "train_and_test", short)
    done = measure("higgsml")
    assert done.exit_code == 0, done.output
    for result, metric in {"higgsml.auc": "auroc_unweighted", "higgsml.weighted_auc": "auroc"}.items():
        first, second = (fold.files.stages["train"]["test"][f"test_{metric}"] for fold in folds)
        assert float(printed(done)[result]) == pytest.approx((first + second) / 2, abs=1e-4)
    for fold in folds:
        evaluated = Path(fold.files.stages["train"]["evaluated"])
        assert evaluated.name == f"{fold.trained.files.root.name}_last.ckpt"
    text = results.PAGE.read_text(encoding="utf-8")
    assert f"{N_EVENTS} events of them" in text
    assert "'dataset_config.folds={n: 2, fold: 1}'" in text
    assert str(tmp_path) not in text
    assert (results.PAGE.parent / "images/results/higgsml_roc.png").stat().st_size > 1000


def test_every_event_is_tested_once_and_never_trained_on(few_events: Path) -> None:
    signal_results.converted("higgsml")
    ids = EventFile.open(Path("data/higgsml.h5")).group_ids()
    sides = [
        split_events(ids, SplitConfig(by="group", val=0.1, test=0.2), FoldsConfig(n=signal_results.N_FOLDS, fold=fold))
        for fold in range(signal_results.N_FOLDS)
    ]
    assert (sum(side == SPLITS.index("test") for side in sides) == 1).all()


def test_folds_and_both_transformers_are_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scores = {"particle_transformer": 0.75, "set_transformer": 0.5}

    def pretend(model: str, data: str, fold: str = "") -> HeldOut:
        name = model.removeprefix("model_config=signal/")
        score = scores[name] + (0.01 * int(fold[-2]) if fold else 0.1)
        figures = tmp_path / f"{name}{fold}"
        (figures / "roc").mkdir(parents=True)
        (figures / "roc/test.png").write_bytes(f"{name} {fold[-2:-1]}".encode())
        files = MagicMock(spec=RunFiles, record={"seed": 1, "versions": {}, "figures_dir": str(figures)})
        metrics = ("auroc_unweighted", "accuracy", "rejection_50", "rejection_30")
        files.stages = {"train": {"test": {f"test_{metric}": score for metric in metrics}}}
        return HeldOut(Trained(f"train_signal {model}", files, 1.0, 1.0), files)

    monkeypatch.setattr(signal_results, "find_events", lambda: tmp_path)
    monkeypatch.setattr(signal_results, "converted", lambda _: 6000)
    monkeypatch.setattr(signal_results, "train_and_test", pretend)
    monkeypatch.setattr(results, "PAGE", tmp_path / "docs" / "results.md")
    monkeypatch.setattr(results, "NEEDS", {})
    done = measure("jets")
    assert printed(done) == {
        "jets.particle_transformer_auc": "0.8500",
        "jets.set_transformer_auc": "0.6000",
        "jets.particle_transformer_folds_auc": "0.7700",
        "jets.set_transformer_folds_auc": "0.5200",
    }
    assert (tmp_path / "docs/images/results/jets_roc.png").read_bytes() == b"particle_transformer 4"


@pytest.mark.parametrize("name", ["higgsml", "higgs_uci", "jets"])
def test_without_the_events_nothing_is_trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(signal_results.DATA_VARIABLE, str(tmp_path / "nowhere"))
    monkeypatch.setattr(results, "PAGE", tmp_path / "results.md")
    done = CliRunner().invoke(results.main, [name])
    assert done.exit_code == 2
    assert signal_results.DATA_VARIABLE in done.stderr
    assert "make results ARGS=builtin" in done.stderr
    assert list(tmp_path.iterdir()) == []
