"""Every shipped configuration of `train_microbes` trains through the command, and its mistakes are refused there."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from checks import assert_check_passes, assert_refused
from click.testing import CliRunner, Result

from tabstar_lit.commands.convert import convert
from tabstar_lit.commands.train import train_microbes
from tabstar_lit.families.microbes.study.generated import generate
from tabstar_lit.families.microbes.study.study import Study, write_study
from tabstar_lit.families.microbes.trained import restore

REPOSITORY = Path(__file__).resolve().parents[1]
MODELS = [f"microbes/{path.stem}" for path in sorted((REPOSITORY / "model_config/microbes").glob("*.yaml"))]
DATASETS = {path.stem for path in (REPOSITORY / "dataset_config/microbes").glob("*.yaml")}
SHORT = (
    "model_config.training_config.max_steps=2",
    "dataset_config.dataloader_kwargs.batch_size=4",
    "dataset_config.max_asvs=12",
    "dataset_config.baseline=none",
    "experiment_config.accelerator=cpu",
    "experiment_config.tracker=none",
    "experiment_config.plot_metrics_n_epoch=null",
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a small study."""
    folder = tmp_path_factory.mktemp("shipped_microbes")
    write_study(folder / "data/few.h5", generate(n_subjects=6))
    return folder


@pytest.fixture(autouse=True)
def workplace(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in that folder."""
    monkeypatch.chdir(folder)
    return folder


def train(run_name: str, *arguments: str) -> Result:
    name = f"experiment_config.run_name={run_name}"
    return CliRunner().invoke(train_microbes, [*SHORT, name, *arguments], catch_exceptions=False)


def stages_of(folder: Path, experiment: str, run_name: str) -> dict[str, Any]:
    record = json.loads((folder / "runs/logs" / experiment / run_name / "run.json").read_text())
    stages: dict[str, Any] = record["stages"]
    return stages


@pytest.mark.parametrize("model", MODELS)
def test_every_shipped_model_trains_in_two_stages_and_predicts(folder: Path, model: str) -> None:
    name = model.replace("/", "_")
    done = train(name, f"model_config={model}", "dataset_config.study=few.h5")
    assert done.exit_code == 0, done.output
    stages = stages_of(folder, "microbes_few", name)
    assert list(stages) == ["encoder", "predictor"]
    best = folder / "runs/models/checkpoints/microbes_few" / name / stages["predictor"]["best_checkpoint"]
    trained = restore(best)
    assert trained.role == "predictor"
    assert len(trained.predict(generate(seed=1, n_subjects=2))) == 8


@pytest.fixture(scope="module")
def ibd(folder: Path, shared_data: Path) -> None:
    """Convert the study that a shipped data set looks for."""
    recipe = shutil.copyfile(REPOSITORY / "examples/microbiome/ibd.yaml", folder / "ibd.yaml")
    (folder / "ibd").symlink_to(shared_data / "microbiome/ibd")
    made = CliRunner().invoke(convert, ["microbiome", str(recipe), "-o", str(folder / "data/ibd.h5")])
    assert made.exit_code == 0, made.output


@pytest.mark.parametrize("model", MODELS)
def test_every_model_passes_the_check(folder: Path, model: str) -> None:
    assert_check_passes(
        train_microbes, folder, *SHORT, f"model_config={model}", "dataset_config.study=few.h5", stages=2
    )


@pytest.mark.usefixtures("ibd")
def test_a_real_study_passes_the_check(folder: Path) -> None:
    real = ("model_config=microbes/ibd", "dataset_config=microbes/ibd")
    assert_check_passes(train_microbes, folder, *SHORT, *real, stages=2)


@pytest.mark.usefixtures("ibd")
def test_real_studies_train_as_shipped(folder: Path) -> None:
    assert {"generated", "ibd"} == DATASETS
    done = train("ibd", "dataset_config=microbes/ibd")
    assert done.exit_code == 0, done.output
    assert list(stages_of(folder, "microbes_ibd", "ibd")) == ["encoder", "predictor"]


@pytest.mark.parametrize("study", ["house_surfaces", "ibd", "moving_pictures", "sleep_apnea"])
def test_every_example_converts(folder: Path, shared_data: Path, study: str) -> None:
    own = folder / "examples" / study
    own.mkdir(parents=True)
    recipe = shutil.copyfile(REPOSITORY / f"examples/microbiome/{study}.yaml", own / f"{study}.yaml")
    (own / study).symlink_to(shared_data / "microbiome" / study)
    made = CliRunner().invoke(convert, ["microbiome", str(recipe), "-o", str(own / "study.h5")])
    assert made.exit_code == 0, made.output
    assert "samples" in made.output


def test_a_predictor_stands_on_the_encoder_of_another_run(folder: Path) -> None:
    done = train("alone", "dataset_config.study=few.h5", "stages=[encoder]")
    assert done.exit_code == 0, done.output
    best = stages_of(folder, "microbes_few", "alone")["encoder"]["best_checkpoint"]
    path = folder / "runs/models/checkpoints/microbes_few/alone" / best
    place = f"stage_config.predictor.model_config.load_modules.base='{path}'"
    done = train("on_it", "dataset_config.study=few.h5", "stages=[predictor]", place)
    assert done.exit_code == 0, done.output
    assert list(stages_of(folder, "microbes_few", "on_it")) == ["predictor"]


def test_the_default_is_tried_on_a_generated_study_and_leaves_nothing(folder: Path) -> None:
    before = sorted(folder.rglob("*"))
    done = CliRunner().invoke(train_microbes, ["--check"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert "configuration   2 stage(s): encoder, predictor" in done.output
    assert sorted(folder.rglob("*")) == before


def study_without(study: Study, what: str) -> Study:
    from dataclasses import replace

    return replace(study, **{what: () if what == "sequences" else None})


BAD = {
    "study not there": (("dataset_config.study=fwe.h5",), ["fwe.h5: no such file", "Did you mean 'few.h5'"]),
    "target not there": (("dataset_config.target=statsu",), ["no column 'statsu'", "Did you mean 'status'"]),
    "no target": (("dataset_config.target=[]",), ["dataset_config.target", "a predictor needs a target"]),
    "target read": (("dataset_config.categories=[status]",), ["'status' is the target"]),
    "no folds": (("dataset_config.folds={n: 3, fold: 3}",), ["fold 3 of 3 folds"]),
    "too large shares": (("dataset_config.split.test=0.8",), ["nothing is trained on"]),
    "single samples": (
        ("dataset_config.dataloader_kwargs.batch_size=1",),
        ["batch_size", "must be at least 2"],
    ),
    "no sequences": (("dataset_config.study=ids.h5",), ["not their sequences", "Name a FASTA file"]),
    "no distances": (("dataset_config.study=bare.h5",), ["learns UniFrac distances, and the study has none"]),
}


@pytest.mark.parametrize("name", BAD)
def test_mistakes_are_refused_with_their_place(folder: Path, name: str) -> None:
    small = generate(n_subjects=6)
    write_study(folder / "data/ids.h5", study_without(small, "sequences"))
    write_study(folder / "data/bare.h5", study_without(small, "distances"))
    overrides, words = BAD[name]
    study = () if any(own.startswith("dataset_config.study") for own in overrides) else ("dataset_config.study=few.h5",)
    done = CliRunner().invoke(train_microbes, ["--check", *SHORT[2:], *study, *overrides], catch_exceptions=False)
    assert_refused(done, *words)
