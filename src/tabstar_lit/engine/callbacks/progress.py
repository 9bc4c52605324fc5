"""Progress that is right where it is read: a bar in a terminal, whole lines in a pipe or a job's log."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from math import inf
from time import monotonic
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ProgressBar, TQDMProgressBar
from torch import Tensor

LINE_SECONDS = 30.0


def build_progress(*, refresh_rate: int, line_seconds: float = LINE_SECONDS) -> Callback:
    """Return the progress callback for where standard output goes.

    Parameters
    ----------
    refresh_rate : int
        Batches between two updates of the bar; 0 switches progress off, in a pipe too.
    line_seconds : float
        Seconds between two lines when standard output is no terminal.
    """
    if refresh_rate == 0 or is_terminal():
        return TQDMProgressBar(refresh_rate=refresh_rate)
    return LineProgress(line_seconds=line_seconds)


def is_terminal() -> bool:
    """Return whether standard output is a terminal that can rewrite its last line.

    Some job systems give a terminal without a width, in which a bar would be invisible.
    """
    if not sys.stdout.isatty() or os.environ.get("TERM") == "dumb":
        return False
    return os.get_terminal_size(sys.stdout.fileno()).columns > 0


class LineProgress(ProgressBar):
    """Print a line every ``line_seconds``, one for every epoch, and nothing that moves the cursor.

    Parameters
    ----------
    line_seconds : float
        Seconds between two lines inside an epoch.
    """

    def __init__(self, *, line_seconds: float = LINE_SECONDS) -> None:
        super().__init__()
        self.line_seconds = line_seconds
        self._enabled = True
        self._epoch_started = 0.0
        self._next_line = inf
        self._first_batch = 0

    def disable(self) -> None:
        """Print nothing (Lightning calls this on all ranks but the first)."""
        self._enabled = False

    def enable(self) -> None:
        """Print again."""
        self._enabled = True

    def print(self, *args: Any, **kwargs: Any) -> None:
        """Print what a module or callback has to say, as a line of its own."""
        self._write(" ".join(str(arg) for arg in args))

    def on_train_start(self, trainer: Trainer, module: LightningModule) -> None:
        """Start the clock, inside an epoch when the run was resumed there."""
        self._start_clock(trainer.fit_loop.epoch_loop.batch_progress.current.completed)

    def on_train_epoch_start(self, trainer: Trainer, module: LightningModule) -> None:
        """Start the epoch's clock."""
        self._start_clock(0)

    def _start_clock(self, first_batch: int) -> None:
        self._first_batch = first_batch
        self._epoch_started = monotonic()
        self._next_line = self._epoch_started + self.line_seconds

    def on_train_batch_end(
        self, trainer: Trainer, module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Print a line when it is due."""
        now = monotonic()
        if now < self._next_line:
            return
        self._next_line = now + self.line_seconds
        done, total = batch_idx + 1, self.total_train_batches
        rate = (done - self._first_batch) / max(now - self._epoch_started, 1e-9)
        parts = [
            _place(trainer),
            f"batch {done}/{_number(total)}",
            *_losses(self.get_metrics(trainer, module), outputs),
            *_rate(trainer),
            f"{rate:.3g} it/s",
            f"epoch ETA {duration((total - done) / rate)}" if rate > 0 and total != inf else "",
        ]
        self._write("  ".join(part for part in parts if part))

    def on_train_epoch_end(self, trainer: Trainer, module: LightningModule) -> None:
        """Print the epoch's metrics, its time, and how long the remaining epochs take at this pace."""
        seconds = monotonic() - self._epoch_started
        left = (trainer.max_epochs or -1) - trainer.current_epoch - 1
        scalars = {
            name: float(value)
            for name, value in trainer.callback_metrics.items()
            if name.startswith(("train_", "val_")) and "/" not in name
        }
        parts = [
            _place(trainer),
            f"done in {duration(seconds)}",
            *(f"{name} {value:.4g}" for name, value in scalars.items()),
            *_rate(trainer),
            f"ETA {duration(left * seconds)}" if left > 0 else "",
        ]
        self._write("  ".join(part for part in parts if part))

    def _write(self, line: str) -> None:
        if not self._enabled:
            return
        try:
            print(line, flush=True)
        except BrokenPipeError:  # the reader (`| head`) has gone: the training stays
            self._enabled = False


def duration(seconds: float) -> str:
    """Return ``seconds`` as ``h:mm:ss``, or ``m:ss`` below an hour.

    Examples
    --------
    >>> duration(59.6), duration(3661)
    ('1:00', '1:01:01')
    """
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def _place(trainer: Trainer) -> str:
    last = trainer.max_epochs
    epochs = "" if last is None or last < 0 else f"/{last}"
    return f"epoch {trainer.current_epoch + 1}{epochs}  step {trainer.global_step}"


def _number(total: float) -> str:
    return "?" if total == inf else str(int(total))


def _losses(metrics: Mapping[str, Any], outputs: Any) -> list[str]:
    """Return what the module puts on its bar, and the loss of the last batch unless that is among it."""
    shown = {name: float(value) for name, value in metrics.items() if isinstance(value, int | float)}
    loss = outputs.get("mean", outputs.get("loss")) if isinstance(outputs, Mapping) else outputs
    if isinstance(loss, Tensor) and not any("loss" in name for name in shown):
        shown["loss"] = float(loss)
    return [f"{name} {value:.4g}" for name, value in shown.items()]


def _rate(trainer: Trainer) -> list[str]:
    return [f"lr {optimizer.param_groups[0]['lr']:.3g}" for optimizer in trainer.optimizers[:1]]
