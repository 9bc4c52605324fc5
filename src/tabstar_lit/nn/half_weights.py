"""Weights in half precision for a whole network at once: autocast would cast each weight and activation by itself.

A small network on a fast card waits for launches, and half of those that autocast makes are casts. Here the weights of
all parts become half precision in one call, their gradients single precision in another, and what is between computes
in half precision throughout, norms and sums inside kernels excepted. The weights that are trained stay as they are.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn


class CastAll(torch.autograd.Function):
    """Cast tensors of one type to another, all in one call, and their gradients back."""

    @staticmethod
    def forward(ctx: Any, dtype: torch.dtype, *weights: Tensor) -> tuple[Tensor, ...]:
        """Return ``weights`` in ``dtype``."""
        ctx.dtypes = [weight.dtype for weight in weights]
        ctx.set_materialize_grads(False)  # a head without a task has no gradient, not one of zeros
        return tuple(_copied(list(weights), [dtype] * len(weights)))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        """Return the gradients in the types of the weights; None of those that took no part."""
        pairs = zip(gradients, ctx.dtypes, strict=True)
        there = [(gradient, dtype) for gradient, dtype in pairs if gradient is not None]
        cast = iter(_copied([gradient for gradient, _ in there], [dtype for _, dtype in there]))
        return (None, *(None if gradient is None else next(cast) for gradient in gradients))


class HalfWeights:
    """Puts casts of all weights of some modules in their places for a while.

    Parameters
    ----------
    modules : sequence of nn.Module
        Their weights, and those of all modules within.
    """

    def __init__(self, modules: Sequence[nn.Module]) -> None:
        owners = [owner for module in modules for owner in module.modules()]
        self._places: list[tuple[dict[str, Any], str]] = [
            (owner._parameters, name) for owner in owners for name, own in owner._parameters.items() if own is not None
        ]

    @contextmanager
    def of(self, dtype: torch.dtype, device: str) -> Iterator[None]:
        """Compute in ``dtype`` on a type of device, without autocast, until the end of the context.

        Backward passes need not be inside. Activations that go in have to be of that type, too.
        """
        weights = [parameters[name] for parameters, name in self._places]
        with torch.autocast(device, enabled=False):
            casts: tuple[Tensor, ...] = CastAll.apply(dtype, *weights)  # type: ignore[no-untyped-call]  # torch's
            for (parameters, name), cast in zip(self._places, casts, strict=True):
                parameters[name] = cast
            try:
                yield
            finally:
                for (parameters, name), weight in zip(self._places, weights, strict=True):
                    parameters[name] = weight


def _copied(tensors: list[Tensor], dtypes: list[torch.dtype]) -> list[Tensor]:
    """Return copies of other types, made in one call."""
    copies = [torch.empty_like(tensor, dtype=dtype) for tensor, dtype in zip(tensors, dtypes, strict=True)]
    if copies:
        torch._foreach_copy_(copies, tensors)
    return copies
