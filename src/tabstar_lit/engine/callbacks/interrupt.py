"""Stop a training on a signal after an optimizer step, with everything saved, and in all its processes at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.trainer.connectors.signal_connector import _SignalConnector

from tabstar_lit.engine.runs.signals import heed, signals


class NoSignals(_SignalConnector):
    """Lightning's part that takes SIGTERM over, doing nothing: the run holds the signals itself.

    Theirs stops in the middle of an accumulation window, and has the processes of a run talk to each other wherever the
    signal finds them. Lightning offers no switch (2.6).
    """

    def register_signal_handlers(self) -> None:
        """Leave the signals to those who hold them."""

    def teardown(self) -> None:
        """Give nothing back."""


class Interrupt(Checkpoint):
    """Ask at every moment at which a training can be gone on with whether a signal came, save, and leave the loop.

    Being a ``Checkpoint`` callback it runs after all others, so whatever they log belongs to the saved state.

    Parameters
    ----------
    save : callable or None
        Called with the trainer in the middle of an epoch; writes the interrupted checkpoint. At the end of an epoch
        the regular checkpoint of that epoch has been written already. None where nothing is trained.
    """

    def __init__(self, save: Callable[[Trainer], None] | None = None) -> None:
        self.save = save

    def setup(self, trainer: Trainer, module: LightningModule, stage: str) -> None:
        """Keep Lightning's hands off the signals; several processes agree from now on."""
        trainer._signal_connector = NoSignals(trainer)
        signals.shared = signals.shared or trainer.world_size > 1

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Stop before the training, whose validation goes to its end for the epoch's own checkpoint."""
        if trainer.sanity_checking:
            self._heed(trainer)

    def on_train_start(self, trainer: Trainer, module: LightningModule) -> None:
        """Stop before the first step: the disk holds all there is."""
        self._heed(trainer)

    def on_train_batch_end(
        self, trainer: Trainer, module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Save and stop if a signal came and an optimizer step was just made; the epoch's last batch waits."""
        if not trainer.is_last_batch and (batch_idx + 1) % trainer.accumulate_grad_batches == 0:
            self._heed(trainer, self.save)

    def on_train_epoch_end(self, trainer: Trainer, module: LightningModule) -> None:
        """Stop after the epoch's own checkpoint."""
        self._heed(trainer, self.save)

    def on_test_batch_end(
        self,
        trainer: Trainer,
        module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Stop several processes that evaluate; one alone has been stopped where it was."""
        self._heed(trainer)

    def _heed(self, trainer: Trainer, save: Callable[[Trainer], None] | None = None) -> None:
        """End if any rank got a signal, so that all stop at the same step."""
        came = signals.noted is not None
        if trainer.world_size > 1:
            came = trainer.strategy.reduce_boolean_decision(came, all=False)
        if came:
            if save is not None:
                save(trainer)
            heed()
