"""Losses of text by domain and position, router weights, and what the network writes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tabstar_lit.engine.tracker import Tracker
from tabstar_lit.engine.tracking.columns import Columns
from tabstar_lit.families.experts.scores import scores_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class ExpertsTracker(Tracker):
    """Track perplexity and bits per byte of all texts and of each domain.

    Validation steps return sums by row, see :func:`~tabstar_lit.families.experts.text.sums.row_sums`; a role without a
    likelihood returns none of them and has no such metric.

    Parameters
    ----------
    figures : Path
        Folder for the figures.
    domains : sequence of str
        Names of the domains.
    context_length : int
        Tokens of the longest row.
    check_every, plot_every : int or None
        As in :class:`~tabstar_lit.engine.tracker.Tracker`.
    """

    def __init__(
        self,
        figures: Path,
        *,
        domains: Sequence[str],
        context_length: int,
        check_every: int | None,
        plot_every: int | None,
    ) -> None:
        super().__init__(figures, check_every=check_every, plot_every=plot_every)
        self.domains, self.context_length = tuple(domains), context_length

    def keeps(self) -> tuple[str, ...]:
        """Return the sums by row."""
        return ("nats", "tokens", "bytes", "position_nats", "position_tokens", "router", "router_entropy")

    def metrics(self, collected: Mapping[str, Columns]) -> dict[str, float]:
        """Return ``perplexity`` and ``bits_per_byte`` over all texts, and of each domain."""
        return scores_of(collected)

    def metric_names(self) -> tuple[str, ...]:
        """Return the names of all scores."""
        names = ("perplexity", "bits_per_byte")
        return (*names, *(f"{name}/{domain}" for name in names for domain in self.domains))

    def figures(self, collected: Mapping[str, Columns]) -> Iterable[tuple[str, Figure]]:
        """Yield the figures of this epoch."""
        return ()
