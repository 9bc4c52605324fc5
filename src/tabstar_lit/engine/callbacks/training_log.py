"""The training loss, its mean per epoch and source, and the learning rates."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from tabstar_lit.engine.distributed import gather
from tabstar_lit.engine.optim.schedulers import learning_rates


def log_metrics(trainer: Trainer, metrics: Mapping[str, float]) -> None:
    """Send ``metrics`` to every logger under the current epoch and optimizer step."""
    for logger in trainer.loggers:
        logger.log_metrics({**metrics, "epoch": trainer.current_epoch}, step=trainer.global_step)


def rates_by_group(trainer: Trainer) -> dict[str, float]:
    """Return ``lr``, and ``lr/<i>`` for the other parameter groups whose rate differs from the first one's."""
    rates = learning_rates(trainer.optimizers[0])
    others = {f"lr/{i}": rate for i, rate in enumerate(rates) if rate != rates[0]}
    return {"lr": rates[0], **others}


class Mean:
    """Running mean of a loss, weighted by rows or their weights, that can be saved and restored without rounding."""

    def __init__(self, total: float = 0.0, size: float = 0) -> None:
        self.total = total
        self.size = size

    def add(self, loss: float, size: float) -> None:
        """Add a batch whose mean loss over ``size`` rows is ``loss``."""
        self.total += loss * size
        self.size += size

    @property
    def value(self) -> float:
        """The mean over all rows added so far; NaN when there are none."""
        return self.total / self.size if self.size else float("nan")


class TrainingLog(Callback):
    """Log the training loss: every ``log_every_n_steps`` steps, and per epoch in all and by source.

    Logs ``train_loss_step`` (mean over the rows since the last line) and ``lr`` while the epoch runs, ``train_loss``
    and ``train_loss/<source>`` at its end.

    Attributes
    ----------
    epoch : dict
        The values of the last whole epoch.
    """

    def __init__(self) -> None:
        self._recent = Mean()
        self._sources: dict[str, Mean] = {}
        self.epoch: dict[str, float] = {}

    def on_train_epoch_start(self, trainer: Trainer, module: LightningModule) -> None:
        """Begin the epoch's means anew."""
        self._sources = {}

    def on_train_batch_end(
        self, trainer: Trainer, module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Add the batch; log at every n-th optimizer step."""
        loss, size = float(outputs["mean"]), outputs["size"]
        self._recent.add(loss, size)
        self._sources.setdefault(outputs["source"], Mean()).add(loss, size)
        stepped = (batch_idx + 1) % trainer.accumulate_grad_batches == 0 or trainer.is_last_batch
        every = trainer.log_every_n_steps  # type: ignore[attr-defined]  # set by Lightning's logger connector
        if stepped and every and trainer.global_step % every == 0:
            log_metrics(trainer, {"train_loss_step": self._recent.value, **rates_by_group(trainer)})
            self._recent = Mean()
        if trainer.is_last_batch:
            self._close_epoch(trainer)

    def _close_epoch(self, trainer: Trainer) -> None:
        """Log the epoch's mean loss over the rows of all ranks; before validation, so that figures can show it."""
        merged: dict[str, Mean] = {}
        for sources in gather({name: (mean.total, mean.size) for name, mean in self._sources.items()}):
            for name, (total, size) in sources.items():
                mean = merged.setdefault(name, Mean())
                mean.total, mean.size = mean.total + total, mean.size + size
        whole = Mean(sum(mean.total for mean in merged.values()), sum(mean.size for mean in merged.values()))
        by_source = {f"train_loss/{name}": mean.value for name, mean in sorted(merged.items())}
        self.epoch = {"train_loss": whole.value, **(by_source if len(by_source) > 1 else {})}
        log_metrics(trainer, self.epoch)

    def on_train_epoch_end(self, trainer: Trainer, module: LightningModule) -> None:
        """Let ``train_loss`` be monitored."""
        if self.epoch:
            module.log("train_loss", self.epoch["train_loss"], logger=False, sync_dist=True)

    def state_dict(self) -> dict[str, Any]:
        """Return the sums, so that a run resumed inside an epoch logs the same means."""
        return {
            "recent": [self._recent.total, self._recent.size],
            "sources": {name: [mean.total, mean.size] for name, mean in self._sources.items()},
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on with saved sums."""
        self._recent = Mean(*state_dict["recent"])
        self._sources = {name: Mean(*sums) for name, sums in state_dict["sources"].items()}
