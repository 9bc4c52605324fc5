"""What ranks exchange as plain Python objects."""

from __future__ import annotations

from typing import TypeVar

import torch.distributed as dist
from lightning.pytorch.utilities.rank_zero import rank_zero_only

T = TypeVar("T")


def is_main_process() -> bool:
    """Say whether this process writes the run's files: rank zero, also before the ranks have met."""
    return int(getattr(rank_zero_only, "rank", 0)) == 0


def gather(value: T) -> list[T]:
    """Return every rank's ``value`` in rank order; ``[value]`` when there is one process."""
    if not (dist.is_available() and dist.is_initialized()):
        return [value]
    values: list[T | None] = [None] * dist.get_world_size()
    dist.all_gather_object(values, value)
    return [v for v in values if v is not None]
