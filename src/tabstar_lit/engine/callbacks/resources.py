"""What a run costs: speed, seconds and memory of every epoch, and memory of every step when asked."""

from __future__ import annotations

import resource
import sys
from collections.abc import Mapping
from time import perf_counter
from typing import Any

import psutil
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from tabstar_lit.engine.callbacks.training_log import log_metrics
from tabstar_lit.engine.devices.hardware import peak_flops

MIB = 2.0**20


class ResourceMonitor(Callback):
    """Log at the end of every training epoch what it cost on this process.

    ``epoch_seconds``
        With the epoch's validation.
    ``<unit>_per_s``
        Rows, events or tokens trained on in a second of training.
    ``mfu``
        Share of the card's peak that the real work took, without padding and what was computed in vain; not there where
        the peak or the work is not known.
    ``wait_share``
        Share of the training's seconds in which it waited for data.
    ``rss_mib``, ``rss_peak_mib``, ``cuda_peak_mib``
        Memory of the process now and at most so far; of the card at most in this epoch.

    An epoch that was resumed in its middle counts from there. Nothing here reads a tensor in a step, or draws one: the
    numbers of the training are the same with and without it.

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
        self._trained_s = 0.0
        self._waited_before = 0.0
        self._work: float | Tensor = 0.0
        self._flops: list[float | Tensor] = []
        self._logged_step = 0
        self._rate: float | None = None
        self._ranks = 1

    def on_train_start(self, trainer: Trainer, module: LightningModule) -> None:
        """Note where the training begins, or goes on inside an epoch (then no epoch start is announced)."""
        self._logged_step = trainer.global_step
        self._begin(trainer, module)

    def on_train_epoch_start(self, trainer: Trainer, module: LightningModule) -> None:
        """Start the clock and forget the last epoch."""
        self._begin(trainer, module)

    def _begin(self, trainer: Trainer, module: LightningModule) -> None:
        self._started = perf_counter()
        self._trained_s = self._work = 0.0
        self._flops = []
        self._ranks = trainer.world_size
        self._waited_before = _waited(trainer)
        if module.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(module.device)

    def on_train_batch_end(
        self, trainer: Trainer, module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Count the work; log the memory after the step, if asked; batches that only accumulate are no steps."""
        if isinstance(outputs, Mapping) and "work" in outputs:
            self._work += outputs["work"]
            if outputs["flops"] is not None:
                self._flops.append(outputs["flops"])
        if self.train_memory and trainer.global_step != self._logged_step:
            self._logged_step = trainer.global_step
            log_metrics(trainer, {"train_memory_mib": self._resident()})
        # The losses of the epoch have been read by then, so the device has done its work.
        if trainer.is_last_batch and self._work:
            self._trained_s = perf_counter() - self._started

    def on_train_epoch_end(self, trainer: Trainer, module: LightningModule) -> None:
        """Log the epoch's speed, time and memory."""
        speed = self._speed(trainer, module)
        metrics = {"epoch_seconds": perf_counter() - self._started, **speed, "rss_mib": self._resident()}
        # The kernel's two counts are not of one moment.
        metrics["rss_peak_mib"] = max(peak_resident_mib(), metrics["rss_mib"])
        if module.device.type == "cuda":
            metrics["cuda_peak_mib"] = torch.cuda.max_memory_allocated(module.device) / MIB
        log_metrics(trainer, metrics)
        self._rate = next(iter(speed.values()), self._rate)

    def rate(self) -> float | None:
        """Return rows, events or tokens a second: of the epoch that goes on where the host knows it, else of the last.

        None where neither is known.
        """
        if isinstance(self._work, Tensor) or not self._work:
            return self._rate
        return self._ranks * self._work / (self._trained_s or perf_counter() - self._started)

    def _speed(self, trainer: Trainer, module: LightningModule) -> dict[str, float]:
        """Return what can be said about the epoch's speed; nothing of one that ends before its last batch."""
        if not self._work or not self._trained_s:
            return {}
        work = trainer.strategy.reduce(torch.as_tensor(self._work, device=module.device), reduce_op="sum")
        found = {f"{getattr(module, 'unit', 'rows')}_per_s": float(work) / self._trained_s}
        if self._flops and module.device.type == "cuda":
            card, rate = torch.cuda.get_device_name(module.device), _total(self._flops) / self._trained_s
            found |= utilization(rate, card, str(trainer.precision))
        found["wait_share"] = (_waited(trainer) - self._waited_before) / self._trained_s
        return found

    def _resident(self) -> float:
        return float(self._process.memory_info().rss) / MIB


def utilization(rate: float, card: str, precision: str) -> dict[str, float]:
    """Return ``mfu``, the share of a card's peak that so many operations a second are, where that is known."""
    peak = peak_flops(card, precision)
    return {} if peak is None else {"mfu": rate / peak}


def peak_resident_mib() -> float:
    """Return the most memory that this process has had so far, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (MIB if sys.platform == "darwin" else 1024)


def _waited(trainer: Trainer) -> float:
    """Return the seconds that were spent in asking the training's loader for batches, so far."""
    return float(getattr(trainer.train_dataloader, "waited_s", 0.0))


def _total(parts: list[float | Tensor]) -> float:
    """Return the sum of numbers, some of which are on a device and are read in one transfer."""
    unread = [part for part in parts if isinstance(part, Tensor)]
    known = sum(part for part in parts if not isinstance(part, Tensor))
    return known + (float(torch.stack(unread).double().sum()) if unread else 0.0)
