"""Adam and AdamW whose step is one call for each group of weights: torch's kernel, without the lists before it.

For each weight and step, torch's own :class:`~torch.optim.AdamW` looks up its state in Python, sorts it by device and
type, and counts the step in a tensor of a single number, twice where a step may be left out. With hundreds of small
weights that takes several times as long as the kernel. Here the lists are kept from step to step, and the counts of a
group lie in one tensor. Weights and state have torch's bits, and state dictionaries are exchanged with it.

Gains what ``python -m benchmarks.lean`` prints for ``FusedAdamW``. This can go when torch keeps its lists, which 2.13
does not.
"""

from __future__ import annotations

import inspect
import operator
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.optim import Adam, AdamW

Group = dict[str, Any]

TORCHS_STEP = inspect.unwrap(Adam.step)
"""Torch's step without what calls hooks around it, which are called once."""


class Alike(NamedTuple):
    """What the kernel is called with for weights of a group that are of one type and on one device.

    Attributes
    ----------
    parameters, averages, squares, greatest : list of Tensor
        The ``n`` weights, the running averages of their gradients and of the squares of these, and with ``amsgrad``
        the greatest of the latter.
    steps : list of Tensor
        ``n`` scalars, the steps that each weight has taken: views of ``counts``.
    counts : Tensor
        ``[n]``.
    """

    parameters: list[Tensor]
    averages: list[Tensor]
    squares: list[Tensor]
    greatest: list[Tensor]
    steps: list[Tensor]
    counts: Tensor


class Lists(NamedTuple):
    """The lists of a group.

    Attributes
    ----------
    parameters : list of Tensor
        Those of its weights that have gradients.
    average : Tensor or None
        That of the first one, by which it is seen whether other tensors have taken the place of its state.
    alike : list of Alike
        All of them by type and device.
    """

    parameters: list[Tensor]
    average: Tensor | None
    alike: list[Alike]


class FusedAdam(Adam):
    """:class:`torch.optim.Adam` with ``fused=True``, in one call for all weights of a group that are of one type.

    Rates that are tensors are left to torch.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._kept: dict[int, Lists] = {}
        super().__init__(*args, **kwargs)

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take over a state; the lists are not of its tensors."""
        super().__setstate__(state)  # type: ignore[no-untyped-call]  # torch's stubs leave it untyped
        self._kept = {}

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Free the gradients, or fill them with zeros."""
        if not set_to_none:
            super().zero_grad(set_to_none=False)
            return
        for group in self.param_groups:
            for parameter in group["params"]:
                parameter.grad = None

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """Take a step; returns what ``closure`` returns, which computes the gradients first."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        if not all(map(_is_fused_by_numbers, self.param_groups)):
            TORCHS_STEP(self)
            return loss
        for number, group in enumerate(self.param_groups):
            for alike in self._lists(number, group).alike:
                self._update(group, alike)
        return loss

    def _lists(self, number: int, group: Group) -> Lists:
        """Return the lists of a group: those of the step before, unless weights or their state are others now."""
        parameters = [p for p in group["params"] if p.grad is not None]
        kept = self._kept.get(number)
        if kept is None or not self._are_of(parameters, kept):
            alike = self._sorted(group)
            kept = self._kept[number] = Lists(parameters, self._first_average(parameters), alike)
        return kept

    def _are_of(self, parameters: list[Tensor], kept: Lists) -> bool:
        same = len(parameters) == len(kept.parameters) and all(map(operator.is_, parameters, kept.parameters))
        return same and self._first_average(parameters) is kept.average

    def _first_average(self, parameters: list[Tensor]) -> Tensor | None:
        return self.state[parameters[0]].get("exp_avg") if parameters else None

    def _sorted(self, group: Group) -> list[Alike]:
        """Return what is needed of a group, by type and device; the steps of its weights are put side by side."""
        parameters: list[Tensor] = []
        averages: list[Tensor] = []
        squares: list[Tensor] = []
        greatest: list[Tensor] = []
        steps: list[Tensor] = []
        self._init_group(group, parameters, [], averages, squares, greatest, steps)  # type: ignore[no-untyped-call]  # torch's
        if not parameters:
            return []
        lists: Any = [parameters, averages, squares, greatest, steps]
        by_type: Any = self._group_tensors_by_device_and_dtype(lists)
        found = []
        for (own, means, mean_squares, maxima, taken), _ in by_type.values():
            counts = torch.stack(taken)
            found.append(Alike(own, means, mean_squares, maxima, list(counts.unbind()), counts))
            for parameter, count in zip(own, found[-1].steps, strict=True):
                self.state[parameter]["step"] = count
        return found

    def _update(self, group: Group, of: Alike) -> None:
        """Count a step and take it, unless what was found says that it changes nothing."""
        scale, found = (_on(of.counts.device, getattr(self, name, None)) for name in ("grad_scale", "found_inf"))
        of.counts.add_(1 if found is None else 1 - found)
        gradients: Any = [p.grad for p in of.parameters]
        beta1, beta2 = group["betas"]
        kernel = torch._fused_adamw_ if group["decoupled_weight_decay"] else torch._fused_adam_
        kernel(
            of.parameters,
            gradients,
            of.averages,
            of.squares,
            of.greatest,
            of.steps,
            lr=group["lr"],
            beta1=beta1,
            beta2=beta2,
            weight_decay=group["weight_decay"],
            eps=group["eps"],
            amsgrad=group["amsgrad"],
            maximize=group["maximize"],
            grad_scale=scale,
            found_inf=found,
        )


class FusedAdamW(FusedAdam, AdamW):
    """:class:`torch.optim.AdamW` with ``fused=True``, as :class:`FusedAdam`."""


def _is_fused_by_numbers(group: Group) -> bool:
    return bool(group["fused"]) and not any(isinstance(value, Tensor) for value in (group["lr"], *group["betas"]))


def _on(device: torch.device, value: Tensor | None) -> Tensor | None:
    return None if value is None else value.to(device, non_blocking=True)
