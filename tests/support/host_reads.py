"""Counts what makes the host wait for a device, in the training steps of a run."""

from __future__ import annotations

import traceback
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

WAITING_OPERATORS = ("_local_scalar_dense", "nonzero", "masked_select", "_unique2", "unique_dim")
"""Operators whose result, or the size of whose result, the host has to know."""

WAITING_METHODS = ("item", "tolist", "cpu", "numpy", "__float__", "__int__", "__bool__", "__index__")


def place() -> str:
    """Return the last line of the program on the stack, else that of whoever called."""
    frames = [frame for frame in traceback.extract_stack() if "site-packages/torch/" not in frame.filename][:-2]
    own = [frame for frame in frames if "tabstar_lit" in frame.filename] or frames
    return f"{own[-1].filename}:{own[-1].lineno}"


class HostReads(TorchDispatchMode):
    """Count operators that a device would have to finish before the host goes on."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        if name in WAITING_OPERATORS:
            self.counts[f"{name} at {place()}"] += 1
        if name in ("index", "index_put_", "index_put") and any(
            index is not None and index.dtype == torch.bool for index in args[1]
        ):
            self.counts[f"{name} by a mask at {place()}"] += 1
        return func(*args, **(kwargs or {}))


@contextmanager
def counted_methods(counts: Counter[str]) -> Iterator[None]:
    """Count the calls of tensor methods that read from a device."""
    kept = {name: getattr(Tensor, name) for name in WAITING_METHODS}

    def counting(name: str) -> Any:
        def method(self: Tensor, *args: Any, **kwargs: Any) -> Any:
            counts[f"{name} at {place()}"] += 1
            return kept[name](self, *args, **kwargs)

        return method

    for name in WAITING_METHODS:
        setattr(Tensor, name, counting(name))
    try:
        yield
    finally:
        for name, method in kept.items():
            setattr(Tensor, name, method)


class PlainSteps(Callback):
    """Count during some steps of the first epoch, from the first callback of one to that of another.

    Parameters
    ----------
    first, last : int
        Numbers of the batches.
    """

    def __init__(self, first: int, last: int) -> None:
        self.first, self.last = first, last
        self.reads = HostReads()
        self.steps = 0

    def on_train_batch_start(self, trainer: Trainer, module: LightningModule, batch: Any, batch_idx: int) -> None:
        if trainer.current_epoch:
            return
        if batch_idx == self.first:
            self._methods = counted_methods(self.reads.counts)
            self._methods.__enter__()
            self.reads.__enter__()
        if batch_idx == self.last:
            self.reads.__exit__(None, None, None)
            self._methods.__exit__(None, None, None)
        self.steps += self.first <= batch_idx < self.last
