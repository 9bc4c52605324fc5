"""Processor time to read a checkpoint and its check sums, as a ratio to ``torch.load``, which looks at none."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from tabstar_lit.engine.weights.files import AtomicCheckpointIO, read_checkpoint

TENSORS, SIDE, REPEATS = 50, 1024, 9
"""50 matrices of 4 MiB: 200 MiB."""


def read_ratio() -> float:
    """Return the median of reading with a look over reading without, one after the other in turn."""
    with TemporaryDirectory(prefix="checkpoint-") as folder:
        path = Path(folder, "a.ckpt")
        weights = {f"weight{number}": torch.randn(SIDE, SIDE) for number in range(TENSORS)}
        AtomicCheckpointIO().save_checkpoint({"state_dict": weights}, path)
        ratios = [_seconds(lambda: read_checkpoint(path)) / _seconds(lambda: _plain(path)) for _ in range(REPEATS)]
    return statistics.median(ratios)


def _plain(path: Path) -> object:
    return torch.load(path, weights_only=True)


def _seconds(read: Callable[[], object]) -> float:
    start = time.process_time()
    read()
    return time.process_time() - start


def figures() -> dict[str, float]:
    """Return the figures by name."""
    return {"checkpoints.read_over_torch": read_ratio()}
