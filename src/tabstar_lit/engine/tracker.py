"""Metrics and figures while the run goes on, from what validation steps returned: there is no second forward pass."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from lightning.pytorch import Callback, LightningModule, Trainer

from tabstar_lit.engine.callbacks.training_log import TrainingLog, log_metrics
from tabstar_lit.engine.devices.distributed import gather
from tabstar_lit.engine.tracking.columns import Columns, Kept, stack_ranks
from tabstar_lit.engine.tracking.gallery import Gallery, Look
from tabstar_lit.engine.tracking.means import Means, joined
from tabstar_lit.engine.tracking.sampling import sampling
from tabstar_lit.engine.tracking.streams import Stream

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SIDES = {"val": "validation", "test": "test"}
"""Sides of the data, as figures call them."""


class Tracker(Callback, ABC):
    """Compute metrics every ``check_metrics_n_epoch`` and draw figures every ``plot_metrics_n_epoch`` epochs.

    ``val_loss`` (mean over all validation rows), its terms ``val_<term>`` and both by source are computed at every
    validation. A family adds metrics, figures and samples: from the columns it keeps, from streams that are updated
    batch by batch, and from the network. What cannot be drawn is reported once with its reason and never stops a run.

    Parameters
    ----------
    figures : Path
        Folder the figures are written to.
    check_every, plot_every : int or None
        In epochs; None switches metrics or figures off.

    Attributes
    ----------
    streams : dict of str to Stream
        Metrics without a memory of rows, by the name they are logged under as ``val_<name>``. A family puts its own
        here when it is made; they begin anew with each validation.
    training_log : TrainingLog
        Where the training losses of the epoch are read from; the engine puts the run's own here.
    history : list of dict
        Every validated epoch's values under ``epoch`` and the metric names; survives a resume.
    weights_of : int or None
        The epoch whose weights are looked at; None: those of the epoch that the trainer counts.
    """

    rows: ClassVar[str] = "rows"
    """What a validation counts, as the small print of figures calls it."""

    def __init__(self, figures: Path, *, check_every: int | None, plot_every: int | None) -> None:
        self.check_every = check_every
        self.plot_every = plot_every
        self.streams: dict[str, Stream] = {}
        self.training_log = TrainingLog()
        self.history: list[dict[str, float]] = []
        self.weights_of: int | None = None
        self._gallery = Gallery(figures, type(self).__name__)
        self._means = Means()
        self._kept = Kept()

    def dress(self, look: Look) -> None:
        """Give the figures their look and small print, before anything is drawn."""
        self._gallery.look = look

    @property
    def drawn(self) -> list[str]:
        """Names of the figures that this process drew, the most telling first."""
        return self._gallery.figures

    # -- what a family provides ---------------------------------------------------------------------------------------

    def keeps(self) -> Collection[str]:
        """Return the names of the columns that metrics and figures need; all others are forgotten with their batch."""
        return ()

    @abstractmethod
    def metrics(self, collected: Mapping[str, Columns]) -> dict[str, float]:
        """Return metric values by name; they are logged, and may be monitored, as ``val_<name>``.

        Parameters
        ----------
        collected : Mapping of str to Mapping of str to Tensor
            The columns ``[N, ...]`` of :meth:`keeps`, by source and name, on the CPU. Sources whose steps returned none
            of them are missing.
        """

    @abstractmethod
    def figures(self, collected: Mapping[str, Columns]) -> Iterable[tuple[str, Figure]]:
        """Yield ``(name, figure)`` of this epoch; a name with slashes goes into sub-folders."""

    def samples(self, module: LightningModule, collected: Mapping[str, Columns]) -> Iterable[tuple[str, Figure | str]]:
        """Yield what the network makes after an epoch whose figures are due, on the main process.

        The module is in evaluation mode and without gradients, and global generators are seeded for the samples alone:
        the same in every epoch, and without a trace in the training.

        Yields
        ------
        tuple of str and Figure or str
            Name, and a figure or a text. A text is written as ``.txt``, or as ``.md`` where its name ends so.
        """
        return ()

    def measure(self, module: LightningModule, collected: Mapping[str, Columns]) -> dict[str, float]:
        """Return metrics of what the network makes, in an epoch whose figures are due, under the rules of `samples`.

        They are logged as those of :meth:`metrics`, and may not be monitored, since most epochs lack them. Every
        process computes them, and must come to the same values.
        """
        return {}

    def metric_names(self) -> Collection[str] | None:
        """Return the names that :meth:`metrics` can give, so that a wrong ``monitor`` is found early; None: unknown."""
        return None

    def notes(self) -> Sequence[str]:
        """Return what the last metrics give reason to doubt, for log and report at the end of the stage."""
        return ()

    def better_when_larger(self) -> Collection[str]:
        """Return those names of :meth:`metric_names` whose largest value is the best, to warn of a wrong mode."""
        return ()

    def summary_figures(self) -> Iterable[tuple[str, Figure]]:
        """Yield figures over all epochs so far, drawn from :attr:`history` and replaced each time."""
        return ()

    def closing_figures(self, module: LightningModule) -> Iterable[tuple[str, Figure]]:
        """Yield figures of the trained network that take a while, such as importances of columns.

        They are drawn after the last epoch and in a test, under the rules of :meth:`samples`.
        """
        return ()

    # -- what may be monitored ----------------------------------------------------------------------------------------

    def monitorable(self) -> Collection[str] | None:
        """Return the names of metrics and streams; None where the metrics are unknown."""
        names = self.metric_names()
        return None if names is None else (*names, *self.streams)

    def larger_is_better(self) -> Collection[str]:
        """Return the metrics and streams whose largest value is the best."""
        streams = (name for name, stream in self.streams.items() if stream.metric.higher_is_better)
        return (*self.better_when_larger(), *streams)

    # -- validation and test ------------------------------------------------------------------------------------------

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Forget the last epoch."""
        self._means, self._kept = Means(), Kept()
        for stream in self.streams.values():
            stream.metric.to(pl_module.device).reset()

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Take from what the step returned what is asked for."""
        self._means.add(outputs.source, outputs.size, outputs.loss, outputs.terms)
        checked = self._due(trainer, self.check_every)
        if checked or self._due(trainer, self.plot_every):
            self._kept.add(outputs.source, outputs.columns, self.keeps())
        if checked:
            for stream in self.streams.values():
                stream.update(outputs)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Compute, log and draw; a test is always due."""
        if not trainer.sanity_checking:
            self._report(trainer, pl_module, prefix="test" if trainer.testing else "val")

    on_test_epoch_start = on_validation_epoch_start
    on_test_batch_end = on_validation_batch_end
    on_test_epoch_end = on_validation_epoch_end

    def _due(self, trainer: Trainer, every: int | None) -> bool:
        return every is not None and (trainer.testing or (trainer.current_epoch + 1) % every == 0)

    def _report(self, trainer: Trainer, module: LightningModule, *, prefix: str) -> None:
        own = dict(sorted(self._means.sums().items())), self._kept.stacked(), self._updates()
        self._means, self._kept = Means(), Kept()
        sums, columns, updates = zip(*gather(own), strict=True)
        collected = stack_ranks(columns)
        values = joined(sums).values(prefix)
        if self._due(trainer, self.check_every):
            scores = {n: stream.value(sum(rank[n] for rank in updates)) for n, stream in self.streams.items()}
            for found in (scores, self.metrics(collected)):
                self._add(values, {f"{prefix}_{name}": value for name, value in found.items()})
        if self._due(trainer, self.plot_every):
            with trainer.precision_plugin.val_step_context(), sampling(module):
                made = self.measure(module, collected)
            self._add(values, {f"{prefix}_{name}": value for name, value in made.items()})
        # Lightning keeps values of earlier epochs, which would pass for this one's where it computes fewer.
        for name in [name for name in trainer.callback_metrics if name.startswith(f"{prefix}_")]:
            del trainer.callback_metrics[name]
        module.log_dict(values, logger=False, sync_dist=True)  # equal on all ranks already
        log_metrics(trainer, values, self.weights_of)
        epoch = trainer.current_epoch if self.weights_of is None else self.weights_of
        self.history.append({"epoch": epoch, **self.training_log.epoch, **values})
        if self._due(trainer, self.plot_every) and trainer.is_global_zero:
            self._draw(trainer, module, collected, f"epoch_{trainer.current_epoch:04d}" if prefix == "val" else prefix)

    def _updates(self) -> dict[str, int]:
        return {name: stream.updates for name, stream in self.streams.items()}

    def _add(self, values: dict[str, float], more: Mapping[str, float]) -> None:
        """Add ``more`` to ``values``, unless one would hide another."""
        twice = [name for name in more if name in values]
        if twice:
            raise ValueError(f"{type(self).__name__}: two values are called {twice[0]!r}; rename a term or a metric.")
        values.update(more)

    def _draw(self, trainer: Trainer, module: LightningModule, collected: Mapping[str, Columns], when: str) -> None:
        split = SIDES[trainer.datamodule.test_side if trainer.testing else "val"]  # type: ignore[attr-defined]  # ours
        shown = split if trainer.testing else f"{split}, epoch {trainer.current_epoch}"
        count = f"{sum(len(next(iter(columns.values()))) for columns in collected.values())} {self.rows}"
        hang, loggers = self._gallery.hang, trainer.loggers
        with trainer.precision_plugin.val_step_context(), sampling(module):
            hang(partial(self.samples, module, collected), loggers, when, shown=shown)
        hang(partial(self.figures, collected), loggers, when, shown=f"{shown}, {count}")
        if trainer.testing:
            self._close(trainer, module, when, shown)
        else:
            first, last = (int(self.history[place]["epoch"]) for place in (0, -1))
            span = f"epoch {last}" if first == last else f"epochs {first} to {last}"
            hang(self.summary_figures, loggers, shown=f"{split}, {span}, {count}")

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw what is drawn once, where figures are wanted."""
        if self.plot_every is not None and trainer.is_global_zero:
            self._close(trainer, pl_module, None, f"validation, after {trainer.current_epoch} epochs")

    def _close(self, trainer: Trainer, module: LightningModule, when: str | None, shown: str) -> None:
        with trainer.precision_plugin.val_step_context(), sampling(module):
            self._gallery.hang(partial(self.closing_figures, module), trainer.loggers, when, shown=shown)

    # -- state --------------------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Return the history, for figures over all epochs after a resume."""
        return {"history": self.history}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on with a saved history."""
        self.history = list(state_dict["history"])
