"""The figures of a signal classifier by name, as ``plotting_config`` chooses them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from tabstar_lit.arrays import Float64
from tabstar_lit.families.hep.signal import figures_curves as curves
from tabstar_lit.families.hep.signal import figures_scores as draw
from tabstar_lit.families.hep.signal.plotting_config import SignalPlotting
from tabstar_lit.families.hep.signal.scored import Scored
from tabstar_lit.families.hep.signal.scores import significance_scans
from tabstar_lit.metrics.weighted import Roc, calibration_error, confusion, precision_recall, roc
from tabstar_lit.plots.classification import (
    PrecisionRecall,
    calibration_figure,
    confusion_figure,
    precision_recall_figure,
    reliability,
    roc_figure,
)
from tabstar_lit.plots.histograms import range_edges
from tabstar_lit.plots.pages import pages

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Drawn = Iterator[tuple[str, "Figure"]]


def draw_all(events: Scored, plotting: SignalPlotting, sculpting: Sequence[str]) -> Drawn:
    """Yield ``(name, figure)`` of every figure that is asked for and that the events allow.

    Parameters
    ----------
    events : Scored
        The validation events; without any, nothing is drawn.
    plotting : SignalPlotting
        What is asked for.
    sculpting : sequence of str
        Variables whose background is drawn in slices of the score.
    """
    if len(events.targets) == 0 or not np.isfinite(events.log_p).all():
        return
    events = events.at_most(plotting.max_events)
    for name, figures in _FIGURES.items():
        if plotting.figures == "all" or name in plotting.figures:
            yield from figures(events, plotting)
    if plotting.figures == "all" or "sculpting" in plotting.figures:
        for variable in sculpting:
            if (~events.is_signal & np.isfinite(events.variables[variable])).any():
                yield f"sculpting/{variable}", draw.sculpting_figure(events, variable, plotting.bins)
    if plotting.embedding is not None and len(events.classes) > 2:
        yield f"embedding_{plotting.embedding}", draw.embedding_figure(events, plotting.embedding)
    if plotting.groups:
        yield from _groups(events, plotting)


def _curves(events: Scored) -> Mapping[str, Roc]:
    """Return the ROC curve of signal against background, with and without weights."""
    weighted = roc(events.logit, events.is_signal, events.weights)
    plain = roc(events.logit, events.is_signal)
    found = {"signal": weighted}
    if np.ptp(events.weights) > 0:
        found = {"event weights": weighted, "unweighted": plain}
    return {name: curve for name, curve in found.items() if curve is not None}


def _roc(events: Scored, plotting: SignalPlotting) -> Drawn:
    if found := _curves(events):
        yield "roc", roc_figure(found, title="ROC", xlabel="background efficiency", ylabel="signal efficiency")


def _rejection(events: Scored, plotting: SignalPlotting) -> Drawn:
    if found := _curves(events):
        yield "rejection", curves.rejection_figure(found, plotting.efficiencies)


def _precision_recall(events: Scored, plotting: SignalPlotting) -> Drawn:
    curve = precision_recall(events.logit, events.is_signal, events.weights)
    if curve is not None:
        share = float(events.weights[events.is_signal].sum() / events.weights.sum())
        labels = {"xlabel": "recall (signal efficiency)", "ylabel": "precision (purity)"}
        found = {"signal": PrecisionRecall(*curve, share)}
        yield "precision_recall", precision_recall_figure(found, title="Precision and recall", **labels)


def _confusion(events: Scored, plotting: SignalPlotting) -> Drawn:
    yield "confusion", _confusion_of(events)


def _scores(events: Scored, plotting: SignalPlotting) -> Drawn:
    edges = np.linspace(0, 1, plotting.bins + 1)
    for name, values in _panels(events, events.p).items():
        label = f"probability of {name}"
        yield _place("scores", name, events), draw.by_class_figure(values, events, edges, xlabel=label, title="Score")


def _logits(events: Scored, plotting: SignalPlotting) -> Drawn:
    edges = range_edges(events.logit, plotting.bins, plotting.logit_range)
    label = "log(p signal / p background)"
    yield "logits", draw.by_class_figure(events.logit, events, edges, xlabel=label, title="Logit")


def _one_vs_rest(events: Scored, plotting: SignalPlotting) -> Drawn:
    if len(events.classes) > 2:
        yield "one_vs_rest", _one_vs_rest_of(events)


def _discriminants(events: Scored, plotting: SignalPlotting) -> Drawn:
    if len(events.classes) > 2:
        panels = draw.discriminant_panels(events, plotting.bins, plotting.logit_range)
        for number, page in enumerate(pages(panels), start=1):
            yield ("discriminants" if number == 1 else f"discriminants_{number}"), page


def _significance(events: Scored, plotting: SignalPlotting) -> Drawn:
    for name, scan in significance_scans(events, plotting).items():
        if scan is not None:
            yield f"significance/{name}" if name else "significance", curves.significance_figure(scan, name)


def _calibration(events: Scored, plotting: SignalPlotting) -> Drawn:
    if len(events.classes) == 2:
        confidence, correct, label = events.p[:, events.signal[0]], events.is_signal, "signal"
    else:
        confidence, correct, label = events.p.max(axis=1), events.predicted == events.targets, "right predictions"
    error = calibration_error(confidence, correct, events.weights)
    found = reliability(confidence, correct, events.weights)
    title = f"Calibration, expected error {error:.4f}"
    yield "calibration", calibration_figure(found, title=title, ylabel=f"share of {label}", note=_weighed(events))


def _weighed(events: Scored) -> str:
    """Say what calibration counts: event weights, as physics has them.

    A network that was trained with class weights or on resampled events gives the probabilities of other shares of the
    classes, and is off the diagonal by that.
    """
    by = "by the weights of the events in the file" if np.ptp(events.weights) > 0 else "all events weigh the same"
    return f"{by};\nclass weights and resampling of the training\nare not in it, and move points off the line"


def _groups(events: Scored, plotting: SignalPlotting) -> Drawn:
    merged = events.grouped(plotting.groups)
    yield "groups/confusion", _confusion_of(merged)
    if len(merged.classes) > 1:
        yield "groups/one_vs_rest", _one_vs_rest_of(merged)


def _confusion_of(events: Scored) -> Figure:
    counts = confusion(events.predicted, events.targets, len(events.classes), events.weights)
    return confusion_figure(counts, events.classes, title="Confusion (weighted, % of the true class)")


def _one_vs_rest_of(events: Scored) -> Figure:
    """Draw the ROC curve of each class against all others, by its probability."""
    found = {name: roc(events.p[:, i], events.targets == i, events.weights) for i, name in enumerate(events.classes)}
    known = {name: curve for name, curve in found.items() if curve is not None}
    labels = {"xlabel": "efficiency of the other classes", "ylabel": "efficiency", "area": "area (weighted)"}
    return roc_figure(known, title="One against the rest", **labels)


def _panels(events: Scored, values: Float64) -> Mapping[str, Float64]:
    """Return the column of each class; with two classes that of signal alone, as the other mirrors it."""
    numbers = range(len(events.classes)) if len(events.classes) > 2 else events.signal[:1]
    return {events.classes[number]: values[:, number] for number in numbers}


def _place(figure: str, name: str, events: Scored) -> str:
    return f"{figure}/{name}" if len(events.classes) > 2 else figure


_FIGURES: Mapping[str, Callable[[Scored, SignalPlotting], Drawn]] = {
    "roc": _roc,
    "rejection": _rejection,
    "precision_recall": _precision_recall,
    "confusion": _confusion,
    "scores": _scores,
    "logits": _logits,
    "one_vs_rest": _one_vs_rest,
    "discriminants": _discriminants,
    "significance": _significance,
    "calibration": _calibration,
}
