"""Trainings from the command: every shipped network for two steps, and one that is stopped and goes on."""

from __future__ import annotations

import signal
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from click.testing import CliRunner
from exported import loaded_from_weights
from stopping import signal_in

import tabstar_lit
from tabstar_lit.commands.cli import main
from tabstar_lit.commands.train import train_antibody
from tabstar_lit.families.antibody.module import AntibodyModule
from tabstar_lit.families.antibody.pairs.batch import REGION_NAMES
from tabstar_lit.families.antibody.pairs.file import read_pairs
from tabstar_lit.families.antibody.pairs.toy import AntibodyToy, ensure_toy, toy_regions

REPOSITORY = Path(__file__).resolve().parents[3]
MODELS = [path.stem for path in sorted((REPOSITORY / "model_config" / "antibody").glob("*.yaml"))]
SMALL = (
    "dataset_config.files=small.h5",
    "model_config.architecture_config.size=tiny",
    "dataset_config.max_samples=64",
    "dataset_config.dataloader_kwargs.batch_size=32",
    "experiment_config.accelerator=cpu",
    "experiment_config.tracker=none",
    "experiment_config.plot_metrics_n_epoch=null",
    "experiment_config.check_metrics_n_epoch=null",
)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("antibody_data")
    ensure_toy(folder / "small.h5", AntibodyToy(n_antigens=60, antibodies_each=2))
    return folder


@pytest.fixture(autouse=True)
def places(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, data: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ANALYSIS_ML_DATA_DIR", str(data))


def trained(name: str, *overrides: str) -> Path:
    """Train, and return the last checkpoint."""
    run = CliRunner().invoke(train_antibody, [*SMALL, f"experiment_config.run_name={name}", *overrides])
    assert run.exit_code == 0, run.output
    (checkpoint,) = Path("runs/models").rglob(f"{name}_last.ckpt")
    return checkpoint


@pytest.mark.parametrize("model", MODELS)
def test_every_shipped_network_trains_and_writes(model: str, tmp_path: Path) -> None:
    checkpoint = trained(model, f"model_config=antibody/{model}", "model_config.training_config.max_epochs=1")
    (tmp_path / "antigens.fasta").write_text(">one\nAGILDKNPQFWST\n>two\nAGILNP\n")
    written = CliRunner().invoke(
        main, ["generate", str(checkpoint), "--antigen", "antigens.fasta", "--pkd", "9", "-n", "2", "--device", "cpu"]
    )
    assert written.exit_code == 0, written.output
    table = pd.read_parquet("antibodies.parquet")
    assert table["name"].tolist() == ["one_1", "one_2", "two_1", "two_2"]
    assert Path("antibodies.fasta").read_text().count(">") == (table[["heavy", "light"]] != "").to_numpy().sum()


def test_regions_of_a_template_are_filled_in_by_name(tmp_path: Path, data: Path) -> None:
    infilling = ("model_config.training_config.max_steps=2", "model_config.training_config.infilling=0.5")
    checkpoint = trained("infilling", *infilling)
    (tmp_path / "antigens.fasta").write_text(">one\nAGILDKNPQFWST\n")
    template = next(text for text in read_pairs(data / "small.h5").antibodies if "|" in text)
    (tmp_path / "template.fasta").write_text(">heavy\n{}\n>light\n{}\n".format(*template.split("|")))
    regions = toy_regions(template)
    fill = ["--fill", "h_cdr3", "--fill", "l_cdr1"]
    asked = ["generate", str(checkpoint), "--antigen", "antigens.fasta", "-n", "3", "--device", "cpu"]
    written = CliRunner().invoke(main, [*asked, "--template", "template.fasta", *fill])
    assert written.exit_code == 0, written.output
    free = np.isin(regions, [REGION_NAMES.index("h_cdr3"), REGION_NAMES.index("l_cdr1")])
    table = pd.read_parquet("antibodies.parquet")
    for heavy, light in zip(table["heavy"], table["light"], strict=True):
        same = np.array(list(f"{heavy}|{light}")) == np.array(list(template))
        assert same[~free].all()
    assert table["heavy"].nunique() > 1
    refused = CliRunner().invoke(main, [*asked, "--template", "template.fasta", "--fill", "h_cdr4"])
    assert refused.exit_code == 2
    assert "no region 'h_cdr4'; there are h_fr1" in refused.output


def test_exported_weights_load_back_to_the_same_likelihoods(tmp_path: Path, data: Path) -> None:
    checkpoint = trained("exported", "model_config.training_config.max_steps=2")
    again = loaded_from_weights(checkpoint, tmp_path)
    texts = [text for text in read_pairs(data / "small.h5").antibodies if "|" in text][:5]
    heavy, light = zip(*(text.split("|") for text in texts), strict=True)
    given = pd.DataFrame({"antigen": "AGILDKNPQFWST", "heavy": heavy, "light": light})
    expected = tabstar_lit.load(checkpoint).predict(given, device="cpu")
    pd.testing.assert_frame_equal(again.predict(given, device="cpu"), expected)


def test_a_training_that_is_stopped_and_resumed_ends_as_one_that_was_not() -> None:
    hiding = (
        "model_config.training_config.max_epochs=2",
        "model_config.training_config.framework_dropout=0.2",
        "model_config.training_config.infilling=0.3",
        "model_config.architecture_config.dropout=0.1",
    )
    whole = torch.load(trained("whole", *hiding), weights_only=True)
    with signal_in(AntibodyModule, "training_step", signal.SIGTERM, call=3):
        stopped = CliRunner().invoke(train_antibody, [*SMALL, "experiment_config.run_name=half", *hiding])
    assert stopped.exit_code == 128 + signal.SIGTERM, stopped.output
    ended = torch.load(trained("half", *hiding, "--resume"), weights_only=True)
    assert whole["global_step"] == ended["global_step"] == 4
    for name, value in whole["state_dict"].items():
        assert torch.equal(ended["state_dict"][name], value), name
