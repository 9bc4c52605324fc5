"""What the processes of one run know of each other, and what they exchange as plain Python objects.

Lightning and torch are imported where they are used: whoever holds the signals asks before they are there.
"""

from __future__ import annotations

import os
import sys
from typing import TypeVar

T = TypeVar("T")

RUN_NAME_VARIABLE = "TABSTAR_LIT_RUN_NAME"
"""Set by the first process of a run, so that the ranks it launches agree on an automatic name."""


def is_main_process() -> bool:
    """Say whether this process writes the run's files: rank zero, also before the ranks have met."""
    from lightning.pytorch.utilities.rank_zero import rank_zero_only

    return int(getattr(rank_zero_only, "rank", 0)) == 0


def is_launched() -> bool:
    """Say whether the first process of a run started this one, as Lightning does for every further device."""
    return RUN_NAME_VARIABLE in os.environ and os.environ.get("LOCAL_RANK", "0") != "0"


def has_met() -> bool:
    """Say whether the processes of this run can talk to each other; False where there is one."""
    if "torch.distributed" not in sys.modules:
        return False
    import torch.distributed as dist

    return dist.is_available() and dist.is_initialized()


def gather(value: T) -> list[T]:
    """Return every rank's ``value`` in rank order; ``[value]`` when there is one process."""
    if not has_met():
        return [value]
    import torch.distributed as dist

    values: list[T | None] = [None] * dist.get_world_size()
    dist.all_gather_object(values, value)
    return [v for v in values if v is not None]
