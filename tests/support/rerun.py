"""Recorded steps on a processor, which has no CUDA graphs: a recording computes its step again, in the same places."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from tabstar_lit.engine.devices.replays import Replays
from tabstar_lit.engine.module import TrainingModule


class Rerun:
    """A recording that computes again."""

    def __init__(self, compute: Callable[[], None], pool: Any) -> None:
        self.replay = compute
        with torch.random.fork_rng(devices=[]):  # a card draws nothing while it records
            compute()


class Replaying(Callback):
    """Train by recordings that compute again.

    Attributes
    ----------
    replays : Replays
        What is trained by.
    """

    def on_train_start(self, trainer: Trainer, module: LightningModule) -> None:
        assert isinstance(module, TrainingModule)
        trained = [p for p in module.network.parameters() if p.requires_grad]
        self.replays = module.replays = Replays(module.compute, trained, record=Rerun)
