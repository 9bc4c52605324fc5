"""Every shipped data set of `train_experts`, on public texts: found where its file says, and trained for two steps."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from checks import assert_check_passes
from click.testing import CliRunner, Result

from tabstar_lit.commands.cli import main
from tabstar_lit.commands.train import train_experts

REPOSITORY = Path(__file__).resolve().parents[1]
DATASETS = sorted(path.stem for path in (REPOSITORY / "dataset_config/experts").glob("*.yaml"))
SHORT = (
    "stages=[transformer]",
    "model_config.architecture_config.width=16",
    "model_config.architecture_config.heads=2",
    "model_config.training_config.max_epochs=1",
    "dataset_config.batch_size=4",
    "dataset_config.rows_per_epoch=8",
    "dataset_config.max_samples=30",
    "experiment_config.accelerator=cpu",
    "experiment_config.tracker=none",
    "experiment_config.plot_metrics_n_epoch=null",
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, shared_data: Path) -> Path:
    """Return a folder with the corpora that the shipped data sets look for."""
    folder = tmp_path_factory.mktemp("shipped_texts")
    made = [str(folder / f"data/{name}.h5") for name in ("text", "shakespeare")]
    done = invoke(main, "convert", "text", str(shared_data / "text"), "-o", made[0])
    assert done.exit_code == 0, done.output
    assert "5 domains converted" in done.output
    Path(made[1]).hardlink_to(made[0])
    return folder


@pytest.fixture(autouse=True)
def workplace(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work in that folder."""
    monkeypatch.chdir(folder)


def invoke(command: object, *arguments: str) -> Result:
    return CliRunner().invoke(command, arguments, catch_exceptions=False)  # type: ignore[arg-type]  # a command


@pytest.mark.parametrize("dataset", DATASETS)
def test_two_steps(dataset: str, folder: Path) -> None:
    done = invoke(train_experts, f"dataset_config=experts/{dataset}", f"experiment_config.run_name={dataset}", *SHORT)
    assert done.exit_code == 0, done.output
    record = json.loads((folder / f"runs/logs/experts_{dataset}/{dataset}/run.json").read_text())
    assert record["stages"]["transformer"]["steps"] == 2
    logged = (folder / f"runs/logs/experts_{dataset}/{dataset}/metrics.jsonl").read_text()
    assert "val_bits_per_byte" in logged


@pytest.mark.parametrize("dataset", DATASETS)
def test_every_data_set_passes_the_check(dataset: str, folder: Path) -> None:
    assert_check_passes(train_experts, folder, *SHORT, f"dataset_config=experts/{dataset}")


def test_public_texts_hold_what_their_manifest_says(folder: Path) -> None:
    shown = invoke(main, "data", "show", str(folder / "data/text.h5"))
    assert shown.exit_code == 0, shown.output
    table = {line.split()[0]: line.split()[1:3] for line in shown.output.splitlines()[2:7]}
    assert table == {
        "academic": ["774", "872216"],
        "general": ["1060", "1246383"],
        "literature": ["1677", "1011563"],
        "philosophy": ["1939", "1967119"],
        "theology": ["9000", "1690122"],
    }
