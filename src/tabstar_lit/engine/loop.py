"""An epoch of training on one device: each step of Lightning's, without the detours to those who have nothing to say.

Where one device trains in one process, a step is short to tell: :meth:`LeanEpochLoop.advance` and
:meth:`OneDevice.optimize` tell it. Hooks are called in Lightning's order, and its counters count as they would, so that
checkpoints are the same. Several processes, scaled losses, and the batch after a restart take Lightning's own way.

It gains what ``python -m benchmarks.lean`` prints for ``LeanEpochLoop``: 264 µs of steps of 1.1 ms on a slow core, with
Lightning 2.6. This can go when Lightning's own loop takes no longer.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, cast

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.loops.fetchers import _DataFetcher
from lightning.pytorch.loops.training_epoch_loop import _TrainingEpochLoop
from lightning.pytorch.strategies import SingleDeviceStrategy
from torch import Tensor
from torch.optim import Optimizer

from tabstar_lit.engine.lean import BATCH_HOOKS, lean_loop, without_idle_hooks

Hook = Callable[..., Any]


class LeanEpochLoop(_TrainingEpochLoop):
    """Lightning's loop over the batches of an epoch, with a shorter way through those of one device."""

    one_device: OneDevice | None = None

    def on_run_start(self, data_fetcher: _DataFetcher) -> None:
        """Begin the epoch; who is called in its steps is settled from here on."""
        super().on_run_start(data_fetcher)
        self.one_device = OneDevice(self.trainer) if takes_short_way(self.trainer) else None

    def advance(self, data_fetcher: _DataFetcher) -> None:
        """Train on the next batch."""
        device = self.one_device
        if device is None or self.restarting:
            super().advance(data_fetcher)
            return
        batch, _, _ = next(data_fetcher)
        number, progress = self.batch_idx + 1, self.batch_progress
        progress.is_last_batch = data_fetcher.done
        batch = device.takes(batch)

        progress.increment_ready()
        self._begin_results(batch)
        device.call("on_train_batch_start", batch, number)
        progress.increment_started()
        outputs = device.optimize(batch, number)
        progress.increment_processed()
        if self.trainer.lr_scheduler_configs:
            self.update_lr_schedulers("step", update_plateau_schedulers=False)
            if self._num_ready_batches_reached():
                self.update_lr_schedulers("epoch", update_plateau_schedulers=False)
        device.call("on_train_batch_end", outputs, batch, number)
        self._end_results()
        device.attributes["_current_fx_name"] = None

    def on_advance_end(self, data_fetcher: _DataFetcher) -> None:
        """Validate where that is due, which within an epoch it is not."""
        stops = self.trainer.should_stop or self.trainer.received_sigterm
        if self.one_device is None or self._num_ready_batches_reached() or stops or self._skip_next_val:
            super().on_advance_end(data_fetcher)
        elif not self._should_accumulate():
            self._batches_that_stepped += 1

    def _begin_results(self, batch: Any) -> None:
        """Let values that a hook logs know the batch they are of."""
        connector = self.trainer._logger_connector
        connector._first_loop_iter = connector._first_loop_iter is None
        self._results.batch, self._results.batch_size, self._results.dataloader_idx = batch, None, None

    def _end_results(self) -> None:
        """Count the batch, and send on what its hooks have logged for the step."""
        logged = any(metric.meta.on_step for metric in self._results.values())
        if logged:
            self.trainer._logger_connector.on_batch_end()
        self._results.batch = None
        self.batch_progress.increment_completed()
        if logged:
            self.trainer._logger_connector.update_train_step_metrics()


def set_lean_loop(trainer: Trainer) -> None:
    """Let a trainer go through its epochs by :class:`LeanEpochLoop`, and where that cannot, with what it can spare."""
    theirs = trainer.fit_loop.epoch_loop
    trainer.fit_loop.epoch_loop = LeanEpochLoop(trainer, min_steps=theirs.min_steps, max_steps=theirs.max_steps)
    lean_loop(trainer)


