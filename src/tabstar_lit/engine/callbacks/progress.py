"""How far a run is, right where it is read: a line that is redrawn in a terminal, whole lines in a pipe or log."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Mapping, Sequence
from math import inf
from shutil import get_terminal_size
from time import monotonic
from typing import TYPE_CHECKING, Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ProgressBar, Timer
from tqdm import tqdm

from tabstar_lit.engine.callbacks.resources import ResourceMonitor

if TYPE_CHECKING:
    from tabstar_lit.config.schema import TrainingConfig
    from tabstar_lit.engine.tracker import Tracker

LINE_SECONDS = 30.0
REDRAW_SECONDS = 0.1
LOG_COLUMNS = 240
"""Of the line of an epoch in a file: some ten scores. All of them are in metrics.jsonl and in the figures."""
LONGEST_BAR, SHORTEST_BAR = 40, 4
"""Characters of the bar; where there is no room for one, there is none."""

Place = tuple[float, float]
"""Batches done, and batches in all."""


class Progress(ProgressBar):
    """Show epoch, loss, the monitored metric with its best, speed, and how long the run still takes.

    A terminal has one line that is redrawn, above which every epoch leaves a line of its own. Elsewhere the same stands
    in whole lines: one every ``line_seconds``, and one for every epoch. Nothing is read from a device for it: losses
    are those that the training log has read, metrics those that the tracker has computed.

    Parameters
    ----------
    tracker : Tracker
        Its ``history`` has the metrics, its ``training_log`` the losses.
    resources : ResourceMonitor
        Knows the speed.
    training : TrainingConfig
        Names the monitored metric and its mode.
    refresh_rate : int
        Batches between two drawings in a terminal; 0 shows nothing, in a pipe too.
    line_seconds : float
        Seconds between two lines inside an epoch where there is no terminal.
    """

    def __init__(
        self,
        tracker: Tracker,
        resources: ResourceMonitor,
        training: TrainingConfig,
        *,
        refresh_rate: int,
        line_seconds: float = LINE_SECONDS,
    ) -> None:
        super().__init__()
        self.tracker = tracker
        self.resources = resources
        self.monitor = training.monitor
        self.larger = training.monitor_mode == "max"
        self.refresh_rate = refresh_rate
        self.pause = REDRAW_SECONDS if is_terminal() else line_seconds
        self._enabled = refresh_rate > 0
        self._bar: tqdm[Any] | None = None
        self._begun: tuple[float, float] = (0.0, 0.0)
        self._epoch_begun = 0.0
        self._next = inf

    def disable(self) -> None:
        """Show nothing (Lightning calls this on all ranks but the first)."""
        self._enabled = False

    def enable(self) -> None:
        """Show again."""
        self._enabled = self.refresh_rate > 0

    def print(self, *args: Any, **kwargs: Any) -> None:
        """Print what a module or callback has to say, as a line of its own."""
        self._write(" ".join(str(arg) for arg in args))

    # -- moments ------------------------------------------------------------------------------------------------------

    def on_train_start(self, trainer: Trainer, module: LightningModule) -> None:
        """Start the clocks, inside an epoch when the run was resumed there."""
        inside = trainer.fit_loop.epoch_loop.batch_progress.current.completed
        done, _ = self._place(trainer, inside if inside < self.total_train_batches else 0)
        self._begun = (monotonic(), done)
        if self._enabled and is_terminal():
            self._bar = tqdm(total=0, bar_format="{desc}", file=sys.stdout, leave=False)
        self.on_train_epoch_start(trainer, module)

    def on_train_epoch_start(self, trainer: Trainer, module: LightningModule) -> None:
        """Start the epoch's clock."""
        self._epoch_begun = monotonic()
        self._next = self._epoch_begun + self.pause if self._enabled else inf

    def on_train_batch_end(
        self, trainer: Trainer, module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Draw when it is due."""
        if monotonic() < self._next or (self._bar is not None and (batch_idx + 1) % self.refresh_rate):
            return
        self._show(trainer, module, self._place(trainer, batch_idx + 1), f"batch {batch_idx + 1}")

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Draw when it is due, so that a long validation is seen to move."""
        if monotonic() >= self._next and not trainer.sanity_checking:
            place = self._place(trainer, self.total_train_batches)
            self._show(trainer, module, place, f"validating {batch_idx + 1}/{sum(trainer.num_val_batches)}")

    def on_train_epoch_end(self, trainer: Trainer, module: LightningModule) -> None:
        """Leave a line about the epoch: its metrics, the best so far, its speed and time, and the time that is left."""
        if not trainer.is_last_batch:
            self._write("  ".join(self._broken_off(trainer, module)))
            return
        place = self._place(trainer, self.total_train_batches)
        values = {**self.tracker.training_log.epoch, **self._values_of(trainer.current_epoch)}
        plain = {name: value for name, value in values.items() if "/" not in name}
        named = {
            name: f"{name} {value:.4g}{self._best() if name == self.monitor else ''}" for name, value in plain.items()
        }
        first = [named.pop(name) for name in dict.fromkeys(("train_loss", "val_loss", self.monitor)) if name in named]
        others = [named[name] for name in sorted(named, key=lambda name: name.startswith("train_"))]
        speed, left = self._speed(module), self._left(trainer, place)
        took = f"in {duration(monotonic() - self._epoch_begun)}"
        parts = [self._epoch(trainer), *first, *others, *speed, took, *left]
        losses = [part for part in first if not part.startswith(f"{self.monitor} ")]
        self._write("  ".join(fitting(parts, self._width(), [*losses, *left, took, *speed, *others])))

    def on_train_end(self, trainer: Trainer, module: LightningModule) -> None:
        """Take the line away; those of the epochs stay."""
        self._close()

    def on_exception(self, trainer: Trainer, module: LightningModule, exception: BaseException) -> None:
        """Take the line away before the reason is told."""
        self._close()

    # -- what is said -------------------------------------------------------------------------------------------------

    def _show(self, trainer: Trainer, module: LightningModule, place: Place, doing: str) -> None:
        self._next = monotonic() + self.pause
        head, loss, score = self._epoch(trainer), self._loss(module), self._last()
        speed = self._speed(module)
        parts = [
            *([] if self._bar is not None and doing.startswith("batch") else [doing]),
            *([] if math.isnan(loss) else [f"loss {loss:.3g}"]),
            *([] if score is None else [f"{self.monitor} {score:.4g}{self._best()}"]),
            *speed,
            *self._left(trainer, place),
        ]
        if self._bar is None:
            self._write("  ".join([head, *parts]))
            return
        room = self._width() - len(head) - 2
        text = "  ".join(fitting(parts, room, speed))
        length = int(min(room - len(text) - 1, LONGEST_BAR))
        bar = f" {drawn(place[0] / place[1], length)}" if length >= SHORTEST_BAR else ""
        self._bar.set_description_str(f"{head}{bar}  {text}")

    def _broken_off(self, trainer: Trainer, module: LightningModule) -> list[str]:
        """Return what is known of an epoch within which the training ended, by its steps or its time."""
        done, loss = trainer.fit_loop.epoch_loop.batch_progress.current.completed, self._loss(module)
        return [
            self._epoch(trainer),
            f"ended after {done} of {self.total_train_batches} batches",
            *([] if math.isnan(loss) else [f"loss {loss:.4g}"]),
            *self._speed(module),
            f"in {duration(monotonic() - self._epoch_begun)}",
        ]

    def _loss(self, module: LightningModule) -> float:
        """Return the loss since the last logged step; where it is on another device, the one that was logged."""
        log = self.tracker.training_log
        recent = log.recent() if module.device.type == "cpu" else math.nan
        return log.logged if math.isnan(recent) else recent

    def _values_of(self, epoch: int) -> Mapping[str, float]:
        """Return what was validated in ``epoch``."""
        history = self.tracker.history
        found = history[-1] if history and history[-1]["epoch"] == epoch else {}
        return {name: value for name, value in found.items() if name != "epoch"}

    def _scores(self) -> list[float]:
        values = (entry.get(self.monitor, math.nan) for entry in self.tracker.history)
        return [value for value in values if not math.isnan(value)]

    def _last(self) -> float | None:
        return next(reversed(self._scores()), None)

    def _best(self) -> str:
        scores = self._scores()
        return f" best {max(scores) if self.larger else min(scores):.4g}" if scores else ""

    def _speed(self, module: LightningModule) -> list[str]:
        rate = self.resources.rate()
        return [] if rate is None else [f"{short(rate)} {getattr(module, 'unit', 'rows')}/s"]

    def _left(self, trainer: Trainer, place: Place) -> list[str]:
        """Return the time that the whole run still takes at the pace so far, validations included."""
        (begun, first), (done, total) = self._begun, place
        seconds = inf if done <= first else (monotonic() - begun) / (done - first) * (total - done)
        for timer in trainer.callbacks:  # type: ignore[attr-defined]  # Lightning sets it
            if isinstance(timer, Timer):
                seconds = min(seconds, timer.time_remaining() or 0.0)
        return [f"ETA {duration(seconds)}"] if 0 < seconds < inf else []

    def _epoch(self, trainer: Trainer) -> str:
        last = trainer.max_epochs
        return f"epoch {trainer.current_epoch + 1}" + ("" if last is None or last < 0 else f"/{last}")

    def _place(self, trainer: Trainer, batches: float) -> Place:
        """Return how many batches of the whole run are done after ``batches`` of this epoch."""
        of_epoch = self.total_train_batches
        total = of_epoch * (trainer.max_epochs if trainer.max_epochs and trainer.max_epochs > 0 else inf)
        if trainer.max_steps >= 0:
            total = min(total, trainer.max_steps * trainer.accumulate_grad_batches)
        return trainer.current_epoch * of_epoch + batches, total

    # -- where it is said ---------------------------------------------------------------------------------------------

    def _width(self) -> float:
        return LOG_COLUMNS if self._bar is None else get_terminal_size().columns - 1

    def _write(self, line: str) -> None:
        if not self._enabled:
            return
        try:
            if self._bar is None:
                print(line, flush=True)
            else:
                tqdm.write(line, file=sys.stdout)
        except BrokenPipeError:  # the reader (`| head`) has gone: the training stays
            self._enabled, self._next = False, inf

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None


def is_terminal() -> bool:
    """Return whether standard output is a terminal that can rewrite its last line.

    Some job systems give a terminal without a width, in which a line that is redrawn would be invisible.
    """
    if not sys.stdout.isatty() or os.environ.get("TERM") == "dumb":
        return False
    return os.get_terminal_size(sys.stdout.fileno()).columns > 0


def fitting(parts: Sequence[str], width: float, optional: Sequence[str]) -> list[str]:
    """Return the parts of a line without as many of the last ``optional`` ones as do not fit into ``width``.

    Examples
    --------
    >>> fitting(["epoch 1", "loss 2", "lr 3"], 16, ["lr 3"])
    ['epoch 1', 'loss 2']
    """
    shown = list(parts)
    for part in reversed(optional):
        if len("  ".join(shown)) > width:
            shown.remove(part)
    return shown


def drawn(share: float, width: int) -> str:
    """Return a bar of ``width`` characters, filled to ``share``: in colour, unless ``NO_COLOR`` is set."""
    filled = round(min(share, 1.0) * width)
    try:
        "━─".encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        return "#" * filled + "-" * (width - filled)
    if os.environ.get("NO_COLOR"):
        return "━" * filled + "─" * (width - filled)
    return f"\x1b[36m{'━' * filled}\x1b[2m{'─' * (width - filled)}\x1b[0m"


def short(number: float) -> str:
    """Return a number in three digits.

    Examples
    --------
    >>> short(12.34), short(12345), short(1.2e6)
    ('12.3', '12.3k', '1.2M')
    """
    power = next((power for power in range(3) if number < 999.5 * 1000**power), 3)
    return f"{number / 1000**power:.3g}{' kMG'[power].strip()}"


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
