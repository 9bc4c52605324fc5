"""Learning-rate schedules with a warm-up, each a closed formula of the optimizer step.

Optimizer step ``k`` runs at the formula's value for ``n = k``, with ``k`` starting at 1. The formula gives
the rate of the parameter group with the largest configured rate; every other group keeps its ratio to it.
"""

from __future__ import annotations

import math
from abc import abstractmethod

from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler


class ClosedFormLR(LRScheduler):
    """Set each group's rate to ``lr(n)`` times its share of the largest configured rate.

    Parameters
    ----------
    optimizer : Optimizer
        Its groups' rates give the shares; where all are 0 every share is 1.
    freeze_step : int or None
        Step from which the rate stays what it is at that step.
    last_epoch : int
        Steps done so far, less one, as in torch; -1 begins.
    """

    def __init__(self, optimizer: Optimizer, freeze_step: int | None = None, last_epoch: int = -1) -> None:
        self.freeze_step = freeze_step
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float | Tensor]:
        """Return the rate of every group at the coming optimizer step."""
        step = self.last_epoch + 1
        if self.freeze_step is not None:
            step = min(step, self.freeze_step)
        largest = max(float(lr) for lr in self.base_lrs)
        return [self.lr_at(step) * (float(lr) / largest if largest else 1.0) for lr in self.base_lrs]

    @abstractmethod
    def lr_at(self, step: int) -> float:
        """Return the largest group's learning rate at optimizer step ``step``, counted from 1."""


class _Ramp(ClosedFormLR):
    """Rise linearly from ``min_lr`` at step 0 to ``max_lr`` at ``n_warmup_steps``."""

    def __init__(
        self,
        optimizer: Optimizer,
        n_warmup_steps: int,
        *,
        max_lr: float | None,
        min_lr: float,
        freeze_step: int | None = None,
        last_epoch: int,
    ) -> None:
        configured = max(float(group.get("initial_lr", group["lr"])) for group in optimizer.param_groups)
        self.n_warmup_steps = n_warmup_steps
        self.max_lr = configured if max_lr is None else max_lr
        self.min_lr = min_lr
        if n_warmup_steps < 0:
            raise ValueError(f"n_warmup_steps is at least 0, not {n_warmup_steps}")
        if not 0 <= min_lr <= self.max_lr:
            raise ValueError(f"min_lr is between 0 and max_lr {self.max_lr}, not {min_lr}")
        super().__init__(optimizer, freeze_step, last_epoch)

    def lr_at(self, step: int) -> float:
        """Return the rate at ``step`` of the rise, and ``max_lr`` after it."""
        if step >= self.n_warmup_steps:
            return self.max_lr
        return self.min_lr + (self.max_lr - self.min_lr) * step / self.n_warmup_steps


class LinearWarmup(_Ramp):
    """Rise linearly, then stay at ``max_lr``.

    ``lr(n) = min_lr + (max_lr - min_lr) n / W`` for ``n < W``, then ``max_lr``.

    Parameters
    ----------
    optimizer : Optimizer
        The optimizer.
    n_warmup_steps : int
        Length ``W`` of the rise, in steps.
    min_lr : float
        Rate the rise starts from.
    max_lr : float or None
        Rate at its end; None takes the optimizer's own.
    last_epoch : int
        As in torch.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        n_warmup_steps: int,
        *,
        min_lr: float = 1e-6,
        max_lr: float | None = None,
        last_epoch: int = -1,
    ) -> None:
        super().__init__(optimizer, n_warmup_steps, max_lr=max_lr, min_lr=min_lr, last_epoch=last_epoch)


class CosineWarmup(_Ramp):
    """Rise linearly, then fall along half a cosine and stay at ``min_lr``.

    ``lr(n) = min_lr + (max_lr - min_lr) n / W`` for ``n < W``, then
    ``min_lr + (max_lr - min_lr) (1 + cos(pi min(n - W, T) / T)) / 2`` (cosine annealing: arXiv 1608.03983).

    Parameters
    ----------
    optimizer : Optimizer
        The optimizer.
    n_warmup_steps : int
        Length ``W`` of the rise, in steps.
    T_max : int
        Length ``T`` of the fall, in steps, counted from the end of the rise.
    max_lr : float or None
        Rate at the top; None takes the optimizer's own.
    min_lr : float
        Rate at the start and at the end.
    freeze_step : int or None
        Step from which the rate stays what it is at that step.
    last_epoch : int
        As in torch.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        n_warmup_steps: int,
        T_max: int,
        *,
        max_lr: float | None = None,
        min_lr: float = 1e-6,
        freeze_step: int | None = None,
        last_epoch: int = -1,
    ) -> None:
        if T_max < 1:
            raise ValueError(f"T_max is at least 1, not {T_max}")
        self.T_max = T_max
        super().__init__(
            optimizer, n_warmup_steps, max_lr=max_lr, min_lr=min_lr, freeze_step=freeze_step, last_epoch=last_epoch
        )

    def lr_at(self, step: int) -> float:
        """Return the rate at ``step`` of the rise or the fall."""
        if step < self.n_warmup_steps:
            return super().lr_at(step)
        fallen = min(step - self.n_warmup_steps, self.T_max) / self.T_max
        return self.min_lr + (self.max_lr - self.min_lr) * (1 + math.cos(math.pi * fallen)) / 2


