"""Strings of a window are encoded once, and its batches leave the gradients that they leave one by one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from benchmarks.loops import experiment, train
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from tabstar_lit.data.plans import RowBatch
from tabstar_lit.engine.stages import Parts, build_parts
from tabstar_lit.errors import ConfigError
from tabstar_lit.families.tabstar.batch import WindowPlace
from tabstar_lit.families.tabstar.data import TabstarData
from tabstar_lit.families.tabstar.family import family
from tabstar_lit.families.tabstar.module import TabstarModule
from tabstar_lit.families.tabstar.network import TabStarNetwork
from tabstar_lit.families.tabstar.table_plan import TablePlan, WindowRows
from tabstar_lit.families.tabstar.tables.builtin import ensure_builtin
from tabstar_lit.families.tabstar.text_window import SharedVectors

WINDOW = 4


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return ensure_builtin(tmp_path_factory.mktemp("corpus") / "builtin.h5")


def settings(corpus: Path, *more: str) -> list[str]:
    """Return a small network whose text encoder is trained, without dropout."""
    return [
        "model_config=tabstar/tiny",
        "model_config.architecture_config.dropout=0",
        "model_config.architecture_config.text_encoder={name: random, unfreeze_layers: 1, dropout: 0}",
        f"model_config.training_config.accumulate_grad_batches={WINDOW}",
        f"dataset_config={{corpus: {corpus}, batch_size: 5, rows_per_dataset: 27, window: {WINDOW}}}",
        "dataset_config.tables=[wine, diabetes]",
        "experiment_config.tracker=none",
        *more,
    ]


@pytest.fixture
def parts(corpus: Path, tmp_path: Path) -> Parts:
    return build_parts(family, *experiment(family, tmp_path, "window", settings(corpus)), seed=0)


def keys_of(data: Any) -> list[RowBatch | WindowRows]:
    """Return the batches of an epoch, as one process is dealt them."""
    plan = cast(TabstarData, data).train_plan()
    return list(plan.dealt(plan.batches(0)))


def gradients(parts: Parts, keys: list[Any]) -> dict[str, Tensor]:
    """Return the gradients of the mean loss over batches, one backward pass after another."""
    module, dataset = cast(TabstarModule, parts.module).train(), cast(TabstarData, parts.data).train_dataset()
    module.zero_grad()
    for key in keys:
        batch = dataset[key]
        double = batch._each(lambda tensor: tensor.double() if tensor.is_floating_point() else tensor)
        (module.compute(double).loss / len(keys)).backward()
    return {name: p.grad.clone() for name, p in module.named_parameters() if p.grad is not None}


def calls(parts: Parts) -> Iterator[int]:
    """Yield how often the text encoder has been asked so far."""
    asked: list[None] = []
    cast(TabStarNetwork, parts.module.network).text_encoder.register_forward_hook(lambda *_: asked.append(None))
    while True:
        yield len(asked)


def test_gradients_are_those_of_the_batches_one_by_one(parts: Parts) -> None:
    parts.module.double()
    keys = keys_of(parts.data)
    assert sum(isinstance(key, WindowRows) for key in keys) >= 2 * WINDOW
    counted = calls(parts)
    next(counted)
    windowed = gradients(parts, keys)
    once = next(counted)
    plain = gradients(parts, [RowBatch(key.source, key.rows) for key in keys])
    assert (once, next(counted) - once) == (sum(not isinstance(k, WindowRows) or k.is_first for k in keys), len(keys))
    assert windowed.keys() == plain.keys()
    trained = [name for name in plain if "text_encoder.encoder.layer.1" in name]
    assert max(float(plain[name].abs().max()) for name in trained) > 1e-4
    assert max(float((windowed[name] - plain[name]).abs().max()) for name in plain) < 1e-12


def test_half_precision_casts_weights_of_a_window_with_its_first_batch(parts: Parts) -> None:
    keys = keys_of(parts.data)[:WINDOW]
    dataset, module = cast(TabstarData, parts.data).train_dataset(), parts.module.train()
    found = []
    for own in (keys, [RowBatch(key.source, key.rows) for key in keys]):
        module.zero_grad()
        for key in own:
            with torch.autocast("cpu", dtype=torch.bfloat16):
                loss = module.compute(dataset[key]).loss
            loss.backward()
        found.append([p.grad.flatten() for p in module.parameters() if p.grad is not None])
    windowed, plain = (torch.cat(gradient) for gradient in found)
    assert (windowed - plain).norm() < 0.02 * plain.norm()


class Weights(Callback):
    """Keep the weights with which a training ends."""

    def on_train_end(self, trainer: Trainer, module: LightningModule) -> None:
        """Keep them."""
        self.kept = {name: value.clone() for name, value in module.state_dict().items()}


def trained(corpus: Path, by: str) -> dict[str, Tensor]:
    """Return the weights after a training of some epochs in double precision."""
    weights = Weights()
    more = ("experiment_config.precision=64-true", f"model_config.training_config.accumulate_by={by}")
    train(family, settings(corpus, *more, "model_config.training_config.max_epochs=2"), weights, warm=False)
    return weights.kept


@pytest.mark.parametrize("by", ["batch", "weight"])
def test_a_training_with_windows_ends_where_one_without_them_does(
    corpus: Path, by: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    windowed = trained(corpus, by)
    monkeypatch.setattr(TablePlan, "dealt", lambda plan, keys: keys)
    plain = trained(corpus, by)
    assert max(float((windowed[name] - plain[name]).abs().max()) for name in plain) < 1e-10


def test_a_window_must_end_where_a_step_does(corpus: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"window=3.: 3 does not divide the batches of a step, 4"):
        experiment(family, tmp_path, "refused", settings(corpus, "dataset_config.window=3"))


def test_a_window_that_did_not_begin_is_told() -> None:
    with pytest.raises(RuntimeError, match="whose first batch did not come"):
        SharedVectors().of(WindowPlace(is_first=False, is_last=True), None)
