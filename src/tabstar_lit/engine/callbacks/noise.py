"""Randomness as a pure function of (seed, epoch, batch, rank)."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer

VALIDATION = 2**31
"""Stands in for the batch number while validating, where no training batch can have it."""


def seed_generators(*entropy: int, device: str = "cpu") -> None:
    """Seed the global generators of Python, NumPy and torch from a tuple of integers.

    Parameters
    ----------
    *entropy : int
        Non-negative integers; equal tuples give equal streams, different ones independent streams.
    device : str
        Type of the device that draws beside the CPU: ``cuda`` or ``mps``.
    """
    first, second = np.random.SeedSequence(entropy).generate_state(2, np.uint32).tolist()
    random.seed(first)
    np.random.seed(second)
    # torch.manual_seed would also prepare the seeding of devices this process does not use, at milliseconds a call.
    torch.default_generator.manual_seed(first << 32 | second)
    if device == "cuda":
        torch.cuda.manual_seed(first << 32 | second)
    elif device == "mps":
        torch.mps.manual_seed(first << 32 | second)


class StepNoise(Callback):
    """Seed all global generators before every training batch.

    Dropout and augmentation of a batch then depend on nothing but the seed and the batch's place in the run: a resumed
    run draws what the unbroken one would have drawn, and neither plots nor loader workers can disturb it.

    Parameters
    ----------
    seed : int
        The run's seed.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def on_train_batch_start(self, trainer: Trainer, module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Seed from (seed, epoch, batch, rank)."""
        place = (trainer.current_epoch, batch_idx, trainer.global_rank)
        seed_generators(self.seed, *place, device=module.device.type)

    def on_validation_epoch_start(self, trainer: Trainer, module: LightningModule) -> None:
        """Seed validation from its epoch alone."""
        place = (trainer.current_epoch, VALIDATION, trainer.global_rank)
        seed_generators(self.seed, *place, device=module.device.type)
