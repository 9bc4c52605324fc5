"""Processor time to read a checkpoint and compare its check sums, over that of ``torch.load``, which looks at none."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from tabstar_lit.engine.weights.files import AtomicCheckpointIO, read_checkpoint

TENSORS, SIDE, REPEATS = 25, 1024, 11
"""25 matrices of 4 MiB: 100 MiB."""


def read_ratio() -> float:
    """Return the median of reading with a look over reading without, one after the other in turn.

    What was read is kept: a command reads a checkpoint once, into memory that it did not have before.
    """
    kept: list[object] = []
    with TemporaryDirectory(prefix="checkpoint-") as folder:
        path = Path(folder, "a.ckpt")
        weights = {f"weight{number}": torch.randn(SIDE, SIDE) for number in range(TENSORS)}
        AtomicCheckpointIO().save_checkpoint({"state_dict": weights}, path)
        ratios = [
            _seconds(lambda: read_checkpoint(path), kept) / _seconds(lambda: torch.load(path, weights_only=True), kept)
            for _ in range(REPEATS + 1)
        ]
    return statistics.median(ratios[1:])  # what the first calls import is no part of reading


def _seconds(read: Callable[[], object], kept: list[object]) -> float:
    start = time.process_time()
    kept.append(read())
    return time.process_time() - start


def figures() -> dict[str, float]:
    """Return the figures by name."""
    return {"checkpoints.read_over_torch": read_ratio()}
