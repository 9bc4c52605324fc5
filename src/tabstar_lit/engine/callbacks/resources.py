"""What a run costs: seconds and memory of every epoch, and memory of every step when asked."""

from __future__ import annotations

from time import perf_counter
from typing import Any

import psutil
import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from tabstar_lit.engine.callbacks.training_log import log_metrics

MIB = 2.0**20


class ResourceMonitor(Callback):
    """Log ``epoch_seconds``, ``rss_mib`` and, on CUDA, ``cuda_peak_mib`` at the end of every training epoch.

    The seconds include the epoch's validation; an epoch that was resumed in its middle counts from there.
    Nothing here reads or draws a tensor, so the numbers of the training are the same with and without it.

    Parameters
    ----------
    train_memory : bool
        Also log ``train_memory_mib``, the resident memory of this process, after every optimizer step: a leak
        shows as a line that never flattens.
    """

    def __init__(self, *, train_memory: bool = False) -> None:
        self.train_memory = train_memory
        self._process = psutil.Process()
        self._started = perf_counter()
        self._logged_step = 0

    def on_train_start(self, trainer: Trainer, module: LightningModule) -> None:
        """Note where the training begins, or goes on inside an epoch (then no epoch start is announced)."""
        self._logged_step = trainer.global_step
        self._start_clock(module)

    def on_train_epoch_start(self, trainer: Trainer, module: LightningModule) -> None:
        """Start the clock and forget the last epoch's peak."""
        self._start_clock(module)

    def _start_clock(self, module: LightningModule) -> None:
        self._started = perf_counter()
        if module.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(module.device)

    def on_train_batch_end(
        self, trainer: Trainer, module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Log the memory after the step, if asked; batches that only accumulate are no steps."""
        if self.train_memory and trainer.global_step != self._logged_step:
            self._logged_step = trainer.global_step
            log_metrics(trainer, {"train_memory_mib": self._resident()})

    def on_train_epoch_end(self, trainer: Trainer, module: LightningModule) -> None:
        """Log the epoch's time and memory."""
        metrics = {"epoch_seconds": perf_counter() - self._started, "rss_mib": self._resident()}
        if module.device.type == "cuda":
            metrics["cuda_peak_mib"] = torch.cuda.max_memory_allocated(module.device) / MIB
        log_metrics(trainer, metrics)

    def _resident(self) -> float:
        return float(self._process.memory_info().rss) / MIB
