"""The short way through a step is Lightning's: the same hooks in the same order, and the same checkpoints."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.plugins.precision import MixedPrecision
from lightning.pytorch.utilities.types import LRSchedulerConfig
from torch.optim.lr_scheduler import ReduceLROnPlateau
from toy_bench import Bench, metrics

from tabstar_lit.engine import loop, stages
from tabstar_lit.engine.lean import BATCH_HOOKS
from tabstar_lit.engine.loop import LeanEpochLoop, takes_short_way
from tabstar_lit.engine.module import TrainingModule

TRAINING = "model_config.training_config"


class Told(NamedTuple):
    """What a hook was called with, and what it could see."""

    hook: str
    what: tuple[Any, ...]
    seen: tuple[Any, ...]


class Listener(Callback):
    """Writes every call of a batch hook down, and logs a value in some; stops the training after some steps."""

    def __init__(self, stop_at: int | None = None) -> None:
        self.told: list[Told] = []
        self.stop_at = stop_at

    def _note(self, hook: str, trainer: Trainer, module: LightningModule, *what: Any) -> None:
        progress = trainer.fit_loop.epoch_loop.batch_progress.state_dict()
        gradients = [p.grad for p in module.parameters()]
        norm = sum(float(g.norm()) for g in gradients if g is not None)
        seen = trainer.global_step, trainer.current_epoch, trainer.is_last_batch, module._current_fx_name, norm
        self.told.append(Told(hook, tuple(map(readable, what)), (*seen, progress)))

    def on_train_batch_start(self, trainer: Trainer, module: LightningModule, batch: Any, batch_idx: int) -> None:
        self._note("start", trainer, module, batch, batch_idx)

    def on_before_zero_grad(self, trainer: Trainer, module: LightningModule, optimizer: Any) -> None:
        self._note("before zero_grad", trainer, module, optimizer)

    def on_before_backward(self, trainer: Trainer, module: LightningModule, loss: Any) -> None:
        self._note("before backward", trainer, module, loss)

    def on_after_backward(self, trainer: Trainer, module: LightningModule) -> None:
        self._note("after backward", trainer, module)

    def on_before_optimizer_step(self, trainer: Trainer, module: LightningModule, optimizer: Any) -> None:
        self._note("before step", trainer, module, optimizer)
        module.log("steps", float(trainer.global_step), on_step=True, on_epoch=True)

    def on_train_batch_end(
        self, trainer: Trainer, module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self._note("end", trainer, module, outputs, batch, batch_idx)
        module.log("batches", float(batch_idx), on_step=False, on_epoch=True)
        if trainer.global_step == self.stop_at:
            trainer.should_stop = True

    def on_train_epoch_end(self, trainer: Trainer, module: LightningModule) -> None:
        self._note("epoch end", trainer, module, dict(trainer.callback_metrics), dict(trainer.logged_metrics))


def readable(value: Any) -> Any:
    """Return what can be compared of an argument of a hook."""
    if isinstance(value, torch.Tensor):
        return value.detach().clone().tolist()
    if isinstance(value, dict):
        return {name: readable(item) for name, item in value.items()}
    return type(value).__name__ if isinstance(value, torch.optim.Optimizer) else value


def train(bench: Bench, monkeypatch: pytest.MonkeyPatch, *overrides: str, stop_at: int | None = None) -> Any:
    """Return what was told, the last checkpoint, and the log of a training."""
    listener, build = Listener(stop_at), stages.build_callbacks

    def with_listener(*args: Any, **kwargs: Any) -> list[Callback]:
        *others, checkpoints, interrupt = build(*args, **kwargs)
        return [*others, listener, checkpoints, interrupt]

    with monkeypatch.context() as patch:
        patch.setattr(stages, "build_callbacks", with_listener)
        bench.train(*overrides)
    return listener.told, bench.last(), metrics(bench.load_run())


@pytest.mark.parametrize(
    "overrides",
    [
        (),
        (f"{TRAINING}.accumulate_grad_batches=5",),
        (f"{TRAINING}.accumulate_grad_batches=3", f"{TRAINING}.accumulate_by=batch", f"{TRAINING}.max_steps=11"),
        (f"{TRAINING}.scheduler={{scheduler_name: CosineAnnealingLR}}", f"{TRAINING}.gradient_clip_val=0.1"),
        (
            f"{TRAINING}.scheduler={{scheduler_name: ReduceLROnPlateau, interval: epoch}}",
            "experiment_config.check_eval_n_epoch=2",
        ),
        ("experiment_config.precision=bf16-mixed",),
        ("experiment_config.precision=64-true",),
        (f"{TRAINING}.optimizer={{optimizer_name: SGD, optimizer_params: {{lr: 1e-2, momentum: 0.9}}}}",),
        ("model_config.architecture_config.poison_step=4", f"{TRAINING}.non_finite={{policy: skip, budget: 2}}"),
        (f"{TRAINING}.scheduler={{scheduler_name: StepLR, interval: epoch, scheduler_params: {{step_size: 1}}}}",),
        ("stop at 7",),
    ],
    ids=[
        "plain",
        "accumulated",
        "max steps",
        "cosine",
        "plateau",
        "bf16",
        "double",
        "sgd",
        "skipped",
        "epochs",
        "stopped",
    ],
)
def test_a_training_is_lightnings(
    make_bench: Callable[[str], Bench], monkeypatch: pytest.MonkeyPatch, overrides: tuple[str, ...]
) -> None:
    stop_at = 7 if overrides == ("stop at 7",) else None
    given = () if stop_at else overrides
    told, last, log = train(make_bench("short"), monkeypatch, *given, stop_at=stop_at)
    monkeypatch.setattr(loop, "takes_short_way", lambda trainer: False)
    told_long, last_long, log_long = train(make_bench("long"), monkeypatch, *given, stop_at=stop_at)
    names = [call.hook for call in told]
    assert names == [call.hook for call in told_long]
    assert {"start", "before zero_grad", "before backward", "after backward", "before step", "end"} <= set(names)
    for call, call_long in zip(told, told_long, strict=True):
        assert repr(call) == repr(call_long)  # as text, in which NaN equals itself
    for key in ("loops", "optimizer_states", "lr_schedulers", "state_dict", "callbacks", "global_step"):
        assert repr(last[key]) == repr(last_long[key]), key
    assert repr(log) == repr(log_long)


def test_the_short_way_is_the_one_of_a_single_device(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    advance: Callable[..., None] = loop._TrainingEpochLoop.advance
    long: list[int] = []

    def counted(epoch_loop: Any, *args: Any) -> None:
        long.append(1)
        advance(epoch_loop, *args)

    monkeypatch.setattr(loop._TrainingEpochLoop, "advance", counted)
    bench.train(f"{TRAINING}.max_epochs=1")
    assert not long
    monkeypatch.setattr(loop, "takes_short_way", lambda trainer: False)
    bench.train(f"{TRAINING}.max_epochs=1", "experiment_config.run_name=long")
    assert len(long) == 24


def test_a_hook_that_nobody_has_is_not_called(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    devices: list[loop.OneDevice] = []
    make = loop.OneDevice
    monkeypatch.setattr(loop, "OneDevice", lambda trainer: devices.append(make(trainer)) or devices[-1])
    bench.train(f"{TRAINING}.max_epochs=1")
    counts = {hook: len(devices[0].hooks[hook]) for hook in BATCH_HOOKS}
    assert counts["on_before_zero_grad"] == counts["on_before_backward"] == counts["on_after_backward"] == 0
    assert (counts["on_train_batch_start"], counts["on_before_optimizer_step"]) == (1, 1)


class Module(LightningModule):
    """One that does nothing."""


class StartsBatches(LightningModule):
    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Be asked."""


