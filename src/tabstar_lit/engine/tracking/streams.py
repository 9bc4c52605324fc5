"""Metrics that are updated batch by batch, for what is too large to be kept until the end of a validation."""

from __future__ import annotations

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
        Its ``compute`` returns a scalar. Ranks are joined by its own synchronisation, which asks least of metrics whose
        states are sums. ``higher_is_better`` tells whether a monitor's mode fits.
    columns : tuple of str
        Names of the columns that are given to its ``update``, in that order; they need not be kept.
    source : str or None
        The only source it is updated with; None: all of them.

    Examples
    --------
    ``Stream(Perplexity(), ("logits", "tokens"))``
    """

    metric: Metric
    columns: tuple[str, ...]
    source: str | None = None

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
        return float(self.metric.compute()) if updates else float("nan")
