"""Metrics and figures of a generator: is the antigen read, is the affinity, and what does it write."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tabstar_lit.arrays import Int64
from tabstar_lit.engine.tracker import Tracker
from tabstar_lit.engine.tracking.columns import Columns
from tabstar_lit.families.antibody.module import SOURCE
from tabstar_lit.families.antibody.pairs.data import AntibodyData
from tabstar_lit.families.antibody.pairs.toy import is_toy
from tabstar_lit.families.antibody.tracking.rule import rule_accuracy
from tabstar_lit.families.antibody.tracking.scores import COLUMNS, effect_scores, likelihood_scores, metric_names
from tabstar_lit.families.antibody.tracking_config import AntibodyTracking

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class AntibodyTracker(Tracker):
    """Track likelihood and recovery by region, the effects of antigen and affinity, and generated antibodies.

    Parameters
    ----------
    figures : Path
        Folder for the figures.
    data : AntibodyData
        The pairs, whose rows the columns of validation steps name.
    tracking : AntibodyTracking
        What is generated, and when a warning is due.
    check_every, plot_every : int or None
        As in :class:`~tabstar_lit.engine.tracker.Tracker`.
    """

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

    def figures(self, collected: Mapping[str, Columns]) -> Iterable[tuple[str, Figure]]:
        """Yield the figures of this epoch."""
        return ()

    def _clusters(self, rows: Columns) -> Int64:
        """Return the cluster of the antigen of each pair."""
        pairs = self.data.pairs
        return np.asarray(pairs.clusters[pairs.antigen[rows["rows"].numpy()]])
