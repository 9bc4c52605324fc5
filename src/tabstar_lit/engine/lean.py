"""What a step leaves out of Lightning's loop to be fast.

On one device ``engine/loop.py`` goes a way of its own; these measures are for all others. These two files and
``engine/optim/fused.py`` are what leans on private names of Lightning and torch for speed.
Each measure says what it gains in a step, for which version it was needed, and when it can go. The gains are those that
``python -m benchmarks.lean`` prints for steps of 0.6 ms (one core of a server, Lightning 2.6.6 and torch 2.13): run it
again when either moves to another version.
"""

from __future__ import annotations

import gc
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, TypeVar

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loops.optimization.automatic import Closure, ClosureResult, _AutomaticOptimization
from lightning.pytorch.profilers import PassThroughProfiler
from torch import Tensor
from torch.optim import Optimizer

BATCH_HOOKS = (
    "on_train_batch_start",
    "on_train_batch_end",
    "on_before_zero_grad",
    "on_before_backward",
    "on_after_backward",
    "on_before_optimizer_step",
)
"""What Lightning calls on the module and on every callback in every step."""

H = TypeVar("H", Callback, LightningModule)


def without_idle_hooks(owner: H) -> H:
    """Hide the batch hooks that ``owner`` inherits and that do nothing: some fifty calls a step are saved.

    Gains 32 µs. Lightning 2.6 leaves out hooks that cannot be called, and calls all others. This can go when it leaves
    out those that nobody overrides.
    """
    base = Callback if isinstance(owner, Callback) else LightningModule
    for hook in BATCH_HOOKS:
        if getattr(type(owner), hook) is getattr(base, hook):
            setattr(owner, hook, None)
    return owner


class NoProfiler(PassThroughProfiler):
    """Profile nothing at no cost.

    Gains 14 µs. Lightning 2.6 makes a generator and a context around every hook of every callback, with its own
    profiler of nothing, too. This can go when that one costs nothing.
    """

    _nothing = nullcontext()

    def profile(self, action_name: str) -> AbstractContextManager[None]:  # type: ignore[override]  # cheaper than theirs
        """Return a context that does nothing."""
        return self._nothing


@contextmanager
def spared_by_the_collector() -> Iterator[None]:
    """Let Python's garbage collector pass over all objects that are there already, while this lasts.

    Most are those of imported packages, 800,000 of them. A full collection, of which a training sees one every few
    hundred steps, takes 0.5 s for them on a slow core, and finds nothing.
    """
    if gc.get_freeze_count():  # somebody else's, who gives them back
        yield
        return
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def lean_loop(trainer: Trainer) -> None:
    """Spare the loop of a trainer what is the same for every batch, and what keeps gradients too long.

    Lightning 2.6 looks up the signature of ``training_step`` for each batch, 54 µs by itself on a busy machine. This
    can go when it does so once.
    """
    trainer.fit_loop.epoch_loop._build_kwargs = _batch_and_number  # type: ignore[method-assign]  # the same arguments
    clear_gradients_first(trainer.fit_loop.epoch_loop.automatic_optimization)


def clear_gradients_first(loop: _AutomaticOptimization) -> None:
    """Free the gradients of a step before the next forward pass, whose activations take their place.

    Lightning 2.6 frees them after it, so that both are in memory. Gains the memory of the gradients, and 0.3 % of a
    step of four layers of 256. This can go when Lightning frees them before.
    """

    def make_closure(kwargs: OrderedDict[str, Any], optimizer: Optimizer, batch_idx: int) -> Closure:
        clear, step = loop._make_zero_grad_fn(batch_idx, optimizer), loop._make_step_fn(kwargs)

        def clear_and_step() -> ClosureResult:
            if clear is not None:
                clear()
            return step()

        return Closure(clear_and_step, loop._make_backward_fn(optimizer))

    loop._make_closure = make_closure  # type: ignore[method-assign]  # as its own, in another order


def _batch_and_number(kwargs: OrderedDict[str, Any], batch: Any, batch_idx: int) -> OrderedDict[str, Any]:
    kwargs["batch"], kwargs["batch_idx"] = batch, batch_idx
    return kwargs


class LeanModule(LightningModule):
    """A module around which Lightning does less in every step.

    Attributes
    ----------
    batches_in_place : bool
        Whether the loader makes batches on the device that trains, so that none is moved there.
    """

    batches_in_place = False

    def __setattr__(self, name: str, value: Any) -> None:
        """Set an attribute.

        Gains 34 µs. Lightning 2.6 notes the hook under way some thirty times a step, for which torch looks each time
        whether it is a parameter, a buffer or a module. This can go when Lightning keeps the note elsewhere.
        """
        if name == "_current_fx_name":
            self.__dict__[name] = value
        else:
            super().__setattr__(name, value)

    def _on_before_batch_transfer(self, batch: Any, dataloader_idx: int = 0) -> Any:
        """Return the batch; where loaders make it on the device that trains, hooks around a transfer do nothing.

        Gains 60 µs. Lightning 2.6 looks up who overrides each of three hooks, for every batch. This and the next method
        can go when it does so once.
        """
        in_place = self.batches_in_place or self.device.type == "cpu"
        return batch if in_place else super()._on_before_batch_transfer(batch, dataloader_idx)

    def _apply_batch_transfer_handler(
        self, batch: Any, device: torch.device | None = None, dataloader_idx: int = 0
    ) -> Any:
        if self.batches_in_place or (device or self.device).type == "cpu":
            return batch
        return super()._apply_batch_transfer_handler(batch, device, dataloader_idx)


def gradient_norm(gradients: list[Tensor]) -> Tensor:
    """Return the Euclidean norm of all ``gradients`` together, a scalar; 0 for none.

    Gains 19 µs. Equal to :func:`torch.nn.utils.get_total_norm`, where torch 2.13 first sorts gradients by device
    and type, and here all are alike. This can go when torch's takes no longer.
    """
    if not gradients:
        return torch.zeros(())
    norm: Tensor = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients)))
    return norm