class Manual(LightningModule):
    automatic_optimization = False


class StepsItself(LightningModule):
    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """Be asked."""


@pytest.mark.parametrize(
    ("module", "options", "short"),
    [
        (Module, {}, True),
        (StartsBatches, {}, False),
        (StepsItself, {}, False),
        (Manual, {}, False),
        (Module, {"strategy": "ddp"}, False),
        (Module, {"plugins": MixedPrecision("16-mixed", "cpu", torch.amp.GradScaler("cpu"))}, False),
        (Module, {"precision": "bf16-mixed"}, True),
    ],
    ids=["plain", "starts batches", "steps itself", "manual", "several processes", "scaled", "half"],
)
def test_who_takes_the_short_way(module: type[LightningModule], options: dict[str, Any], short: bool) -> None:
    trainer = Trainer(accelerator="cpu", devices=1, logger=False, enable_checkpointing=False, **options)
    trainer.strategy._lightning_module = module()
    trainer.val_check_batch = trainer.fit_loop.max_batches = 8
    assert takes_short_way(trainer) is short
    trainer.val_check_batch = 4  # validates in the middle of an epoch
    assert not takes_short_way(trainer)


def test_a_schedule_that_waits_for_a_metric_within_epochs_is_lightnings() -> None:
    trainer = Trainer(accelerator="cpu", devices=1, logger=False, enable_checkpointing=False)
    trainer.strategy._lightning_module = Module()
    trainer.val_check_batch = trainer.fit_loop.max_batches = 8
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
    plateau = LRSchedulerConfig(ReduceLROnPlateau(optimizer), reduce_on_plateau=True, monitor="loss")
    trainer.strategy.lr_scheduler_configs = [plateau]
    assert not takes_short_way(trainer)


def test_the_loop_keeps_its_limits(bench: Bench) -> None:
    trainer = Trainer(accelerator="cpu", max_steps=5, min_steps=3, logger=False, enable_checkpointing=False)
    loop.set_lean_loop(trainer)
    epoch_loop = trainer.fit_loop.epoch_loop
    assert isinstance(epoch_loop, LeanEpochLoop)
    assert (epoch_loop.min_steps, epoch_loop.max_steps) == (3, 5)
    assert trainer.max_steps == 5


def test_gradients_of_a_step_are_let_go_with_its_graph(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a step leaves to the hooks at its end holds no graph, whose activations would stay in memory."""
    kept: list[Any] = []
    monkeypatch.setattr(TrainingModule, "on_train_batch_end", lambda self, outputs, *_: kept.append(outputs))
    bench.train(f"{TRAINING}.max_steps=2")
    assert [output["loss"].requires_grad for output in kept] == [False, False]
