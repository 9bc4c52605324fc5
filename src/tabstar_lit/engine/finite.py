"""Losses and gradients that are no numbers: found on the device, so that no step waits, and told of when they are read.

Nothing is read back in a step. Its losses and gradient norm become one number on the device, 1 where they are not
finite, which fused optimizers take as ``found_inf``: they then leave weights and state as they are. That number stays
at 1 from the step on that ends the run, so that what is trained until it is noticed changes nothing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from lightning.pytorch.utilities.rank_zero import rank_zero_warn
from torch import Tensor
from torch.optim import SGD, Adam, AdamW, Optimizer

from tabstar_lit.config.schema import NonFinite
from tabstar_lit.engine.devices.reading import Reading, comes_later
from tabstar_lit.engine.optim.fused import FusedAdam, FusedAdamW
from tabstar_lit.errors import NonFiniteError

LONGEST_WAIT = 512
"""Steps that stay unread at most."""


class Checked(NamedTuple):
    """An optimizer step that has been checked on the device, and not been read.

    Attributes
    ----------
    step, epoch : int
        Which one: the first step of a run is 1, its first epoch 0.
    sources : tuple of str
        Sources of its batches.
    losses : tuple of Tensor
        Their losses, scalars.
    norm : Tensor
        Norm of the gradients, a scalar.
    """

    step: int
    epoch: int
    sources: tuple[str, ...]
    losses: tuple[Tensor, ...]
    norm: Tensor


class FiniteGuard:
    """Keep non-finite steps from the weights, and stop the run or count them, as ``non_finite`` says.

    Parameters
    ----------
    policy : NonFinite
        Stop, or skip within a budget.

    Attributes
    ----------
    skipped : int
        Steps skipped so far, of those that have been read.
    """

    def __init__(self, policy: NonFinite) -> None:
        self.policy = policy
        self.budget = policy.budget if policy.policy == "skip" else 0
        self.skipped = 0
        self._count: Tensor | None = None
        self._waiting: list[Checked] = []
        self._sent: list[tuple[list[Checked], Reading]] = []

    def check(self, checked: Checked) -> Tensor:
        """Take note of a step; returns 1 if it must not change anything, else 0: a float32 scalar on the device."""
        total = checked.norm * 0
        for loss in checked.losses:
            total = total + loss * 0
        if self._count is None or self._count.device != total.device:
            self._count = torch.full((), float(self.skipped), device=total.device)
        bad = total.ne(total)
        self._count.add_(bad)
        self._waiting.append(checked)
        over = (self._count - self.budget if self.budget else self._count).clamp(0, 1)
        found = torch.maximum(over, bad.to(over.dtype)) if self.budget else over
        if len(self._waiting) >= LONGEST_WAIT:
            self.look()
        return found

    def look(self) -> None:
        """Read what has been sent to the host before, and send the steps that wait; all at once where none is sent.

        Raises
        ------
        NonFiniteError
            As :meth:`read`.
        """
        if self._waiting and not comes_later(self._waiting[0].norm.device):
            self.read()
            return
        sent, self._sent = self._sent, []
        self._send()
        self._told(sent)

    def read(self) -> bool:
        """Read all steps that have not been; returns whether the last one was skipped.

        Raises
        ------
        NonFiniteError
            A step was not finite and may not be skipped. Weights and optimizer are as they were before it.
        """
        self._send()
        sent, self._sent = self._sent, []
        return self._told(sent)

    def _send(self) -> None:
        waiting, self._waiting = self._waiting, []
        scalars = [value.float() for checked in waiting for value in (*checked.losses, checked.norm)]
        if scalars:
            self._sent.append((waiting, Reading(scalars)))

    def _told(self, sent: Sequence[tuple[list[Checked], Reading]]) -> bool:
        """Tell of the steps among these that were not finite; returns whether the last one was skipped."""
        skipped = False
        for steps, reading in sent:
            values = iter(reading.values())
            for checked in steps:
                known = [next(values) for _ in (*checked.losses, checked.norm)]
                skipped = not all(map(math.isfinite, known))
                if skipped:
                    self._tell(checked, known)
        return skipped

    def restore(self, skipped: int) -> None:
        """Go on with so many steps skipped."""
        self.skipped, self._count = skipped, None

    def _tell(self, checked: Checked, known: Sequence[float]) -> None:
        what, source = f"gradient norm {known[-1]}", " + ".join(dict.fromkeys(checked.sources))
        for value, name in zip(known[:-1], checked.sources, strict=True):
            if not math.isfinite(value):
                what, source = f"loss {value}", name
                break
        where = f"optimizer step {checked.step}, epoch {checked.epoch}, source {source!r}"
        self.skipped += 1
        if self.skipped <= self.budget:
            rank_zero_warn(f"Skipped a step: non-finite {what} at {where} ({self.skipped} of {self.budget}).")
            return
        spent = f" The budget of {self.budget} skipped steps is spent." if self.policy.policy == "skip" else ""
        raise NonFiniteError(
            f"Non-finite {what} at {where}; the weights were not updated.{spent} Lower the learning rate, set "
            "training_config.gradient_clip_val, look at the data of that source, or allow some steps to be left out "
            "with training_config.non_finite: {policy: skip, budget: 10}."
        )


def takes_found_inf(optimizer: Optimizer) -> bool:
    """Tell whether a step of ``optimizer`` leaves weights and state alone where ``found_inf`` is 1.

    torch's fused kernels do. That of SGD has no momentum yet in its first step, which it could not leave out.
    """
    groups, kinds = optimizer.param_groups, (Adam, AdamW, FusedAdam, FusedAdamW, SGD)
    if type(optimizer) not in kinds or not all(group.get("fused") for group in groups):
        return False
    return type(optimizer) is not SGD or not any(group["momentum"] for group in groups)
