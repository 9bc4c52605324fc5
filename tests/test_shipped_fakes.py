"""Every shipped configuration of `train_fakes` trains through the command: toys in three stages, electrons in one."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from checks import assert_check_passes
from click.testing import CliRunner, Result

from tabstar_lit.commands.convert import convert
from tabstar_lit.commands.train import train_fakes
from tabstar_lit.families.hep.events.file import EventFile
from tabstar_lit.families.hep.fakes.factor.restore import restore
from tabstar_lit.families.hep.fakes.toy.config import FakesToy
from tabstar_lit.families.hep.fakes.toy.events import toy_fakes

REPOSITORY = Path(__file__).resolve().parents[1]
MODELS = [f"fakes/{path.stem}" for path in sorted((REPOSITORY / "model_config/fakes").glob("*.yaml"))]
DATASETS = {path.stem for path in (REPOSITORY / "dataset_config/fakes").glob("*.yaml")}
SHORT = (
    "model_config.training_config.max_steps=2",
    "experiment_config.accelerator=cpu",
    "experiment_config.tracker=none",
    "experiment_config.plot_metrics_n_epoch=null",
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, shared_data: Path) -> Path:
    """Return a folder with few toys, and the events the shipped data set looks for."""
    folder = tmp_path_factory.mktemp("shipped_fakes")
    toy_fakes(folder / "few.h5", FakesToy(n_events=2000))
    shutil.copyfile(shared_data / "hep/fakes_zee_probes.csv.gz", folder / "fakes_zee_probes.csv.gz")
    recipe = shutil.copyfile(REPOSITORY / "examples/events/zee_probes.yaml", folder / "zee_probes.yaml")
    done = CliRunner().invoke(convert, ["events", str(recipe), "-o", str(folder / "data/zee_probes.h5")])
    assert done.exit_code == 0, done.output
    return folder


@pytest.fixture(autouse=True)
def workplace(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in that folder."""
    monkeypatch.chdir(folder)
    return folder


def train(run_name: str, *arguments: str) -> Result:
    name = f"experiment_config.run_name={run_name}"
    return CliRunner().invoke(train_fakes, [*SHORT, name, *arguments], catch_exceptions=False)


def stages_of(folder: Path, experiment: str, run_name: str) -> dict[str, Any]:
    record = json.loads((folder / "runs/logs" / experiment / run_name / "run.json").read_text())
    stages: dict[str, Any] = record["stages"]
    return stages


@pytest.mark.parametrize("model", MODELS)
def test_every_shipped_model_trains_on_toys_in_three_stages(folder: Path, model: str) -> None:
    name = model.replace("/", "_")
    done = train(name, f"model_config={model}", "dataset_config.files=few.h5")
    assert done.exit_code == 0, done.output
    stages = stages_of(folder, "fakes_few", name)
    assert list(stages) == ["numerator", "denominator", "ratio"]
    best = folder / "runs/models/checkpoints/fakes_few" / name / stages["ratio"]["best_checkpoint"]
    assert restore(best).role == "ratio"


@pytest.mark.parametrize("model", MODELS)
def test_every_shipped_model_trains_on_real_electrons_in_one_stage(folder: Path, model: str) -> None:
    assert set(DATASETS) == {"toy", "zee"}
    name = f"zee_{model.replace('/', '_')}"
    done = train(name, f"model_config={model}", "dataset_config=fakes/zee", "stages=[ratio]")
    assert done.exit_code == 0, done.output
    assert list(stages_of(folder, "fakes_zee_probes", name)) == ["ratio"]


@pytest.mark.parametrize(
    ("data", "stages"), [("dataset_config.files=few.h5", 3), ("dataset_config=fakes/zee", 1)], ids=sorted(DATASETS)
)
@pytest.mark.parametrize("model", MODELS)
def test_every_model_and_data_set_passes_the_check(folder: Path, model: str, data: str, stages: int) -> None:
    alone = ("stages=[ratio]",) if stages == 1 else ()
    assert_check_passes(train_fakes, folder, *SHORT, f"model_config={model}", data, *alone, stages=stages)


def test_probes_of_one_pair_stand_on_one_side(folder: Path) -> None:
    file = EventFile.open(folder / "data/zee_probes.h5")
    assert (file.n_events, file.classes) == (13138, ("tight", "loose"))
    assert 2000 < file.n_events - len(set(file.group_ids().tolist())) < 6000


def test_the_default_is_tried_on_generated_toys_and_leaves_nothing(folder: Path) -> None:
    before = sorted(folder.rglob("*"))
    done = CliRunner().invoke(train_fakes, ["--check"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert "configuration   3 stage(s): numerator, denominator, ratio" in done.output
    assert sorted(folder.rglob("*")) == before
