"""Loops on a device: how long a step takes where nothing is read back in between."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from lightning.fabric.utilities import move_data_to_device
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor, nn

from benchmarks.loops import BareLoss
from tabstar_lit.engine.devices.replays import Replays
from tabstar_lit.engine.stages import Parts


def synchronize(device: str) -> None:
    """Wait until the device has done all it was given."""
    if device == "cuda":
        torch.cuda.synchronize()


def seconds_of(steps: Callable[[], object], device: str, *, warm: int = 1, repeats: int = 3) -> float:
    """Return the median of the seconds of ``steps``, after some that warm up."""
    seconds = []
    for number in range(warm + repeats):
        synchronize(device)
        start = time.perf_counter()
        steps()
        synchronize(device)
        if number >= warm:
            seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def half(device: str) -> AbstractContextManager[Any]:
    """Return a context in which matrix products are in bfloat16, on a card."""
    return torch.autocast("cuda", dtype=torch.bfloat16) if device == "cuda" else nullcontext()


def step_of(
    network: nn.Module,
    loss: Callable[[Any], Tensor],
    device: str,
    clip: float | None,
    precision: Callable[[], AbstractContextManager[Any]] | None = None,
) -> Callable[[Any], None]:
    """Return a training step as one writes it by hand: half precision on a card, clipping, the fused optimizer."""
    own_precision = precision or (lambda: half(device))
    trained = [p for p in network.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-5, fused=True)

    def step(batch: Any) -> None:
        optimizer.zero_grad()
        with own_precision():
            value = loss(batch)
        value.backward()  # type: ignore[no-untyped-call]  # torch's stubs leave it untyped
        if clip is not None:
            torch.nn.utils.clip_grad_norm_(trained, clip)
        optimizer.step()

    return step


def on_device(batches: Sequence[Any], device: str) -> list[Any]:
    """Return batches whose tensors are all on the device."""
    return [move_data_to_device(batch, torch.device(device)) for batch in batches]


def bare_step(parts: Parts, loss: BareLoss, device: str) -> Callable[[Any], None]:
    """Return the step by hand of what a family built."""
    module = parts.module.to(device).train()
    clip = module.config.training_config.gradient_clip_val
    return step_of(module, lambda batch: loss(module, batch), device, clip)


def recorded_step(parts: Parts, device: str) -> Callable[[Any], None]:
    """Return the step by hand of what a family built, by recordings of earlier ones where a card makes them."""
    module = parts.module.to(device).train()
    clip = module.config.training_config.gradient_clip_val
    trained = [p for p in module.network.parameters() if p.requires_grad]
    if device != "cuda":
        return step_of(module, lambda batch: module.compute(batch).loss, device, clip)
    optimizer = torch.optim.AdamW(trained, lr=1e-5, fused=True)
    replays = Replays(module.compute, trained)

    def step(batch: Any) -> None:
        optimizer.zero_grad()
        with half(device):
            pieces = module.pieces(batch)
            loss = module.compute(batch).loss if pieces is None else replays.step(pieces).loss
        if replays.is_replayed:
            replays.hand_over()
        else:
            loss.backward()  # type: ignore[no-untyped-call]  # as above
        if clip is not None and replays.norm is not None:
            torch.nn.utils.clip_grads_with_norm_(trained, clip, replays.norm)
        elif clip is not None:
            torch.nn.utils.clip_grad_norm_(trained, clip)
        optimizer.step()

    return step


class EpochClock(Callback):
    """Seconds of the training steps of each epoch: from its start to the end of its last batch."""

    def __init__(self, device: str) -> None:
        self.device = device
        self.seconds: list[float] = []

    def on_train_epoch_start(self, trainer: Trainer, module: LightningModule) -> None:
        """Start the clock."""
        synchronize(self.device)
        self.start = time.perf_counter()

    def on_train_batch_end(
        self, trainer: Trainer, module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Stop it after the last batch."""
        if trainer.is_last_batch:
            synchronize(self.device)
            self.seconds.append(time.perf_counter() - self.start)


def profile(name: str, steps: Callable[[], object], device: str) -> None:
    """Print the operators that take most of the time of ``steps``, and how much of it the device is busy."""
    from torch.profiler import ProfilerActivity
    from torch.profiler import profile as profiled

    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if device == "cuda" else [])]
    steps()
    synchronize(device)
    start = time.perf_counter()
    with profiled(activities=activities) as found:
        steps()
        synchronize(device)
    wall_ms = 1000 * (time.perf_counter() - start)
    averages = found.key_averages()
    busy_ms = sum(getattr(event, "self_device_time_total", 0) for event in averages) / 1000
    kernels = sum(event.count for event in averages if str(getattr(event, "device_type", "")).endswith("CUDA"))
    orders = {"self_cpu_time_total": 16} | ({"self_device_time_total": 28} if device == "cuda" else {})
    print(f"# profile {name}: {wall_ms:.1f} ms wall, {busy_ms:.1f} ms busy, {kernels} kernels", flush=True)
    for order, rows in orders.items():
        table = averages.table(sort_by=order, row_limit=rows, max_name_column_width=60)
        print("\n".join(f"# {line[:190]}" for line in table.splitlines()), flush=True)
