"""Randomness as a pure function of (seed, epoch, batch, rank)."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer

VALIDATION = 2**31
"""Stands in for the batch number while validating, where no training batch can have it."""


AHEAD = 64
"""Batches whose seeds are made together, which takes half as long as making each between two steps."""


def seeds_of(*entropy: int) -> tuple[int, int]:
    """Return two 32-bit seeds for a tuple of non-negative integers; different tuples give independent ones."""
    first, second = np.random.SeedSequence(entropy).generate_state(2, np.uint32).tolist()
    return first, second


def seed_generators(*entropy: int) -> None:
    """Seed the global generators of Python, NumPy and torch on the CPU from a tuple of non-negative integers."""
    apply_seeds(*seeds_of(*entropy))


def apply_seeds(first: int, second: int, device: str = "cpu") -> None:
    """Seed the global generators of Python, NumPy and torch.

    Parameters
    ----------
    first, second : int
        From :func:`seeds_of`.
    device : str
        Type of the device that draws beside the CPU: ``cuda`` or ``mps``.
    """
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
        self._ahead: dict[tuple[int, int, int], tuple[int, int]] = {}

    def on_train_batch_start(self, trainer: Trainer, module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Seed from (seed, epoch, batch, rank)."""
        place = (trainer.current_epoch, batch_idx, trainer.global_rank)
        if place not in self._ahead:
            epoch, first, rank = place
            places = [(epoch, number, rank) for number in range(first, first + AHEAD)]
            self._ahead = {place: seeds_of(self.seed, *place) for place in places}
        apply_seeds(*self._ahead[place], device=module.device.type)

    def on_validation_epoch_start(self, trainer: Trainer, module: LightningModule) -> None:
        """Seed validation from its epoch alone."""
        place = (trainer.current_epoch, VALIDATION, trainer.global_rank)
        apply_seeds(*seeds_of(self.seed, *place), device=module.device.type)
