"""What the tabstar tracker draws: scores by table, and how good the predictions of each table are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING

from torch import Tensor

from tabstar_lit.plots.classification import draw_reliability, reliability
from tabstar_lit.plots.curves import Curve, loss_panels, source_curves, source_map
from tabstar_lit.plots.pages import pages
from tabstar_lit.plots.regression import draw_predicted_against_true

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BINS = 10
LOSSES = {"classification": "cross-entropy", "regression": "error of the scaled target"}


def score_curves(scores: Mapping[str, Curve], mean: Curve) -> Figure:
    """Draw the score of every table and their mean over the epochs."""
    label = "ROC-AUC or R² on validation rows"
    return source_curves(scores, mean, title="Score per table", ylabel=label, sources="tables")


def score_map(scores: Mapping[str, Curve]) -> Figure:
    """Draw table × epoch as colours, tables sorted by their last score."""
    return source_map(scores, title="Score per table and epoch", label="ROC-AUC or R² on validation rows")


def loss_curves(losses: Mapping[str, Mapping[str, Curve]]) -> Figure:
    """Draw training and validation loss by task, mean over tables."""
    return loss_panels(losses, LOSSES)


def table_pages(tables: Mapping[str, tuple[Tensor, Tensor]], task: str) -> Iterator[Figure]:
    """Draw one panel for each table of a task, in the order of their names.

    Parameters
    ----------
    tables : mapping of str to tuple of Tensor
        Table -> predictions (``[N, C]`` probabilities, or ``[N]`` values) and targets ``[N]``.
    task : str
        ``classification`` draws calibration, ``regression`` predictions against targets.
    """
    panel = calibration if task == "classification" else predicted_against_true
    yield from pages(
        {
            f"{name} ({len(tables[name][1])} rows)": partial(
                panel, predictions=tables[name][0], targets=tables[name][1]
            )
            for name in sorted(tables)
        }
    )


def calibration(axes: Axes, predictions: Tensor, targets: Tensor) -> None:
    """Draw how often the predicted class is right against how sure the model was, from the confidence of a guess on."""
    confidence, predicted = predictions.max(dim=1)
    correct = (predicted == targets).numpy()
    low = 1.0 / predictions.shape[1]
    draw_reliability(axes, reliability(confidence.double().numpy(), correct, low=low, bins=BINS))
    axes.set(xlabel="confidence", ylabel="accuracy")


def predicted_against_true(axes: Axes, predictions: Tensor, targets: Tensor) -> None:
    """Draw predictions against targets, both in the target's unit."""
    draw_predicted_against_true(axes, targets.double().numpy(), predictions.double().numpy(), "value")
