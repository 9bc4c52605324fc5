"""Numbers of a device that are read without waiting for it: copied now, looked at when they are there."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


class Reading:
    """Scalars on their way to the host.

    On a card they are copied into page-locked memory behind the work that it has been given, and the host goes on.

    Parameters
    ----------
    scalars : sequence of Tensor
        Of one device.
    """

    def __init__(self, scalars: Sequence[Tensor]) -> None:
        numbers = torch.stack([scalar.detach() for scalar in scalars])
        self._arrived: torch.cuda.Event | None = None
        self._numbers = numbers
        if numbers.device.type == "cuda":
            self._numbers = torch.empty(numbers.shape, dtype=numbers.dtype, pin_memory=True)
            self._numbers.copy_(numbers, non_blocking=True)
            self._arrived = torch.cuda.Event()  # type: ignore[no-untyped-call]  # torch's has no types
            self._arrived.record()

    def values(self) -> list[float]:
        """Return the numbers in their order; waits where they have not arrived."""
        if self._arrived is not None:
            self._arrived.synchronize()
        numbers: list[float] = self._numbers.tolist()
        return numbers


def comes_later(device: torch.device) -> bool:
    """Tell whether the host goes on before a device has done what it was given: then what is logged is read later."""
    return device.type == "cuda"
