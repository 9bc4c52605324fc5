"""The training loss and its terms, their means per epoch and source, and the learning rates."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, cast

from lightning.pytorch import Callback, LightningModule, Trainer
from torch.optim import Optimizer

from tabstar_lit.engine.devices.distributed import gather
from tabstar_lit.engine.devices.reading import comes_later
from tabstar_lit.engine.finite import FiniteGuard
from tabstar_lit.engine.optim.schedulers import learning_rates
from tabstar_lit.engine.tracking.means import LOSS, Means, joined


class Line(NamedTuple):
    """A line of the log whose numbers may be on their way: mean loss and rates of an optimizer step."""

    epoch: int
    step: int
    means: Means
    rates: dict[str, float]


def log_metrics(trainer: Trainer, metrics: Mapping[str, float], epoch: int | None = None) -> None:
    """Send ``metrics`` to every logger under an epoch, by default the current one, and the optimizer step."""
    place = {"epoch": trainer.current_epoch if epoch is None else epoch}
    for logger in trainer.loggers:
        logger.log_metrics({**metrics, **place}, step=trainer.global_step)


def rates_by_group(optimizer: Optimizer) -> dict[str, float]:
    """Return ``lr``, and ``lr/<i>`` for the other parameter groups whose rate differs from the first one's."""
    rates = learning_rates(optimizer)
    others = {f"lr/{i}": rate for i, rate in enumerate(rates) if rate != rates[0]}
    return {"lr": rates[0], **others}


def _is_logged(trainer: Trainer, step: int) -> bool:
    every: int | None = trainer.log_every_n_steps  # type: ignore[attr-defined]  # Lightning sets it
    return every is not None and every > 0 and step % every == 0


class TrainingLog(Callback):
    """Log the training loss: every ``log_every_n_steps`` steps, and per epoch in all and by source, with its terms.

    Logs ``train_loss_step`` (mean over the rows since the last line) and ``lr`` while the epoch runs, ``train_loss``,
    ``train_<term>`` and both by source, as ``train_loss/<source>``, at its end. ``lr`` is the rate of that very step: a
    schedule has gone on to the next one by the time a line is written. On a card a line is written with the next one,
    or at the end of the epoch: by then its numbers have come without being waited for.

    Attributes
    ----------
    epoch : dict
        The values of the last whole epoch.
    logged : float
        The last ``train_loss_step``; NaN before the first.
    """

    def __init__(self) -> None:
        self._recent = Means()
        self._means = Means()
        self._rates: dict[str, float] = {}
        self._line: tuple[Trainer, Line] | None = None
        self.epoch: dict[str, float] = {}
        self.logged = float("nan")

    def on_train_epoch_start(self, trainer: Trainer, module: LightningModule) -> None:
        """Begin the epoch's means anew."""
        self._means = Means()

    def on_before_optimizer_step(self, trainer: Trainer, module: LightningModule, optimizer: Optimizer) -> None:
        """Take down the rates of a step that will be logged."""
        if _is_logged(trainer, trainer.global_step + 1):
            self._rates = rates_by_group(optimizer)

    def on_train_batch_end(
        self, trainer: Trainer, module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Add the batch; log at every n-th optimizer step."""
        loss, size = outputs["mean"], outputs["size"]
        self._recent.add("", size, loss, {})
        self._means.add(outputs["source"], size, loss, outputs["terms"])
        last = trainer.is_last_batch
        stepped = last or (batch_idx + 1) % trainer.accumulate_grad_batches == 0
        due = stepped and _is_logged(trainer, trainer.global_step)
        if last:
            cast(FiniteGuard, module.finite).read()
        elif due:
            cast(FiniteGuard, module.finite).look()
        if due:
            self._write()
            self._recent.send()
            self._line = trainer, Line(trainer.current_epoch, trainer.global_step, self._recent, self._rates)
            self._recent = Means()
        if last or not comes_later(loss.device):
            self._write()
        if last:
            self._close_epoch(trainer)

    def _write(self) -> None:
        """Write the line that is on its way."""
        if self._line is None:
            return
        (trainer, line), self._line = self._line, None
        self.logged = line.means.value()
        metrics = {"train_loss_step": self.logged, **line.rates, "epoch": line.epoch}
        for logger in trainer.loggers:
            logger.log_metrics(metrics, step=line.step)

    def recent(self) -> float:
        """Return the mean loss over the rows since the last line, for which the device may have to be waited for."""
        return self._recent.value()

    def _close_epoch(self, trainer: Trainer) -> None:
        """Log the epoch's means over the rows of all ranks; before validation, so that figures can show them."""
        self.epoch = joined(gather(self._means.sums())).values("train")
        log_metrics(trainer, self.epoch)

    def on_train_epoch_end(self, trainer: Trainer, module: LightningModule) -> None:
        """Write what is on its way, also of a run that ends inside its epoch; let the rest be monitored."""
        self._write()
        module.log_dict(self.epoch, logger=False, sync_dist=True)

    def state_dict(self) -> dict[str, Any]:
        """Return the sums, so that a run resumed inside an epoch logs the same means; what is on its way is logged."""
        self._write()
        recent = self._recent.sums().get("", {})
        return {
            "recent": list(recent.get(LOSS, (0.0, 0))),
            "sources": {source: list(named[LOSS]) for source, named in self._means.sums().items()},
            "terms": {
                source: {name: list(sums) for name, sums in named.items() if name != LOSS}
                for source, named in self._means.sums().items()
            },
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on with saved sums; runs of before there were terms have none."""
        terms = state_dict.get("terms", {})
        self._recent = Means({"": {LOSS: state_dict["recent"]}})
        self._means = Means(
            {source: {LOSS: sums, **terms.get(source, {})} for source, sums in state_dict["sources"].items()}
        )
