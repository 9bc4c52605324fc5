"""The mean of the best weights: as torch averages them, and taken only where it is better."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
from ddp_run import launch
from torch.optim.swa_utils import AveragedModel
from toy_bench import Bench, load_checkpoint

from tabstar_lit.engine.averaging import mean_of
from tabstar_lit.errors import ConfigError

TRAINING = "model_config.training_config"
FOUR = (f"{TRAINING}.max_epochs=4", f"{TRAINING}.save_top_k=3")


def stage_of(bench: Bench) -> dict[str, Any]:
    (stage,) = bench.load_run().record()["stages"].values()
    return dict(stage)


def test_the_mean_is_that_of_torch(bench: Bench) -> None:
    bench.train(*FOUR)
    folder = bench.folder / "models/toys/toy"
    paths = sorted(path for path in folder.iterdir() if "epoch=" in path.name)
    network = bench.module.network
    average: AveragedModel | None = None
    for path in paths:
        weights = load_checkpoint(path)["state_dict"]
        network.load_state_dict({name.removeprefix("network."): weight for name, weight in weights.items()})
        average = AveragedModel(network) if average is None else average
        average.update_parameters(network)
    assert average is not None
    content = mean_of(paths)
    for name, weight in average.module.state_dict().items():
        torch.testing.assert_close(content["state_dict"][f"network.{name}"], weight)
    assert set(content) == {"state_dict", "tabstar_lit"}


@pytest.mark.parametrize("better", [True, False])
def test_the_mean_is_taken_where_it_is_better(
    bench: Bench, better: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def instead(paths: Any) -> Any:
        """Go on from the worst to the best and beyond, where a slow training would go too, or back."""
        best, *_, worst = (load_checkpoint(path) for path in paths)
        step = {name: weight - worst["state_dict"][name] for name, weight in best["state_dict"].items()}
        factor = 1 if better else -1
        weights = {name: weight + factor * step[name] for name, weight in best["state_dict"].items()}
        return {"state_dict": weights, "tabstar_lit": best["tabstar_lit"]}

    monkeypatch.setattr("tabstar_lit.engine.averaging.mean_of", instead)
    bench.train(*FOUR, f"{TRAINING}.average_best=3", f"{TRAINING}.optimizer.optimizer_params.lr=1e-3")
    stage, folder = stage_of(bench), bench.folder / "models/toys/toy"
    taken = (folder / "toy_averaged.ckpt").exists()
    said = re.search(r"has val_loss ([\d.]+), the best of them ([\d.]+): (taken|not taken)", capsys.readouterr().err)
    assert said is not None
    assert taken == (said[3] == "taken") == (float(said[1]) < float(said[2])) == better
    assert stage["best_checkpoint"].endswith("_averaged.ckpt") == taken
    assert stage["best_score"] == pytest.approx(min(float(said[1]), float(said[2])), abs=1e-4)
    assert ("mean of the weights of epochs" in (bench.load_run().root / "report.md").read_text()) == taken


def test_a_mean_of_what_is_not_kept_is_refused(bench: Bench) -> None:
    with pytest.raises(ConfigError, match="3 checkpoints are averaged, and save_top_k keeps 1"):
        bench.train(f"{TRAINING}.average_best=3")
    with pytest.raises(ConfigError, match="gives no train_loss"):
        bench.train(f"{TRAINING}.average_best=2", f"{TRAINING}.save_top_k=2", f"{TRAINING}.monitor=train_loss")


def test_two_processes_take_the_mean_that_one_takes(make_bench: Callable[[str], Bench]) -> None:
    """One writes it and both judge it, in the same words and on the same rows."""
    one, two = make_bench("one"), make_bench("two")
    averaged = (*FOUR, f"{TRAINING}.average_best=3")
    launch(one, *averaged, f"{TRAINING}.accumulate_grad_batches=2")
    launch(two, *averaged, "experiment_config.devices=2", "experiment_config.strategy=ddp")
    alone, together = stage_of(one), stage_of(two)
    assert together["best_checkpoint"] == alone["best_checkpoint"]
    assert together["averaged_epochs"] == alone["averaged_epochs"]
    assert together["best_score"] == pytest.approx(alone["best_score"], abs=1e-5)
