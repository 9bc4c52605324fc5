"""Checkpoints of adapters: small, gone on with exactly, and whole again wherever they are used."""

from __future__ import annotations

import re
import shutil
import signal
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest
import torch
from checks import assert_equal
from click.testing import CliRunner, Result
from stopping import signal_in
from trained_tables import Bench, outputs_of_training, settings

import tabstar_lit
from tabstar_lit.commands.cli import main
from tabstar_lit.commands.train import train_tabstar
from tabstar_lit.config import load_experiment
from tabstar_lit.errors import CheckpointError
from tabstar_lit.families.tabstar.deployment.trained import TrainedTabstar
from tabstar_lit.families.tabstar.family import family
from tabstar_lit.families.tabstar.module import TabstarModule
from tabstar_lit.families.tabstar.tables.corpus import Corpus

TRAINING = "model_config.training_config"


class Tuned(NamedTuple):
    """A fine-tuning by adapters: its folder, what it was told, and its last checkpoint."""

    folder: Path
    told: list[str]
    checkpoint: Path


def told(bench: Bench, folder: Path, *more: str) -> list[str]:
    return [
        *settings(folder, bench.corpus), "model_config=tabstar/finetune", f"model_config.base={bench.checkpoint}",
        "model_config.architecture_config.text_encoder.unfreeze_layers=1", "dataset_config.tables=[iris, diabetes]",
        f"{TRAINING}.max_epochs=2", f"{TRAINING}.accumulate_grad_batches=1", *more,
    ]  # fmt: skip


def typed(*words: str) -> Result:
    return CliRunner().invoke(train_tabstar, words, catch_exceptions=False)


def fine_tuned(bench: Bench, folder: Path) -> Tuned:
    words = told(bench, folder)
    done = typed(*words)
    assert done.exit_code == 0, done.output
    return Tuned(folder, words, next(folder.rglob("run_last.ckpt")))


@pytest.fixture(scope="module")
def tuned(bench: Bench, tmp_path_factory: pytest.TempPathFactory) -> Tuned:
    return fine_tuned(bench, tmp_path_factory.mktemp("tuned"))


def test_a_checkpoint_holds_the_adapters_alone_and_predicts_as_the_training_did(bench: Bench, tuned: Tuned) -> None:
    content = torch.load(tuned.checkpoint, weights_only=True)
    assert all(".lora_" in name for name in content["state_dict"])
    experiment = load_experiment(family.schema(), command=family.command, overrides=tuned.told).experiment
    model = tabstar_lit.load(tuned.checkpoint)
    assert isinstance(model, TrainedTabstar)
    assert not {"lora", "base"} & set(model.config)
    expected = torch.from_numpy(outputs_of_training(experiment, tuned.checkpoint)["iris"]).double().softmax(1)
    predicted = model.predict(bench.raw["iris"], table="iris")
    held_out = Corpus.open(bench.corpus).load("iris").is_validation
    np.testing.assert_allclose(predicted.iloc[np.flatnonzero(held_out), 1:], expected, rtol=0, atol=1e-5)
    assert not predicted.equals(tabstar_lit.load(bench.checkpoint).predict(bench.raw["iris"], table="iris"))


def test_a_run_that_was_stopped_ends_as_one_that_was_not(bench: Bench, tuned: Tuned, tmp_path: Path) -> None:
    words = told(bench, tmp_path)
    with signal_in(TabstarModule, "training_step", signal.SIGINT, call=3):
        assert typed(*words).exit_code == 130
    done = typed(*words, "--resume")
    assert done.exit_code == 0, done.output
    ends = [torch.load(path, weights_only=True) for path in (tuned.checkpoint, next(tmp_path.rglob("run_last.ckpt")))]
    for key in ("state_dict", "optimizer_states", "lr_schedulers", "global_step", "tabstar_lit"):
        assert_equal(ends[0][key], ends[1][key], key)


def test_all_that_is_done_with_a_checkpoint_is_done_with_adapters(bench: Bench, tuned: Tuned, tmp_path: Path) -> None:
    table = tmp_path / "iris.csv"
    bench.raw["iris"].to_csv(table, index=False)
    whole = tmp_path / "whole.ckpt"
    for words in (
        ["predict", str(tuned.checkpoint), str(table), "--table", "iris", "-o", str(tmp_path / "p.parquet")],
        ["embed", str(tuned.checkpoint), str(table), "--table", "iris", "-o", str(tmp_path / "v.npz")],
        ["explain", str(tuned.checkpoint), str(table), "--table", "iris", "-o", str(tmp_path / "i.csv")],
        ["export", str(tuned.checkpoint), "-o", str(tmp_path / "m.safetensors")],
        ["export", str(tuned.checkpoint), "--checkpoint", "-o", str(whole)],
    ):
        done = CliRunner().invoke(main, words)
        assert done.exit_code == 0, done.output
    evaluated = typed(
        *tuned.told[:-1], "experiment_config.run_name=again", f"model_config.load_checkpoint={tuned.checkpoint}"
    )
    assert evaluated.exit_code == 0, evaluated.output
    again = tabstar_lit.load(whole).predict(table, table="iris")
    pd.testing.assert_frame_equal(again, pd.read_parquet(tmp_path / "p.parquet"))
    assert "lora" not in torch.load(whole, weights_only=True)["tabstar_lit"]["payload"]


def test_adapters_ask_for_the_model_they_belong_to(bench: Bench, tuned: Tuned, tmp_path: Path) -> None:
    base = Path(shutil.copyfile(bench.checkpoint, tmp_path / "base.ckpt"))
    lonely = tmp_path / "mine" / "adapters.ckpt"
    lonely.parent.mkdir()
    content = torch.load(tuned.checkpoint, weights_only=True)
    content["tabstar_lit"]["payload"]["base"] |= {"path": str(tmp_path / "gone" / base.name), "name": "gone.ckpt"}
    torch.save(content, lonely)
    with pytest.raises(CheckpointError, match=r"adapters only, and the model that they belong to is not at .*gone"):
        tabstar_lit.load(lonely)
    moved = Path(shutil.move(base, lonely.parent))
    tabstar_lit.load(lonely)
    other = torch.load(moved, weights_only=True)
    other["state_dict"]["network.cls_head.layers.2.bias"] += 1
    torch.save(other, moved)
    with pytest.raises(CheckpointError, match="the weights that are there now are others"):
        tabstar_lit.load(lonely)


def test_adapters_are_a_base_themselves(bench: Bench, tuned: Tuned, tmp_path: Path) -> None:
    done = typed(
        *told(bench, tmp_path, f"model_config.base={tuned.checkpoint}", f"{TRAINING}.optimizer.optimizer_params.lr=0")
    )
    assert done.exit_code == 0, done.output
    first, second = tabstar_lit.load(tuned.checkpoint), tabstar_lit.load(next(tmp_path.rglob("run_last.ckpt")))
    for name, weight in first.network.state_dict().items():
        assert torch.equal(weight, second.network.state_dict()[name]), name


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("model_config.architecture_config.d_model=64", r"d_model: 64 is asked for, and the base .* has None"),
        ("model_config.base=null", r"adapters need a trained model"),
        ("model_config.load_modules={cls_head: x.ckpt}", r"name it as model_config\.base"),
    ],
)
def test_what_does_not_go_with_the_base_is_refused(
    bench: Bench, tmp_path: Path, change: tuple[str, ...], words: str
) -> None:
    done = CliRunner().invoke(train_tabstar, [*told(bench, tmp_path, change), "--check"])
    assert done.exit_code == 2
    assert re.search(words, " ".join(done.stderr.split()))
