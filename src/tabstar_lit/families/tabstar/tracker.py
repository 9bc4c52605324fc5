"""Scores and figures of tables: ROC-AUC for classification, R² for regression, and their mean over tables."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor

from tabstar_lit.engine.tracker import Tracker
from tabstar_lit.engine.tracking.columns import Columns
from tabstar_lit.families.tabstar import figures as draw
from tabstar_lit.families.tabstar.importance import column_importances
from tabstar_lit.families.tabstar.targets import TargetScale
from tabstar_lit.metrics.scores import r_squared, roc_auc
from tabstar_lit.plots.curves import Curve, mean_curve, series

if TYPE_CHECKING:
    from lightning.pytorch import LightningModule
    from matplotlib.figure import Figure
    from torch import Tensor

    from tabstar_lit.families.tabstar.batch import TableBatch
    from tabstar_lit.families.tabstar.network import TabStarNetwork


class TabstarTracker(Tracker):
    """Track ``val_score/<table>`` and ``val_score``, the mean over the tables that have one.

    A score is taken over all validation rows of a table together, never averaged over batches, and of regression in the
    target's own unit; a table whose validation rows hold a single class or value has none.

    Parameters
    ----------
    figures
        Folder for the figures.
    schemas : Mapping
        What is known of each table: its task, its features, its classes or how its target is scaled.
    held_out : callable or None
        Returns a batch of held-out rows of each table, whose columns are shuffled to see which matter.
    check_every, plot_every
        As in :class:`~tabstar_lit.engine.tracker.Tracker`.
    """

    def __init__(
        self,
        figures: Path,
        *,
        schemas: Mapping[str, Mapping[str, Any]],
        held_out: Callable[[], Iterable[TableBatch]] | None = None,
        check_every: int | None,
        plot_every: int | None,
    ) -> None:
        super().__init__(figures, check_every=check_every, plot_every=plot_every)
        self.tasks = {table: str(schema["task"]) for table, schema in schemas.items()}
        targets = {table: schema["target"] for table, schema in schemas.items()}
        self._scales = {
            table: TargetScale.from_schema(target) for table, target in targets.items() if not target["classes"]
        }
        self.classes = {table: target["classes"] for table, target in targets.items()}
        self.columns = {table: schema["features"] for table, schema in schemas.items()}
        self.held_out = held_out
        self._latest: Mapping[str, Columns] = {}

    def keeps(self) -> tuple[str, ...]:
        """Return the columns of all scores and figures."""
        return ("predictions", "targets")

    def metrics(self, collected: Mapping[str, Columns]) -> dict[str, float]:
        """Return ``score/<table>`` for every table that has one, and ``score``."""
        scores = {table: self._score(table, rows) for table, rows in collected.items()}
        scores = {table: score for table, score in scores.items() if not math.isnan(score)}
        mean = sum(scores.values()) / len(scores) if scores else math.nan
        return {**{f"score/{table}": score for table, score in scores.items()}, "score": mean}

    def metric_names(self) -> tuple[str, ...]:
        """Return ``score`` and the score of every table."""
        return ("score", *(f"score/{table}" for table in self.tasks))

    def better_when_larger(self) -> tuple[str, ...]:
        """Return all scores: areas and R²."""
        return self.metric_names()

    def figures(self, collected: Mapping[str, Columns]) -> Iterable[tuple[str, Figure]]:
        """Yield calibration curves of the classification tables and predicted-versus-true of the others."""
        self._latest = collected
        yield from self._drawn(draw.FIGURES, collected)

    def closing_figures(self, module: LightningModule) -> Iterable[tuple[str, Figure]]:
        """Yield ROC and confusion of the classification tables, and which columns of each table matter."""
        yield from self._drawn(draw.CLOSING, self._latest)
        if self.held_out is not None:
            network = cast("TabStarNetwork", module.network)
            precise = module.trainer.precision_plugin.convert_input
            rows = {table: len(self._latest[table]["targets"]) if table in self._latest else 0 for table in self.tasks}
            shown = draw.largest(rows)
            some = (batch for batch in self.held_out() if batch.source in shown)
            batches = (precise(batch.to(module.device)) for batch in some)
            found = column_importances(network, batches, self.columns)
            yield from _numbered("importance", draw.importance_pages(found, len(self.tasks)))

    def _drawn(self, figures: draw.Figures, collected: Mapping[str, Columns]) -> Iterator[tuple[str, Figure]]:
        for task, panels in figures.items():
            tables = {
                table: draw.Predicted(*self._own_unit(table, rows), self._classes(table, rows["predictions"]))
                for table, rows in collected.items()
                if self.tasks[table] == task
            }
            for name, panel in panels.items():
                yield from _numbered(name, draw.table_pages(tables, panel))

    def summary_figures(self) -> Iterable[tuple[str, Figure]]:
        """Yield scores per table, the tables × epochs heat map, and losses by task."""
        scores = series(self.history, "val_score/")
        if scores:
            yield "scores", draw.score_curves(scores, series(self.history, "val_score").get("val_score", {}))
            yield "score_heat_map", draw.score_map(scores)
        losses = {
            split: self._by_task(series(self.history, f"{split}_loss/") or self._single(split))
            for split in ("train", "val")
        }
        yield "losses", draw.loss_curves(losses)

    def _classes(self, table: str, predictions: Tensor) -> Sequence[str]:
        """Return the names of a table's classes; their numbers where nobody told them."""
        return self.classes.get(table) or [str(number) for number in range(predictions[0].numel())]

    def _score(self, table: str, rows: Columns) -> float:
        score = roc_auc if self.tasks[table] == "classification" else r_squared
        return score(*self._own_unit(table, rows))

    def _own_unit(self, table: str, rows: Columns) -> tuple[Tensor, Tensor]:
        """Return predictions and targets, numbers in the target's unit."""
        pair = rows["predictions"], rows["targets"]
        if table not in self._scales:
            return pair
        predictions, targets = (torch.from_numpy(self._scales[table].values(own.numpy())) for own in pair)
        return predictions, targets

    def _single(self, split: str) -> dict[str, Curve]:
        """Return the loss of a run with one table, which is logged without the table's name."""
        return {next(iter(self.tasks)): curve for curve in series(self.history, f"{split}_loss").values()}

    def _by_task(self, curves: Mapping[str, Curve]) -> dict[str, Curve]:
        grouped: dict[str, list[Curve]] = {}
        for table, curve in curves.items():
            grouped.setdefault(self.tasks[table], []).append(curve)
        return {task: mean_curve(own) for task, own in grouped.items()}


def _numbered(name: str, drawn: Iterable[Figure]) -> Iterator[tuple[str, Figure]]:
    """Name the pages of a figure."""
    for number, page in enumerate(drawn, start=1):
        yield (name if number == 1 else f"{name}_{number}"), page
