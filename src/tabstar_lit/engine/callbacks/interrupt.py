"""Stop on a signal at the next optimizer step, with everything saved."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from types import FrameType
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.utilities.rank_zero import rank_zero_info

from tabstar_lit.errors import RunInterrupted

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)


class Interrupt(Checkpoint):
    """Finish the optimizer step, save, and leave the loop; a second signal ends the process at once.

    Being a ``Checkpoint`` callback it runs after all others, so whatever they log belongs to the saved state.

    Parameters
    ----------
    save : callable
        Called with the trainer in the middle of an epoch; writes the interrupted checkpoint. At the end of an epoch
        the regular checkpoint of that epoch has been written already.
    """

    def __init__(self, save: Callable[[Trainer], None]) -> None:
        self.save = save
        self._signum: int | None = None
        self._pid = os.getpid()
        self._previous: dict[signal.Signals, Any] = {}

    def on_train_start(self, trainer: Trainer, module: LightningModule) -> None:
        """Take the signals over from Lightning, which would stop in the middle of an accumulation window."""
        self._pid = os.getpid()
        self._previous = {signum: signal.signal(signum, self._handle) for signum in SIGNALS}

    def _handle(self, signum: int, frame: FrameType | None) -> None:
        if os.getpid() != self._pid:  # a loader worker inherits the handler; the main process decides
            return
        if self._signum is not None:
            os._exit(128 + signum)
        self._signum = signum
        rank_zero_info(f"{signal.Signals(signum).name}: saving after this step. A second signal exits at once.")

    def on_train_batch_end(
        self, trainer: Trainer, module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Save and stop if a signal came and an optimizer step was just made; the epoch's last batch waits."""
        if trainer.is_last_batch or (batch_idx + 1) % trainer.accumulate_grad_batches:
            return
        if (signum := self._agreed(trainer)) is not None:
            self.save(trainer)
            raise RunInterrupted(signum)

    def on_train_epoch_end(self, trainer: Trainer, module: LightningModule) -> None:
        """Stop after the epoch's own checkpoint."""
        if (signum := self._agreed(trainer)) is not None:
            self.save(trainer)
            raise RunInterrupted(signum)

    def _agreed(self, trainer: Trainer) -> int | None:
        """Return the signal when any rank got one, so that all ranks stop at the same step."""
        if trainer.world_size == 1:
            return self._signum
        if not trainer.strategy.reduce_boolean_decision(self._signum is not None, all=False):
            return None
        return self._signum or signal.SIGTERM

    def teardown(self, trainer: Trainer, module: LightningModule, stage: str) -> None:
        """Give the signals back."""
        self._release()

    def on_exception(self, trainer: Trainer, module: LightningModule, exception: BaseException) -> None:
        """Give the signals back when the loop is left by an exception."""
        self._release()

    def _release(self) -> None:
        for signum, handler in self._previous.items():
            signal.signal(signum, handler)
        self._previous = {}
