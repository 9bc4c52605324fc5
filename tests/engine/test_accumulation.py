"""Batches that are accumulated make the step of one large batch, also where rows have weights and batches differ."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader
from toy import ToyArchitecture, ToyModel, ToyModule, ToyNetwork
from toy_bench import Bench

from tabstar_lit.config.schema import TrainingConfig
from tabstar_lit.engine.module import StepOutput

SIZES = (7, 12, 5, 9, 1)
"""Rows of the batches of an epoch: with three of them to a step, the second step has two."""


class Weighted(ToyModule):
    """The toy's loss, as a mean over weighted rows."""

    def compute(self, batch: dict[str, Any]) -> StepOutput:
        errors = self.network(batch["x"]) - batch["y"]
        weights = batch["w"]
        loss = (weights * errors.square()).sum() / weights.sum()
        return StepOutput(loss, batch["source"], weights.sum())


def batches(weights: Tensor) -> list[dict[str, Any]]:
    """Return an epoch's batches, in double precision."""
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(sum(SIZES), 4, generator=generator, dtype=torch.float64)
    rows = zip(x.split(SIZES), x.sum(1).sin().split(SIZES), weights.split(SIZES), strict=True)
    return [{"source": "left", "x": x, "y": y, "w": w} for x, y, w in rows]


def joined(parts: list[dict[str, Any]]) -> dict[str, Any]:
    """Return one batch of the rows of several."""
    return {"source": "left"} | {key: torch.cat([part[key] for part in parts]) for key in ("x", "y", "w")}


def trained(epoch: list[dict[str, Any]], accumulate: int, by: str) -> dict[str, Tensor]:
    """Return the weights after four epochs."""
    torch.manual_seed(0)
    training = {
        "optimizer": {"optimizer_name": "SGD", "optimizer_params": {"lr": 0.1, "momentum": 0.9}},
        "accumulate_grad_batches": accumulate,
        "accumulate_by": by,
    }
    plain = ToyArchitecture(dropout=0)
    config = ToyModel(name="toy", architecture_config=plain, training_config=TrainingConfig(**training))
    module = Weighted(ToyNetwork(plain), config).double()
    trainer = pl.Trainer(
        max_epochs=4, accelerator="cpu", accumulate_grad_batches=accumulate, gradient_clip_val=0.5, logger=False,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(module, DataLoader(epoch, batch_size=None))
    assert trainer.global_step == 8
    return {name: value.clone() for name, value in module.network.state_dict().items()}


def apart(one: dict[str, Tensor], other: dict[str, Tensor]) -> float:
    return max(float((one[name] - other[name]).abs().max()) for name in other)


@pytest.mark.parametrize("kind", ["rows", "weights", "signed weights", "a batch without weight"])
def test_accumulated_batches_equal_the_large_batch(kind: str) -> None:
    weights = torch.ones(sum(SIZES), dtype=torch.float64)
    if kind != "rows":
        weights = torch.logspace(-2, 1, sum(SIZES), dtype=torch.float64).flip(0)
    if kind == "signed weights":
        weights[::4] *= -0.1
    if kind == "a batch without weight":
        weights[-1] = 1e-300
    small = batches(weights)
    large = trained([joined(small[:3]), joined(small[3:])], 1, "weight")
    assert apart(trained(small, 3, "weight"), large) < 1e-12
    assert apart(trained(small, 3, "batch"), large) > 1e-3, "the batches are too much alike to show anything"


def test_a_run_goes_on_as_it_was_begun(bench: Bench, make_bench: Callable[[str], Bench]) -> None:
    settings = ("dataset_config.batch_size=10", "model_config.training_config.accumulate_grad_batches=3")
    former = (*settings, "model_config.training_config.accumulate_by=batch")
    one_epoch = "model_config.training_config.max_epochs=1"
    run = bench.train(*former, one_epoch)
    content = bench.last()
    assert content["tabstar_lit"].pop("accumulate_by") == "batch"
    for path in run.checkpoints.iterdir():
        torch.save(content, path)  # as versions wrote it that knew no other way
    for epochs in (2, 3):
        bench.train(*settings, f"model_config.training_config.max_epochs={epochs}", resume=True)
    assert (run.root / "log.txt").read_text().count("UserWarning: The run was begun with accumulate_by: batch") == 2

    unbroken = make_bench("unbroken")
    unbroken.train(*former, "model_config.training_config.max_epochs=3")
    resumed, expected = bench.last()["state_dict"], unbroken.last()["state_dict"]
    assert all(torch.equal(resumed[name], expected[name]) for name in expected)