class AttentionWarmup(ClosedFormLR):
    """Rise linearly, then fall with the inverse square root of the step (arXiv 1706.03762, section 5.3).

    ``lr(n) = lr_mul d^(-1/2) min(n^(-1/2), n W^(-3/2))`` with its peak ``lr_mul (d W)^(-1/2)`` at ``n = W``,
    and never less than ``min_lr``.

    Parameters
    ----------
    optimizer : Optimizer
        The optimizer.
    d_model : int
        Width ``d`` of the network.
    n_warmup_steps : int
        Length ``W`` of the rise, in steps.
    lr_mul : float
        Factor on the whole schedule.
    min_lr : float
        Lower bound of the rate.
    freeze_step : int or None
        Step from which the rate stays what it is at that step.
    last_epoch : int
        As in torch.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        d_model: int,
        n_warmup_steps: int,
        *,
        lr_mul: float = 1.0,
        min_lr: float = 1e-6,
        freeze_step: int | None = None,
        last_epoch: int = -1,
    ) -> None:
        if d_model < 1 or n_warmup_steps < 1:
            raise ValueError(f"d_model and n_warmup_steps are at least 1, not {d_model} and {n_warmup_steps}")
        self.d_model = d_model
        self.n_warmup_steps = n_warmup_steps
        self.lr_mul = lr_mul
        self.min_lr = min_lr
        super().__init__(optimizer, freeze_step, last_epoch)

    def lr_at(self, step: int) -> float:
        """Return the rate at ``step``."""
        shape = min(1 / math.sqrt(step), step / (self.n_warmup_steps * math.sqrt(self.n_warmup_steps)))
        return max(self.min_lr, self.lr_mul / math.sqrt(self.d_model) * shape)


class SqrtExpWarmup(ClosedFormLR):
    """Rise with the square root of the step, then fall exponentially.

    ``lr(n) = lr_mul a sqrt(c n) exp(-c n)`` with its peak ``0.4289 lr_mul a`` at ``n = 1 / (2 c)``, and never
    less than ``min_lr``.

    Parameters
    ----------
    optimizer : Optimizer
        The optimizer.
    a : float
        Height.
    c : float
        Inverse length in 1/steps.
    lr_mul : float
        Factor on the whole schedule.
    min_lr : float
        Lower bound of the rate.
    freeze_step : int or None
        Step from which the rate stays what it is at that step.
    last_epoch : int
        As in torch.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        a: float,
        c: float,
        *,
        lr_mul: float = 1.0,
        min_lr: float = 1e-6,
        freeze_step: int | None = None,
        last_epoch: int = -1,
    ) -> None:
        if c <= 0:
            raise ValueError(f"c is above 0, not {c}")
        self.a = a
        self.c = c
        self.lr_mul = lr_mul
        self.min_lr = min_lr
        super().__init__(optimizer, freeze_step, last_epoch)

    def lr_at(self, step: int) -> float:
        """Return the rate at ``step``."""
        x = self.c * step
        return max(self.min_lr, self.lr_mul * self.a * math.sqrt(x) * math.exp(-x))
