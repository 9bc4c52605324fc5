"""Every shipped data set of `train_antibody` for two steps, its stages, and configurations that are wrong."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from checks import assert_check_passes
from click.testing import CliRunner, Result

from tabstar_lit.commands.cli import main
from tabstar_lit.commands.train import train_antibody
from tabstar_lit.families.antibody.pairs.toy import AntibodyToy, ensure_toy

REPOSITORY = Path(__file__).resolve().parents[1]
MODELS = [f"antibody/{path.stem}" for path in sorted((REPOSITORY / "model_config/antibody").glob("*.yaml"))]
SHORT = (
    "dataset_config.max_samples=8",
    "dataset_config.dataloader_kwargs.batch_size=4",
    "model_config.training_config.max_steps=2",
    "tracking_config.samples=2",
    "tracking_config.bootstraps=10",
    "experiment_config.accelerator=cpu",
    "experiment_config.tracker=none",
    "experiment_config.log_every_n_steps=1",
    "experiment_config.plot_metrics_n_epoch=null",
)


def train(*arguments: str) -> Result:
    """Run the command in this process."""
    return CliRunner().invoke(train_antibody, [*SHORT, *arguments], catch_exceptions=False)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a small task under the name of its file."""
    folder = tmp_path_factory.mktemp("shipped_antibody")
    ensure_toy(folder / "data" / "small.h5", AntibodyToy(n_antigens=40, antibodies_each=2))
    return folder


@pytest.fixture(autouse=True)
def workplace(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work in that folder."""
    monkeypatch.chdir(folder)


def losses(folder: Path, experiment: str, run: str) -> list[float]:
    lines = (folder / f"runs/logs/{experiment}/{run}/metrics.jsonl").read_text().splitlines()
    return [line["val_nll"] for line in map(json.loads, lines) if "val_nll" in line]


@pytest.fixture(scope="module")
def nanobodies(folder: Path, shared_data: Path) -> Path:
    """Real pairs, which convert faster than others."""
    config = folder / "convert.yaml"
    config.write_text((REPOSITORY / "examples/antibody/nanobodies.yaml").read_text())
    (folder / "nanobody_antigen_pairs.csv.gz").symlink_to(shared_data / "antibody/nanobody_antigen_pairs.csv.gz")
    output = folder / "data" / "nanobodies.h5"
    made = CliRunner().invoke(main, ["convert", "antibody", str(config), "-o", str(output)], catch_exceptions=False)
    assert made.exit_code == 0, made.output
    return output


@pytest.mark.parametrize(("dataset", "by"), [("complexes", "cluster"), ("her2", "antibody")])
def test_real_sets_train(folder: Path, nanobodies: Path, dataset: str, by: str) -> None:
    """Under the name of each file: what is tested is the configuration."""
    shutil.copyfile(nanobodies, folder / "data" / f"{dataset}.h5")
    done = train(
        "model_config=antibody/tiny",
        f"dataset_config=antibody/{dataset}",
        "dataset_config.chains=all",
        "dataset_config.max_antigen_tokens=40",
        f"experiment_config.run_name={dataset}",
    )
    assert done.exit_code == 0, done.output
    assert f"by: {by}" in (folder / f"runs/logs/antibody_{dataset}/{dataset}/config.yaml").read_text()
    assert losses(folder, f"antibody_{dataset}", dataset)


@pytest.mark.parametrize("model", MODELS)
def test_every_model_passes_the_check(folder: Path, model: str) -> None:
    assert_check_passes(train_antibody, folder, *SHORT, f"model_config={model}", "dataset_config.files=small.h5")


@pytest.mark.parametrize("dataset", ["complexes", "her2"])
def test_real_sets_pass_the_check(folder: Path, nanobodies: Path, dataset: str) -> None:
    shutil.copyfile(nanobodies, folder / "data" / f"{dataset}.h5")
    real = (f"dataset_config=antibody/{dataset}", "dataset_config.chains=all", "dataset_config.max_antigen_tokens=40")
    assert_check_passes(train_antibody, folder, *SHORT, "model_config=antibody/tiny", *real)


def test_stages_hand_on_their_weights(folder: Path) -> None:
    """Pairs without affinity, then those with it, then those of one antigen."""
    stages = (
        "stage_config={pretrain: {dataset_config: {censored: missing}}, "
        "train: {model_config: {load_modules: {'': pretrain}}, dataset_config: {pkd: known}}, "
        "finetune: {model_config: {load_modules: {'': train}}, dataset_config: {split: {by: antibody, val: 0.3}}}}"
    )
    done = train(
        "dataset_config.files=small.h5",
        "stages=[pretrain,train,finetune]",
        stages,
        "experiment_config.run_name=stages",
    )
    assert done.exit_code == 0, done.output
    assert done.output.count("tensors from ''") == 2
    record = json.loads((folder / "runs/logs/antibody_small/stages/run.json").read_text())
    assert list(record["stages"]) == ["pretrain", "train", "finetune"]


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("dataset_config.files=missing.h5", "no such file"),
        ("dataset_config.antigen=toy_1", "the pairs of one antigen cannot be split by cluster"),
        ("dataset_config.split.by=clusters", "split.by"),
        ("dataset_config.max_antibody_tokens=8", "none of the 80 pairs is left"),
        ("model_config.architecture_config.size=huge", "size"),
    ],
)
def test_a_wrong_configuration_ends_with_2(argument: str, message: str) -> None:
    given = [] if argument.startswith("dataset_config.files") else ["dataset_config.files=small.h5"]
    done = train(*given, argument, "experiment_config.run_name=wrong", "--check")
    assert done.exit_code == 2
    assert message in done.output
