"""What the tabstar tracker draws: scores by table, and how good the predictions of each table are."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from matplotlib.axes import Axes
from torch import Tensor

from tabstar_lit.metrics.importance import Importance
from tabstar_lit.metrics.weighted import confusion, roc
from tabstar_lit.plots.bars import draw_bars, shortened
from tabstar_lit.plots.classification import draw_confusion, draw_reliability, draw_roc, reliability
from tabstar_lit.plots.curves import Curve, loss_panels, source_curves, source_map
from tabstar_lit.plots.pages import pages
from tabstar_lit.plots.regression import draw_predicted_against_true

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BINS = 10
SHOWN_COLUMNS = 12
SHOWN_TABLES = 36
"""Four pages, each of which takes a second or two: hundreds of tables would be drawn for minutes."""
FEW_CLASSES = 4
"""A small panel names so many ROC curves."""
SHORT = 14
"""Letters of a class's name that small panels have room for."""
LOSSES = {"classification": "cross-entropy", "regression": "error of the scaled target"}


class Predicted(NamedTuple):
    """What a network says of the validation rows of a table.

    Attributes
    ----------
    predictions, targets : Tensor
        ``[N, C]`` probabilities or ``[N]`` z-scores, and ``[N]`` class numbers or z-scores.
    classes : sequence of str
        Names of the classes; of a regression none.
    """

    predictions: Tensor
    targets: Tensor
    classes: Sequence[str] = ()


def score_curves(scores: Mapping[str, Curve], mean: Curve) -> Figure:
    """Draw the score of every table and their mean over the epochs."""
    label = "ROC-AUC or R² on validation rows"
    return source_curves(scores, mean, title="Score per table", ylabel=label, sources="tables", late=True)


def score_map(scores: Mapping[str, Curve]) -> Figure:
    """Draw table × epoch as colours, tables sorted by their last score."""
    return source_map(scores, title="Score per table and epoch", label="ROC-AUC or R²", rows="table")


def loss_curves(losses: Mapping[str, Mapping[str, Curve]]) -> Figure:
    """Draw training and validation loss by task, mean over tables."""
    return loss_panels(losses, LOSSES)


def table_pages(tables: Mapping[str, Predicted], panel: Callable[[Axes, Predicted], None]) -> Iterator[Figure]:
    """Draw one panel for each table, in the order of their names, on pages: of many those with the most rows."""

    def draw(axes: Axes, table: str) -> None:
        panel(axes, tables[table])

    rows = {name: len(own.targets) for name, own in tables.items()}
    panels = {f"{name} ({rows[name]} rows)": partial(draw, table=name) for name in largest(rows)}
    yield from pages(panels, note=_left_out(len(rows)))


def largest(rows: Mapping[str, int]) -> list[str]:
    """Return the names of the tables that are drawn, those with the most rows, in their order."""
    return sorted(sorted(rows, key=lambda name: (-rows[name], name))[:SHOWN_TABLES])


def _left_out(tables: int) -> str:
    """Say that there are more tables than are drawn."""
    return "" if tables <= SHOWN_TABLES else f"the {SHOWN_TABLES} largest of {tables} tables"


def calibration(axes: Axes, predicted: Predicted) -> None:
    """Draw how often the predicted class is right against how sure the model was, from the confidence of a guess on."""
    confidence, found = predicted.predictions.max(dim=1)
    correct = (found == predicted.targets).numpy()
    low = 1.0 / predicted.predictions.shape[1]
    draw_reliability(axes, reliability(confidence.double().numpy(), correct, low=low, bins=BINS))
    axes.set(xlabel="confidence", ylabel="accuracy")


def roc_curves(axes: Axes, predicted: Predicted) -> None:
    """Draw the ROC curve of each class against the rest; of two classes that of the second."""
    probabilities, targets = predicted.predictions.double().numpy(), predicted.targets.numpy()
    names = _short(predicted.classes)
    chosen = range(1, 2) if len(names) == 2 else range(len(names))
    found = {names[c]: roc(probabilities[:, c], targets == c) for c in chosen}
    known = {name: curve for name, curve in found.items() if curve is not None}
    draw_roc(axes, known, area="area", named=FEW_CLASSES, fontsize=7)
    axes.set(xlabel="share of the others", ylabel="share found")


def _short(classes: Sequence[str]) -> list[str]:
    """Return short names of classes, numbered where they would be the same."""
    names = [shortened(name, SHORT) for name in classes]
    return [name if names.count(name) == 1 else f"{number} {name}" for number, name in enumerate(names)]


def confusions(axes: Axes, predicted: Predicted) -> None:
    """Draw the share of each true class, in percent, that is taken for which."""
    found, count = predicted.predictions.argmax(dim=1).numpy(), len(predicted.classes)
    counts = confusion(found, predicted.targets.numpy(), count)
    draw_confusion(axes, counts, _short(predicted.classes), fontsize=7)
    axes.grid(visible=False)


def predicted_against_true(axes: Axes, predicted: Predicted) -> None:
    """Draw predictions against targets, both in the target's unit."""
    true, found = predicted.targets.double().numpy(), predicted.predictions.double().numpy()
    draw_predicted_against_true(axes, true, found, "value")


Figures = Mapping[str, Mapping[str, Callable[[Axes, Predicted], None]]]
"""Task -> name -> what draws a panel for a table."""

FIGURES: Figures = {
    "classification": {"calibration": calibration},
    "regression": {"predicted_vs_true": predicted_against_true},
}
CLOSING: Figures = {"classification": {"roc": roc_curves, "confusion": confusions}}
"""What is drawn once: a page of panels takes half a second."""


def importance_pages(found: Mapping[str, Mapping[str, Importance]], tables: int) -> Iterator[Figure]:
    """Draw which columns matter to each of some of ``tables`` tables: how the loss rises when they are shuffled."""
    panel = partial(draw_bars, xlabel="rise of the loss when shuffled", most=SHOWN_COLUMNS)
    panels = {table: partial(panel, values=own) for table, own in sorted(found.items())}
    yield from pages(panels, width=4.4, note=_left_out(tables))
