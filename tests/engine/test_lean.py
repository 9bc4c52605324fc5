"""What the engine leaves out of a step to be fast, and that nothing that matters is left out with it."""

from __future__ import annotations

import gc
from collections import OrderedDict
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.plugins.precision import MixedPrecision
from torch import nn
from toy_bench import Bench

from tabstar_lit.engine import stages
from tabstar_lit.engine import trainer as trainers
from tabstar_lit.engine.lean import (
    BATCH_HOOKS,
    LeanModule,
    NoProfiler,
    gradient_norm,
    lean_loop,
    spared_by_the_collector,
    without_idle_hooks,
)
from tabstar_lit.engine.module import TrainingModule


def test_the_gradient_norm_is_torchs() -> None:
    gradients = [torch.randn(7, 5), torch.randn(3), torch.tensor(2.0)]
    torch.testing.assert_close(gradient_norm(gradients), torch.nn.utils.get_total_norm(gradients), rtol=0, atol=0)
    assert float(gradient_norm([])) == 0.0


def test_hooks_that_do_something_are_called_and_idle_ones_are_not(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Watcher(Callback):
        steps = 0

        def on_before_optimizer_step(self, trainer: Trainer, module: LightningModule, optimizer: Any) -> None:
            self.steps += 1

    watcher, build = Watcher(), stages.build_callbacks
    monkeypatch.setattr(stages, "build_callbacks", lambda *a, **k: [*build(*a, **k), watcher])
    bench.train("model_config.training_config.max_steps=5")
    assert watcher.steps == 5
    assert [hook for hook in BATCH_HOOKS if getattr(watcher, hook) is not None] == ["on_before_optimizer_step"]


def test_a_step_gets_its_batch_and_number_as_from_lightning(bench: Bench) -> None:
    bench.train("model_config.training_config.max_steps=1")
    loop = Trainer(logger=False, enable_checkpointing=False, accelerator="cpu").fit_loop.epoch_loop
    loop.trainer.strategy._lightning_module = bench.module
    plain = loop._build_kwargs(OrderedDict(), "batch", 3)
    lean_loop(loop.trainer)
    assert loop._build_kwargs(OrderedDict(), "batch", 3) == plain == {"batch": "batch", "batch_idx": 3}
    assert list(plain) == ["batch", "batch_idx"]


@pytest.mark.parametrize("batches_a_step", [1, 3])
def test_gradients_of_a_step_are_gone_before_the_next_forward_pass(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, batches_a_step: int
) -> None:
    found: list[bool] = []
    step = TrainingModule.training_step

    def watched(module: TrainingModule, batch: Any, batch_idx: int) -> dict[str, Any]:
        found.append(any(p.grad is not None for p in module.parameters()))
        return step(module, batch, batch_idx)

    monkeypatch.setattr(TrainingModule, "training_step", watched)
    training = "model_config.training_config"
    bench.train(f"{training}.max_steps=2", f"{training}.accumulate_grad_batches={batches_a_step}")
    assert found == 2 * [False, *[True] * (batches_a_step - 1)]


def test_a_class_keeps_its_hooks_for_others() -> None:
    without_idle_hooks(Callback())
    assert callable(Callback().on_train_batch_end)


def test_the_module_keeps_the_hooks_it_overrides() -> None:
    class Counting(LightningModule):
        def on_before_zero_grad(self, optimizer: Any) -> None:
            raise AssertionError

    lean = without_idle_hooks(Counting())
    assert [hook for hook in BATCH_HOOKS if getattr(lean, hook) is not None] == ["on_before_zero_grad"]


def test_batches_leave_the_cpu_where_the_module_is_elsewhere(bench: Bench) -> None:
    bench.train("model_config.training_config.max_steps=1")
    module, batch = bench.module, torch.ones(3)
    assert module._apply_batch_transfer_handler(batch) is batch
    assert module._on_before_batch_transfer(batch) is batch
    assert module._apply_batch_transfer_handler(batch, torch.device("meta")).device.type == "meta"


def test_a_module_keeps_parameters_buffers_and_modules_as_torch_does() -> None:
    lean, plain = LeanModule(), LightningModule()
    for module in (lean, plain):
        module.weight, module.part, module._current_fx_name = (
            nn.Parameter(torch.ones(2)),
            nn.Identity(),
            "training_step",
        )
        assert module._current_fx_name == "training_step"
    assert vars(lean).keys() == vars(plain).keys()
    assert (list(lean._parameters), list(lean._modules)) == (["weight"], ["part"])


def test_the_collector_passes_over_what_was_there_before_a_training(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts: list[int] = []
    monkeypatch.setattr(gc, "get_freeze_count", lambda: 0)  # pytest may have frozen some itself
    monkeypatch.setattr(gc, "freeze", lambda: counts.append(1))
    monkeypatch.setattr(gc, "unfreeze", lambda: counts.append(-1))
    monkeypatch.setattr(TrainingModule, "on_train_end", lambda self: counts.append(0))
    bench.train("model_config.training_config.max_steps=1")
    assert counts == [1, 0, -1]
    with pytest.raises(KeyError), spared_by_the_collector():
        raise KeyError
    assert counts[3:] == [1, -1]
    monkeypatch.setattr(gc, "get_freeze_count", lambda: 5)
    with spared_by_the_collector():
        assert len(counts) == 5


def test_nothing_is_profiled() -> None:
    with NoProfiler().profile("anything") as nothing:
        assert nothing is None


def test_gradients_are_clipped_after_the_scale_of_the_loss_is_undone(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = trainers.trainer_options

    def with_loss_scaler(*args: Any, **kwargs: Any) -> dict[str, Any]:
        given = options(*args, **kwargs)  # by itself, Lightning scales losses on accelerators only
        plugin = MixedPrecision("16-mixed", "cpu", torch.amp.GradScaler("cpu", init_scale=8.0))
        return given | {"precision": None, "plugins": [*given["plugins"], plugin]}

    monkeypatch.setattr(trainers, "trainer_options", with_loss_scaler)
    training = "model_config.training_config"
    bench.train(f"{training}.max_steps=1", f"{training}.gradient_clip_val=0.001")
    gradients = [p.grad for p in bench.module.parameters() if p.grad is not None]
    assert float(torch.nn.utils.get_total_norm(gradients)) == pytest.approx(0.001, rel=1e-3)
