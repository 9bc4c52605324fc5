"""Metrics and figures while the run goes on, from what validation steps returned: there is no second forward pass."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities.rank_zero import rank_zero_warn
from torch import Tensor

from tabstar_lit.engine.callbacks.training_log import Mean, TrainingLog, log_metrics
from tabstar_lit.engine.distributed import gather
from tabstar_lit.engine.module import StepOutput
from tabstar_lit.plots.style import save_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(slots=True)
class Collected:
    """What validation returned for one source: rows stacked over its batches, on the CPU.

    Attributes
    ----------
    predictions, targets : Tensor
        ``[N, ...]`` in the order of the validation plan, ranks one after the other.
    weights : Tensor or None
        ``[N]`` event weights, where the family has them.
    extras : Tensor or None
        ``[N, ...]`` further columns, where the family has them.
    """

    predictions: Tensor
    targets: Tensor
    weights: Tensor | None = None
    extras: Tensor | None = None


@dataclass(slots=True)
class _Parts:
    loss: Mean = field(default_factory=Mean)
    predictions: list[Tensor] = field(default_factory=list)
    targets: list[Tensor] = field(default_factory=list)
    weights: list[Tensor] = field(default_factory=list)
    extras: list[Tensor] = field(default_factory=list)

    def add(self, output: StepOutput, keep: bool) -> None:
        self.loss.add(float(output.loss), output.size)
        for part, value in (
            (self.predictions, output.predictions),
            (self.targets, output.targets),
            (self.weights, output.weights),
            (self.extras, output.extras),
        ):
            if keep and value is not None:
                part.append(value.detach().float().cpu())

    def stacked(self) -> tuple[Mean, list[Tensor | None]]:
        parts = (self.predictions, self.targets, self.weights, self.extras)
        return self.loss, [torch.cat(part) if part else None for part in parts]


class Tracker(Callback, ABC):
    """Compute metrics every ``check_metrics_n_epoch`` and draw figures every ``plot_metrics_n_epoch`` epochs.

    ``val_loss`` (mean over all validation rows) and ``val_loss/<source>`` are computed at every validation. A family
    adds its metrics and figures. A figure that cannot be drawn is reported once with its reason and never stops a run.

    Parameters
    ----------
    figures : Path
        Folder the figures are written to.
    check_every, plot_every : int or None
        In epochs; None switches metrics or figures off.

    Attributes
    ----------
    training_log : TrainingLog
        Where the training losses of the epoch are read from; the engine puts the run's own here.
    history : list of dict
        Every validated epoch's values under ``epoch`` and the metric names; survives a resume.
    """

    def __init__(self, figures: Path, *, check_every: int | None, plot_every: int | None) -> None:
        self.folder = figures
        self.check_every = check_every
        self.plot_every = plot_every
        self.training_log = TrainingLog()
        self.history: list[dict[str, float]] = []
        self._parts: dict[str, _Parts] = {}
        self._broken: set[str] = set()

    # -- what a family provides ---------------------------------------------------------------------------------------

    @abstractmethod
    def metrics(self, collected: Mapping[str, Collected]) -> dict[str, float]:
        """Return metric values by name; they are logged, and may be monitored, as ``val_<name>``."""

    @abstractmethod
    def figures(self, collected: Mapping[str, Collected]) -> Iterable[tuple[str, Figure]]:
        """Yield ``(name, figure)`` of this epoch; a name with slashes goes into sub-folders."""

    def metric_names(self) -> Collection[str] | None:
        """Return the names that :meth:`metrics` can give, so that a wrong ``monitor`` is found early; None: unknown."""
        return None

    def better_when_larger(self) -> Collection[str]:
        """Return those names of :meth:`metric_names` whose largest value is the best, to warn of a wrong mode."""
        return ()

    def summary_figures(self) -> Iterable[tuple[str, Figure]]:
        """Yield figures over all epochs so far, drawn from :attr:`history` and replaced each time."""
        return ()

    # -- validation ---------------------------------------------------------------------------------------------------

    def on_validation_epoch_start(self, trainer: Trainer, module: LightningModule) -> None:
        """Forget the last epoch."""
        self._parts = {}

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Keep what the validation step returned."""
        due = self._due(trainer, self.check_every) or self._due(trainer, self.plot_every)
        self._parts.setdefault(outputs.source, _Parts()).add(outputs, keep=due)

    def on_validation_epoch_end(self, trainer: Trainer, module: LightningModule) -> None:
        """Compute, log and draw."""
        if not trainer.sanity_checking:
            self._report(trainer, module, prefix="val")

    def on_test_epoch_start(self, trainer: Trainer, module: LightningModule) -> None:
        """Forget the last epoch."""
        self._parts = {}

    def on_test_batch_end(
        self,
        trainer: Trainer,
        module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Keep what the test step returned."""
        self._parts.setdefault(outputs.source, _Parts()).add(outputs, keep=True)

    def on_test_epoch_end(self, trainer: Trainer, module: LightningModule) -> None:
        """Compute, log and draw, whatever the epoch."""
        self._report(trainer, module, prefix="test")

    def _due(self, trainer: Trainer, every: int | None) -> bool:
        return every is not None and (trainer.testing or (trainer.current_epoch + 1) % every == 0)

    def _report(self, trainer: Trainer, module: LightningModule, *, prefix: str) -> None:
        losses, collected = _merge(gather({source: parts.stacked() for source, parts in self._parts.items()}))
        self._parts = {}
        values = {f"{prefix}_loss": losses.pop("").value}
        if len(losses) > 1:
            values |= {f"{prefix}_loss/{source}": mean.value for source, mean in losses.items()}
        if self._due(trainer, self.check_every):
            values |= {f"{prefix}_{name}": value for name, value in self.metrics(collected).items()}
        # Lightning keeps values of earlier epochs, which would pass for this one's where it computes fewer.
        for name in [name for name in trainer.callback_metrics if name.startswith(f"{prefix}_")]:
            del trainer.callback_metrics[name]
        module.log_dict(values, logger=False, sync_dist=True)  # equal on all ranks already
        log_metrics(trainer, values)
        self.history.append({"epoch": trainer.current_epoch, **self.training_log.epoch, **values})
        if self._due(trainer, self.plot_every) and trainer.is_global_zero:
            self._draw(trainer, collected, prefix)

    # -- figures ------------------------------------------------------------------------------------------------------

    def _draw(self, trainer: Trainer, collected: Mapping[str, Collected], prefix: str) -> None:
        when = f"epoch_{trainer.current_epoch:04d}" if prefix == "val" else prefix
        for generator, template in (
            (self.figures(collected), f"{{}}/{when}"),
            (self.summary_figures(), "{}"),
        ):
            iterator = iter(generator)
            while True:
                try:
                    name, figure = next(iterator)
                    path = self.folder / f"{template.format(name)}.png"
                    save_figure(figure, path)
                except StopIteration:
                    break
                except Exception as error:  # whatever a plot does wrong, the training goes on
                    self._complain(error)
                    break
                self._upload(trainer, path)

    def _complain(self, error: Exception) -> None:
        reason = f"{type(error).__name__}: {error}"
        if reason not in self._broken:
            self._broken.add(reason)
            rank_zero_warn(f"{type(self).__name__} could not draw a figure; training goes on. {reason}")

    def _upload(self, trainer: Trainer, path: Path) -> None:
        for logger in trainer.loggers:
            if hasattr(logger, "log_figure"):
                logger.log_figure(path, path.relative_to(self.folder).as_posix())

    # -- state --------------------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Return the history, for figures over all epochs after a resume."""
        return {"history": self.history}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on with a saved history."""
        self.history = list(state_dict["history"])


def _merge(
    ranks: list[dict[str, tuple[Mean, list[Tensor | None]]]],
) -> tuple[dict[str, Mean], dict[str, Collected]]:
    """Join what the ranks hold: losses by source, the whole under the empty name, and stacked tensors by source."""
    losses: dict[str, Mean] = {"": Mean()}
    collected: dict[str, Collected] = {}
    for source in sorted({source for rank in ranks for source in rank}):
        parts = [rank[source] for rank in ranks if source in rank]
        losses[source] = Mean(sum(mean.total for mean, _ in parts), sum(mean.size for mean, _ in parts))
        losses[""] = Mean(losses[""].total + losses[source].total, losses[""].size + losses[source].size)
        predictions, targets, *others = (_joined([stack[i] for _, stack in parts]) for i in range(4))
        if predictions is not None and targets is not None:
            collected[source] = Collected(predictions, targets, *others)
    return losses, collected


def _joined(tensors: list[Tensor | None]) -> Tensor | None:
    present = [tensor for tensor in tensors if tensor is not None]
    return torch.cat(present) if present else None