class OneDevice:
    """The steps of an epoch on one device.

    Parameters
    ----------
    trainer : Trainer
        Whose module, optimizer and callbacks they are; all of them stay the same for the epoch.
    """

    def __init__(self, trainer: Trainer) -> None:
        self.loop, self.strategy = trainer.fit_loop.epoch_loop, trainer.strategy
        self.precision = trainer.precision_plugin
        self.module: LightningModule = trainer.lightning_module
        self.attributes = vars(self.module)
        self.optimizer: Optimizer = trainer.optimizers[0]
        self.epoch, self.batches = trainer.current_epoch, trainer.accumulate_grad_batches
        self.clip: dict[str, Any] = {
            "gradient_clip_val": trainer.gradient_clip_val,
            "gradient_clip_algorithm": trainer.gradient_clip_algorithm,
        }
        self.progress = self.loop.automatic_optimization.optim_progress.optimizer
        self.hooks = {name: called_at(name, trainer) for name in BATCH_HOOKS}

    def call(self, hook: str, *args: Any) -> None:
        """Call those who do something at this point of a step; what they log is logged under its name."""
        self.attributes["_current_fx_name"] = hook
        for called in self.hooks[hook]:
            called(*args)

    def takes(self, batch: Any) -> Any:
        """Return the batch in the precision and on the device of the module."""
        batch = self.module._on_before_batch_transfer(self.precision.convert_input(batch), dataloader_idx=0)
        return self.strategy.batch_to_device(batch, dataloader_idx=0)

    def optimize(self, batch: Any, number: int) -> dict[str, Any]:
        """Compute the gradients of a batch and, where they are all there, step; returns what the module put out."""
        outputs: dict[str, Any] = {}
        if self.loop._should_accumulate():
            self._differentiate(batch, number, outputs)
            return outputs
        self.progress.step.increment_ready()
        self.optimizer.step(partial(self._before_step, batch, number, outputs))  # type: ignore[arg-type]  # a closure
        self.progress.step.increment_completed()
        return outputs

    def _before_step(self, batch: Any, number: int, outputs: dict[str, Any]) -> Tensor:
        loss = self._differentiate(batch, number, outputs)
        self.call("on_before_optimizer_step", self.optimizer)
        self.module.configure_gradient_clipping(self.optimizer, **self.clip)
        return loss

    def _differentiate(self, batch: Any, number: int, outputs: dict[str, Any]) -> Tensor:
        """Add the gradients of a batch to those of the step, which its first batch clears; returns the loss."""
        if number % self.batches == 0:
            self._clear(number)
        self.attributes["_current_fx_name"] = "training_step"
        with self.precision.train_step_context():
            computed = cast(dict[str, Any], self.module.training_step(batch, number))
        loss: Tensor = computed["loss"] / self.batches if self.batches > 1 else computed["loss"]
        self.call("on_before_backward", loss)
        self.module.backward(loss)
        self.call("on_after_backward")
        value = loss.detach()  # without the graph, whose tensors would stay until the end of the step
        outputs.update(computed, loss=value)
        return value

    def _clear(self, number: int) -> None:
        """Free the gradients of the step before; the activations of this one take their place."""
        clearing = self.progress.zero_grad
        clearing.increment_ready()
        self.call("on_before_zero_grad", self.optimizer)
        clearing.increment_started()
        self.module.optimizer_zero_grad(self.epoch, number, self.optimizer)
        clearing.increment_completed()


def called_at(hook: str, trainer: Trainer) -> list[Hook]:
    """Return those who do something at a point of each step, in Lightning's order: the callbacks and the module."""
    module = without_idle_hooks(trainer.lightning_module)
    callbacks = [without_idle_hooks(callback) for callback in trainer.callbacks]  # type: ignore[attr-defined]  # set by a connector
    called: list[Hook] = [
        partial(getattr(callback, hook), trainer, module) for callback in callbacks if getattr(callback, hook)
    ]
    own: Hook | None = getattr(module, hook)
    return called if own is None else [*called, own]


def takes_short_way(trainer: Trainer) -> bool:
    """Tell whether steps are those of one process that neither scales losses nor validates within epochs."""
    module = trainer.lightning_module
    return (
        type(trainer.strategy) is SingleDeviceStrategy
        and module.automatic_optimization
        and not any(config.reduce_on_plateau for config in trainer.lr_scheduler_configs)
        and getattr(trainer.precision_plugin, "scaler", None) is None
        and trainer.val_check_batch in (trainer.num_training_batches, float("inf"))
        and type(module).on_train_batch_start is LightningModule.on_train_batch_start  # -1 from it would end the epoch
        and type(module).optimizer_step is LightningModule.optimizer_step
    )
