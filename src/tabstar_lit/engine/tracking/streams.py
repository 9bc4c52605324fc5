"""Metrics that are updated batch by batch, for what is too large to be kept until the end of a validation."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torchmetrics import Metric

    from tabstar_lit.engine.module import StepOutput


@dataclass(frozen=True, slots=True)
class Stream:
    """A metric of torchmetrics, and the columns of a step it is updated with.

    Attributes
    ----------
    metric : Metric
        Its ``compute`` returns a scalar, and its states are sums, not lists of all it has seen. Ranks are joined by its
        own synchronisation. ``higher_is_better`` tells whether a monitor's mode fits.
    columns : tuple of str
        Names of the columns that are given to its ``update``, in that order; they need not be kept.
    source : str or None
        The only source it is updated with; None: all of them.

    Raises
    ------
    ValueError
        The metric collects its input: it belongs into :meth:`Tracker.metrics`, with columns that are kept. (A rank
        without a batch would moreover have no list to synchronise, which ends the process.)

    Examples
    --------
    ``Stream(Perplexity(), ("logits", "tokens"))``
    """

    metric: Metric
    columns: tuple[str, ...]
    source: str | None = None

    def __post_init__(self) -> None:
        """Refuse a metric that collects."""
        lists = [name for name, state in self.metric.metric_state.items() if isinstance(state, list)]
        if lists:
            raise ValueError(
                f"{type(self.metric).__name__} collects all it sees, in {lists[0]!r}, and cannot be streamed: keep the "
                "columns and compute it in metrics(), or use a form of it with sums (thresholds, bins)."
            )

    def update(self, output: StepOutput) -> None:
        """Add a batch, unless it is of another source."""
        if self.source in (None, output.source):
            self.metric.update(*(output.columns[name] for name in self.columns))

    @property
    def updates(self) -> int:
        """Number of batches since the last reset, on this rank."""
        return self.metric.update_count

    def value(self, updates: int) -> float:
        """Return the metric over the batches of all ranks, which all have to ask; NaN where ``updates`` of all is 0."""
        if not updates:
            return float("nan")
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "The ``compute`` method")  # other ranks had batches, this one none
            return float(self.metric.compute())
