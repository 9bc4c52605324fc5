"""Metrics and figures of a signal classifier, on weighted events."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
from lightning.fabric.utilities import move_data_to_device
from lightning.pytorch import LightningModule

from tabstar_lit.config.tree import Problem, dotted, suggestion
from tabstar_lit.engine.tracker import Tracker
from tabstar_lit.engine.tracking.columns import Columns, Kept, stack
from tabstar_lit.errors import ConfigError
from tabstar_lit.families.hep.plotting import name_units
from tabstar_lit.families.hep.signal.figures import draw_all
from tabstar_lit.families.hep.signal.figures_curves import importance_figure
from tabstar_lit.families.hep.signal.figures_scores import overtraining_figure
from tabstar_lit.families.hep.signal.importance import feature_importances
from tabstar_lit.families.hep.signal.plotting_config import SignalPlotting, check_plotting
from tabstar_lit.families.hep.signal.scored import Scored
from tabstar_lit.families.hep.signal.scores import metric_names, score
from tabstar_lit.plots.curves import epoch_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from tabstar_lit.engine.module import TrainingModule
    from tabstar_lit.families.hep.batch import EventBatch, Inputs
    from tabstar_lit.families.hep.signal.training_config import DiscoConfig

SUMMARY = ("auroc", "auroc_unweighted", "auprc", "accuracy", "f1", "ece")


class SignalTracker(Tracker):
    """Track areas, accuracy, F1, calibration, rejection, significance and sculpting of weighted events.

    Validation steps return raw ``logits`` ``[B, K]``, class numbers ``targets`` ``[B]``, signed event ``weights``
    ``[B]`` and ``spectators`` ``[B, S]``. All sources are scored together.

    Parameters
    ----------
    figures : Path
        Folder for the figures.
    classes : sequence of str
        Class names by number.
    signal : int or sequence of int
        Number of the signal class, or of each.
    spectators : sequence of str
        Names of the columns of ``spectators``: spectators, and the variables of DisCo.
    plotting : SignalPlotting
        Figures and physics metrics.
    disco : DiscoConfig or None
        Its variables are measured as ``dcorr_<variable>``; None measures none.
    units : mapping of str to str
        Units of columns, for the axes of figures.
    some : callable or None
        Returns batches of some events of a split: those of ``train`` are drawn over validation, and features of others
        are shuffled to see which matter. None draws neither.
    inputs : Inputs or None
        Names of the features.
    check_every, plot_every : int or None
        As in :class:`~tabstar_lit.engine.tracker.Tracker`.

    Raises
    ------
    ConfigError
        ``plotting`` or ``disco`` name a class or a variable that there is not.
    """

    rows = "events"

    def __init__(
        self,
        figures: Path,
        *,
        classes: Sequence[str],
        signal: int | Sequence[int],
        spectators: Sequence[str] = (),
        plotting: SignalPlotting | None = None,
        disco: DiscoConfig | None = None,
        units: Mapping[str, str] | None = None,
        some: Callable[[str], Iterable[EventBatch]] | None = None,
        inputs: Inputs | None = None,
        check_every: int | None,
        plot_every: int | None,
    ) -> None:
        super().__init__(figures, check_every=check_every, plot_every=plot_every)
        self.classes = tuple(classes)
        self.signal = (signal,) if isinstance(signal, int) else tuple(signal)
        self.spectators = tuple(spectators)
        self.units = dict(units or {})
        self.some = some
        self.inputs = inputs
        self.plotting = plotting or SignalPlotting()
        self.disco = () if disco is None else disco.variables
        self.disco_weighted = disco is not None and disco.weighted
        self._check_names()

    def keeps(self) -> tuple[str, ...]:
        """Return the columns of all scores and figures."""
        return ("logits", "targets", "weights", "spectators")

    def metrics(self, collected: Mapping[str, Columns]) -> dict[str, float]:
        """Return every score by name."""
        events = self._events(collected)
        if events is None:
            return {}
        return score(events, self.plotting, self.disco, disco_weighted=self.disco_weighted)

    def metric_names(self) -> tuple[str, ...]:
        """Return the name of every score."""
        return metric_names(self.classes, self.signal, self.plotting, self.disco)

    def better_when_larger(self) -> tuple[str, ...]:
        """Return all but errors and correlations."""
        return tuple(name for name in self.metric_names() if not name.startswith(("ece", "dcorr_")))

    def figures(self, collected: Mapping[str, Columns]) -> Iterable[tuple[str, Figure]]:
        """Yield the figures of this epoch."""
        events = self._events(collected)
        if events is not None:
            chosen = self.disco or self.spectators if self.plotting.sculpting is None else self.plotting.sculpting
            for name, figure in draw_all(events, self.plotting, chosen):
                yield name, name_units(figure, self.units)

    def samples(self, module: LightningModule, collected: Mapping[str, Columns]) -> Iterable[tuple[str, Figure]]:
        """Yield the scores of training over those of validation events, where they are held in memory."""
        held_out = self._events(collected)
        if self.some is None or held_out is None or not self._wants("overtraining"):
            return
        kept = Kept()
        for batch in self._some("train", module):
            output = cast("TrainingModule", module).compute(batch)
            kept.add(output.source, output.columns, self.keeps())
        trained = self._events(kept.stacked())
        if trained is not None and np.isfinite(trained.log_p).all() and np.isfinite(held_out.log_p).all():
            name = "test" if module.trainer.testing else "validation"
            few = held_out.at_most(self.plotting.max_events)
            yield "overtraining", overtraining_figure(trained, few, self.plotting.bins, name)

    def closing_figures(self, module: LightningModule) -> Iterable[tuple[str, Figure]]:
        """Yield which features matter, by shuffling them among held-out events."""
        if self.inputs is None or not self._wants("importance"):
            return
        batches = list(self._some("test" if module.trainer.testing else "val", module))
        network = cast("TrainingModule", module).network
        found = feature_importances(network, batches, self.inputs, self.signal[0])
        if found:
            yield "importance", importance_figure(found, sum(len(batch.targets) for batch in batches))

    def _some(self, split: str, module: LightningModule) -> Iterator[EventBatch]:
        """Yield some events of a split where the network is, and as precise."""
        precise = module.trainer.precision_plugin.convert_input
        if self.some is not None:
            yield from (precise(move_data_to_device(batch, module.device)) for batch in self.some(split))

    def summary_figures(self) -> Iterable[tuple[str, Figure]]:
        """Yield losses and scores by epoch."""
        for name, values, title, ylabel in (
            ("metrics", [f"val_{metric}" for metric in SUMMARY], "Scores on validation events", "score (ece: error)"),
            ("losses", ["train_loss", "val_loss"], "Loss", "loss, mean over events"),
        ):
            figure = epoch_figure(self.history, values, title=title, ylabel=ylabel) if self._wants(name) else None
            if figure is not None:
                yield name, figure

    def _wants(self, figure: str) -> bool:
        return self.plotting.figures == "all" or figure in self.plotting.figures

    def _check_names(self) -> None:
        """Refuse names that would only be missed in the first validation."""
        problems = check_plotting(self.plotting, classes=self.classes, spectators=self.spectators)
        messages = [f"plotting_config.{dotted(p.path)}: {p.message}{_nearest(p)}" for p in problems]
        messages += [
            f"training_config.disco.variables: '{name}' is neither a feature nor a spectator that is carried along."
            for name in self.disco
            if name not in self.spectators
        ]
        if messages:
            raise ConfigError("\n".join(messages))

    def _events(self, collected: Mapping[str, Columns]) -> Scored | None:
        """Return the events of all sources together."""
        if not collected:
            return None
        rows = stack(collected.values())
        return Scored.of(rows, classes=self.classes, signal=self.signal, spectators=self.spectators)


def _nearest(problem: Problem) -> str:
    return suggestion(problem.message.split("'")[1], problem.allowed)
