"""Let a network that is being trained generate something, and leave no trace in the training."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.utilities.seed import isolate_rng

from tabstar_lit.engine.callbacks.seeding import apply_seeds, seeds_of

NOISE = 2**32 - 1
"""Seeds the noise of samples: the same in every epoch and run, so that what changes is the network."""


@contextmanager
def sampling(module: LightningModule) -> Iterator[None]:
    """Set ``module`` to evaluation, without gradients, on noise of its own; modes and generators are put back."""
    modes = [(part, part.training) for part in module.modules()]
    device = module.device
    accelerators = [device] if device.type == "cuda" else []
    with isolate_rng(include_cuda=False), torch.random.fork_rng(accelerators), torch.no_grad():
        apply_seeds(*seeds_of(NOISE), device=device.type)
        module.eval()
        try:
            yield
        finally:
            for part, mode in modes:
                part.training = mode
