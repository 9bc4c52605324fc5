"""Metrics and figures of encoders and predictors of microbiomes."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol, cast

import numpy as np
from lightning.pytorch import LightningModule
from torch import Tensor
from torchmetrics import MeanMetric

from tabstar_lit.arrays import Float64, Int64
from tabstar_lit.engine.tracker import Tracker
from tabstar_lit.engine.tracking.columns import Columns, stack
from tabstar_lit.engine.tracking.streams import Stream
from tabstar_lit.families.microbes import figures as draw
from tabstar_lit.families.microbes.attention import attended, attention_table
from tabstar_lit.families.microbes.distances import predicted_distances
from tabstar_lit.families.microbes.facts import StudyFacts
from tabstar_lit.families.microbes.scores import middle, number_scores, pair_scores, score_names, target_scores
from tabstar_lit.families.microbes.training_config import MicrobesModel
from tabstar_lit.plots.curves import epoch_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from tabstar_lit.engine.module import TrainingModule
    from tabstar_lit.families.microbes.study.batch import SampleBatch

KEPT = ("rows", "groups", "embedding", "predicted", "true", "faith_pd", "true_faith_pd")
SMALLER_IS_BETTER = ("unifrac_mse", "mae", "faith_pd_mae")


class Baseline(Protocol):
    """Classical models that were trained on the same samples."""

    @property
    def names(self) -> tuple[str, ...]:
        """Their names."""

    def scores(self, rows: Tensor) -> Mapping[str, Mapping[str, float]]:
        """Return the scores of each on the samples with these rows in the study."""


class Distances(NamedTuple):
    """Predicted and true UniFrac ``[n, n]``, NaN where unknown, of samples with ``rows`` ``[n]`` in the study."""

    predicted: Float64
    true: Float64
    rows: Int64

    def pairs(self) -> tuple[Float64, Float64]:
        """Return predicted and true distances of all pairs that are known, ``[P]`` each."""
        upper = np.triu(~np.isnan(self.true), k=1)
        return self.predicted[upper], self.true[upper]


class MicrobesTracker(Tracker):
    """Track distances over all pairs of validation samples, hidden bases, and targets on their own scale.

    Parameters
    ----------
    figures : Path
        Folder for the figures.
    model : MicrobesModel
        Says what is learned.
    facts : StudyFacts
        Names, distances, and metadata for colours.
    baseline : Baseline or None
        Classical models, which are scored on the same samples.
    held_out : callable or None
        Gives the validation samples, of whose ASVs a table says which mattered; None: there is none.
    check_every, plot_every : int or None
        As in :class:`~tabstar_lit.engine.tracker.Tracker`.
    """

    rows = "samples"

    def __init__(
        self,
        figures: Path,
        *,
        model: MicrobesModel,
        facts: StudyFacts,
        baseline: Baseline | None = None,
        held_out: Callable[[], Iterable[SampleBatch]] | None = None,
        check_every: int | None,
        plot_every: int | None,
    ) -> None:
        super().__init__(figures, check_every=check_every, plot_every=plot_every)
        self.model, self.facts, self.baseline = model, facts, baseline
        self.held_out = held_out
        self.terms = model.loss_terms()
        self.architecture = model.architecture_config
        if "nucleotide" in self.terms:
            self.streams["nucleotide_accuracy"] = Stream(MeanMetric(), ("letter_right", "letter_hidden"))
        self._last: dict[str, float] = {}
        self._classical: Mapping[str, Mapping[str, float]] = {}

    def keeps(self) -> tuple[str, ...]:
        """Return the columns of all scores and figures."""
        return KEPT

    def metrics(self, collected: Mapping[str, Columns]) -> dict[str, float]:
        """Return the scores of what is learned, and of the classical models beside those of the predictor."""
        if not collected:
            return {}
        columns = stack(collected.values())
        scores = dict(pair_scores(*self._distances(columns).pairs())) if "unifrac" in self.terms else {}
        if "faith_pd" in columns:
            known = ~columns["true_faith_pd"].isnan()
            own = number_scores(columns["faith_pd"][known], columns["true_faith_pd"][known])
            scores |= {f"faith_pd_{name}": value for name, value in own.items()}
        if "predicted" in columns:
            self._last = target_scores(self.facts, self._values(columns), columns["true"])
            scores |= self._last
            self._classical = {} if self.baseline is None else self.baseline.scores(columns["rows"])
            scores |= {
                f"{score}/{name}": value for name, own in self._classical.items() for score, value in own.items()
            }
        return scores

    def metric_names(self) -> tuple[str, ...]:
        """Return the name of every score."""
        names = ["unifrac_mse", "unifrac_r2"] if "unifrac" in self.terms else []
        names += ["faith_pd_r2", "faith_pd_mae"] if "faith_pd" in self.terms else []
        if self.model.role == "predictor":
            names += score_names(self.facts)
            classical = () if self.baseline is None else self.baseline.names
            names += [f"{score}/{name}" for name in classical for score in score_names(self.facts)]
        return tuple(names)

    def better_when_larger(self) -> tuple[str, ...]:
        """Return all but errors."""
        larger = (name for name in self.metric_names() if not {*name.split("/")} & {*SMALLER_IS_BETTER})
        return (*larger, *self.streams)

    def notes(self) -> Sequence[str]:
        """Say where a classical model is better than the network."""
        score = "auroc" if self.facts.kind == "classification" else "r2"
        own = self._last.get(score, math.nan)
        return [
            f"{name} on the same samples: {score} {value[score]:.3f}, the network's last one is {own:.3f}."
            for name, value in self._classical.items()
            if value.get(score, -math.inf) > own
        ]

    def figures(self, collected: Mapping[str, Columns]) -> Iterable[tuple[str, Figure]]:
        """Yield the figures of this epoch."""
        if not collected:
            return
        columns = stack(collected.values())
        if "unifrac" in self.terms:
            distances = self._distances(columns)
            yield "unifrac", draw.distance_figure(*distances.pairs())
            colours = {name: [values[row] for row in distances.rows] for name, values in self.facts.metadata.items()}
            yield from draw.ordinations(distances.predicted, distances.true, colours)
        if "faith_pd" in columns:
            yield "faith_pd", draw.number_figure(columns["faith_pd"], columns["true_faith_pd"], "Faith's PD")
        if "predicted" in columns:
            values = self._values(columns)
            yield from draw.target_figures(self.facts, values, columns["true"], columns["groups"])
            if self._classical:
                yield "baselines", draw.baseline_figure(self._classical, self._last)

    def samples(self, module: LightningModule, collected: Mapping[str, Columns]) -> Iterable[tuple[str, str]]:
        """Yield the sequences that mattered in the validation samples."""
        if self.held_out is not None:
            batches = (batch.to(module.device) for batch in self.held_out())
            yield "attention.md", attention_table(attended(cast("TrainingModule", module).network, batches))

    def summary_figures(self) -> Iterable[tuple[str, Figure]]:
        """Yield losses and scores by epoch."""
        terms = [f"val_{term}" for term in self.terms]
        figure = epoch_figure(
            self.history, ["train_loss", "val_loss", *terms], title="Loss", ylabel="loss, mean over samples"
        )
        if figure is not None:
            yield "losses", figure
        scores = [f"val_{name}" for name in (*self.better_when_larger(),) if "/" not in name]
        figure = epoch_figure(self.history, scores, title="Scores on validation samples", ylabel="score", late=True)
        if figure is not None:
            yield "metrics", figure

    def _values(self, columns: Columns) -> Tensor:
        return middle(columns["predicted"], self.architecture.predictor.quantiles)

    def _distances(self, columns: Columns) -> Distances:
        rows = columns["rows"].numpy()
        predicted = predicted_distances(columns["embedding"], self.architecture.distance_scale).double().numpy()
        if self.facts.distances is None:
            return Distances(predicted, np.full_like(predicted, np.nan), rows)
        return Distances(predicted, self.facts.distances(rows).astype(np.float64), rows)
