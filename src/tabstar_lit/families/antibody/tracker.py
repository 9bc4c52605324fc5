"""Metrics and figures of a generator: is the antigen read, is the affinity, and what does it write."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tabstar_lit.arrays import Int64
from tabstar_lit.engine.tracker import Tracker
from tabstar_lit.engine.tracking.columns import Columns
from tabstar_lit.families.antibody.module import SOURCE
from tabstar_lit.families.antibody.numbering.texts import Numbered
from tabstar_lit.families.antibody.pairs.batch import REGION_NAMES
from tabstar_lit.families.antibody.pairs.data import AntibodyData
from tabstar_lit.families.antibody.pairs.toy import is_toy
from tabstar_lit.families.antibody.tracking import figures as draw
from tabstar_lit.families.antibody.tracking.doubts import doubts
from tabstar_lit.families.antibody.tracking.measures import measure, region_text
from tabstar_lit.families.antibody.tracking.rule import rule_accuracy, written_rule_accuracy
from tabstar_lit.families.antibody.tracking.samples import Samples, real_antibodies, write_samples
from tabstar_lit.families.antibody.tracking.scores import COLUMNS, effect_scores, likelihood_scores, metric_names
from tabstar_lit.families.antibody.tracking_config import AntibodyTracking
from tabstar_lit.plots.curves import epoch_figure

if TYPE_CHECKING:
    from lightning.pytorch import LightningModule
    from matplotlib.figure import Figure

SHOWN = 10
"""Written antibodies that are shown as text."""

SUMMARIES = {
    "losses": (("train_nll", "val_nll"), "Loss without smoothing", "nats / token"),
    "regions": (("val_nll_framework", "val_nll_cdr", "val_nll_h_cdr3"), "Loss by region", "nats / residue"),
    "recovery": (
        ("val_recovery_framework", "val_recovery_cdr", "val_recovery_h_cdr3", "val_recovery_mutated"),
        "Right residues, after those before them",
        "share",
    ),
    "written": (
        ("val_written_validity", "val_written_uniqueness", "val_written_novelty", "val_written_diversity"),
        "Written antibodies",
        "share",
    ),
}
"""Figures over all epochs: metrics, title, unit."""


class AntibodyTracker(Tracker):
    """Track likelihood and recovery by region, the effects of antigen and affinity, and written antibodies.

    Parameters
    ----------
    figures : Path
        Folder for the figures.
    data : AntibodyData
        The pairs, whose rows the columns of validation steps name.
    tracking : AntibodyTracking
        What is written, and when a warning is due.
    check_every, plot_every : int or None
        As in :class:`~tabstar_lit.engine.tracker.Tracker`.
    """

    rows = "pairs"

    def __init__(
        self,
        figures: Path,
        *,
        data: AntibodyData,
        tracking: AntibodyTracking,
        check_every: int | None,
        plot_every: int | None,
    ) -> None:
        super().__init__(figures, check_every=check_every, plot_every=plot_every)
        self.data, self.tracking = data, tracking
        self.has_rule = is_toy(data.pairs.about)
        self._samples: Samples | None = None
        self._side = "val"

    def keeps(self) -> tuple[str, ...]:
        """Return the columns of all scores and figures."""
        return COLUMNS

    def metric_names(self) -> tuple[str, ...]:
        """Return the name of every score."""
        return metric_names(rule=self.has_rule)

    def better_when_larger(self) -> tuple[str, ...]:
        """Return recoveries, effects and the accuracy of the rule."""
        return tuple(name for name in self.metric_names() if not name.startswith(("nll", "perplexity")))

    def metrics(self, collected: Mapping[str, Columns]) -> dict[str, float]:
        """Return every score by name."""
        rows = collected.get(SOURCE)
        if rows is None:
            return {}
        scores = likelihood_scores(rows) | effect_scores(rows, self._clusters(rows), self.tracking.bootstraps)
        if self.has_rule:
            scores["rule_accuracy"] = rule_accuracy(self.data.pairs, rows)
        return scores

    def measure(self, module: LightningModule, collected: Mapping[str, Columns]) -> dict[str, float]:
        """Let the network write antibodies, and return what they are like."""
        if not self.tracking.samples:
            return {}
        network: Any = module.network
        self._side = self.data.test_side if module.trainer.testing else "val"
        self._samples = samples = write_samples(network, self.data, self.tracking, module.device, self._side)
        pairs = self.data.pairs
        known = sorted({pairs.antibodies[row] for row in self.data.split["train"]})
        scores = measure(samples.written, known, self._binders(samples))
        if self.has_rule:
            scores["rule_accuracy"] = written_rule_accuracy(pairs, samples)
        return {f"written_{name}": value for name, value in scores.items()}

    def notes(self) -> tuple[str, ...]:
        """Say what is read, and name the signs of trouble."""
        return tuple(doubts(self.history, self.tracking))

    def figures(self, collected: Mapping[str, Columns]) -> Iterable[tuple[str, Figure]]:
        """Yield the figures of this epoch."""
        rows = collected.get(SOURCE)
        if rows is not None:
            yield "recovery_by_position", draw.recovery_figure(self.data.pairs, rows)

    def samples(self, module: LightningModule, collected: Mapping[str, Columns]) -> Iterable[tuple[str, Figure | str]]:
        """Yield the antibodies that :meth:`measure` had written, and figures of them beside the known ones."""
        if self._samples is None:
            return
        written, real = self._samples.written, real_antibodies(self.data, self._side)
        yield "written.md", self._shown(self._samples)
        yield from draw.logo_figures(written, real)
        yield from draw.length_figures(written, real)
        yield "composition", draw.composition_figure(written, real)

    def summary_figures(self) -> Iterable[tuple[str, Figure]]:
        """Yield losses, scores and effects by epoch."""
        for name, (metrics, title, ylabel) in SUMMARIES.items():
            figure = epoch_figure(self.history, metrics, title=title, ylabel=ylabel)
            if figure is not None:
                yield name, figure
        effects = draw.effect_figure(self.history)
        if effects is not None:
            yield "effects", effects

    def _clusters(self, rows: Columns) -> Int64:
        """Return the cluster of the antigen of each pair."""
        pairs = self.data.pairs
        return np.asarray(pairs.clusters[pairs.antigen[rows["rows"].numpy()]])

    def _binders(self, samples: Samples) -> list[list[str]]:
        """Return CDR-H3 of the known antibodies of the antigen that each antibody was written for."""
        pairs, third = self.data.pairs, REGION_NAMES.index("h_cdr3")
        loops: dict[int, list[str]] = {int(number): [] for number in pairs.antigen[samples.rows]}
        for row in np.flatnonzero(np.isin(pairs.antigen, list(loops))).tolist():
            known = Numbered(pairs.antibodies[row], pairs.regions[row], ())
            loops[int(pairs.antigen[row])].append(region_text(known, third))
        return [loops[int(number)] for number in pairs.antigen[samples.rows]]

    def _shown(self, samples: Samples) -> str:
        """Return the first written antibodies as a table."""
        pairs = self.data.pairs
        lines = ["| antigen | pKd asked for | flaws | antibody |", "|---|---|---|---|"]
        for own, row in list(zip(samples.written, samples.rows, strict=True))[:SHOWN]:
            antigen = pairs.antigen_names[pairs.antigen[row]] or pairs.antigens[pairs.antigen[row]][:20]
            text = own.text.replace("|", "\\|")
            lines.append(f"| {antigen} | {pairs.pkd[row]:.2f} | {', '.join(own.flaws) or 'none'} | `{text}` |")
        return "\n".join(lines) + "\n"
