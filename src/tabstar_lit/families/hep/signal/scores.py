"""What is logged about a signal classifier: one number each, on weighted events."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch

from tabstar_lit.families.hep.signal.plotting_config import SignalPlotting
from tabstar_lit.families.hep.signal.scored import Scored
from tabstar_lit.losses.disco import distance_correlation
from tabstar_lit.metrics.significance import Scan, scan_cuts
from tabstar_lit.metrics.weighted import (
    accuracy,
    auprc,
    auroc,
    calibration_error,
    f1_macro,
    one_vs_rest,
    roc,
)

CORRELATION_EVENTS = 2000


def score(events: Scored, plotting: SignalPlotting, disco: Sequence[str], *, disco_weighted: bool) -> dict[str, float]:
    """Return every metric by name; all are NaN where a score is not finite.

    Parameters
    ----------
    events : Scored
        The validation events.
    plotting : SignalPlotting
        Efficiencies and significances.
    disco : sequence of str
        Variables whose distance correlation with the score is measured.
    disco_weighted : bool
        Whether with event weights.
    """
    if not np.isfinite(events.log_p).all():
        events = events.rows(slice(0, 0))
    return {
        **classification_scores(events),
        **rejections(events, plotting.efficiencies),
        **significances(events, plotting),
        **{f"dcorr_{name}": correlation(events, name, weighted=disco_weighted) for name in disco},
    }


def metric_names(
    classes: Sequence[str], signal: Sequence[int], plotting: SignalPlotting, disco: Sequence[str]
) -> tuple[str, ...]:
    """Return the names of all metrics that :func:`score` gives; they may be monitored as ``val_<name>``."""
    columns = np.zeros((0, len(classes)))
    nothing = np.zeros(0)
    variables = dict.fromkeys(disco, nothing)
    empty = Scored(columns, nothing.astype(np.int64), nothing, variables, tuple(classes), tuple(signal))
    return tuple(score(empty, plotting, disco, disco_weighted=False))


def classification_scores(events: Scored) -> dict[str, float]:
    """Return areas, accuracy, F1 and calibration error.

    With more than two classes, areas are means over the classes that have events, each against the rest.
    """
    targets, weights, p, predicted = events.targets, events.weights, events.p, events.predicted
    if len(events.classes) == 2:
        curves = {
            "auroc": auroc(events.logit, events.is_signal, weights),
            "auprc": auprc(events.logit, events.is_signal, weights),
            "auroc_unweighted": auroc(events.logit, events.is_signal),
        }
        error = calibration_error(p[:, events.signal[0]], events.is_signal, weights)
    else:
        everything = range(len(events.classes))
        by_class = one_vs_rest(auroc, p, targets, everything, weights)
        curves = {
            "auroc": _mean(by_class),
            "auprc": _mean(one_vs_rest(auprc, p, targets, everything, weights)),
            "auroc_unweighted": _mean(one_vs_rest(auroc, p, targets, everything)),
            **{f"auroc_{name}": area for name, area in zip(events.classes, by_class, strict=True)},
        }
        error = calibration_error(p.max(axis=1) if len(p) else p[:, 0], predicted == targets, weights)
    return {
        **curves,
        "accuracy": accuracy(predicted, targets, weights),
        "f1": f1_macro(predicted, targets, len(events.classes), weights),
        "ece": error,
    }


def rejections(events: Scored, efficiencies: Sequence[float]) -> dict[str, float]:
    """Return ``rejection_<percent>``: 1 / background efficiency where that share of signal passes."""
    curve = roc(events.logit, events.is_signal, events.weights)
    return {
        f"rejection_{100 * share:g}": math.nan if curve is None else curve.rejection(share) for share in efficiencies
    }


def significances(events: Scored, plotting: SignalPlotting) -> dict[str, float]:
    """Return ``significance_max`` and ``significance_integrated``, and the same for each named one."""
    values: dict[str, float] = {}
    for name, scan in significance_scans(events, plotting).items():
        ending = f"_{name}" if name else ""
        values[f"significance_max{ending}"] = math.nan if scan is None else scan.maximum
        values[f"significance_integrated{ending}"] = math.nan if scan is None else scan.integrated
    return values


def significance_scans(events: Scored, plotting: SignalPlotting) -> Mapping[str, Scan | None]:
    """Return the scan of the data set's own signal under the empty name, and each named one."""
    groups = {"": (events.signal, events.background_classes)}
    for name, group in plotting.significance.items():
        numbers = [tuple(events.classes.index(c) for c in names) for names in (group.signal, group.background)]
        groups[name] = (numbers[0], numbers[1])
    return {
        name: scan_cuts(
            events.discriminant(signal, background),
            np.isin(events.targets, signal),
            np.isin(events.targets, background),
            events.weights * plotting.yield_scale,
            uncertainty=plotting.background_uncertainty,
            min_events=plotting.min_background_events,
        )
        for name, (signal, background) in groups.items()
    }


def correlation(events: Scored, variable: str, *, weighted: bool) -> float:
    """Return the squared distance correlation of ``variable`` with the logit over background events.

    Over at most :data:`CORRELATION_EVENTS` events, evenly spaced, as its cost grows with their square.
    """
    kept = ~events.is_signal & np.isfinite(events.variables[variable])
    background = events.rows(kept).at_most(CORRELATION_EVENTS)
    if len(background.targets) < 2:
        return math.nan
    weights = torch.from_numpy(np.maximum(background.weights, 0.0)) if weighted else None
    values = torch.from_numpy(background.variables[variable].copy())
    return distance_correlation(values, torch.from_numpy(background.logit), weights).item()


def _mean(values: Sequence[float]) -> float:
    defined = [value for value in values if not math.isnan(value)]
    return sum(defined) / len(defined) if defined else math.nan
