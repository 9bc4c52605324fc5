"""What a signal classifier logs, against scikit-learn and dcor on the same events."""

from __future__ import annotations

import math
from typing import Any

import dcor
import numpy as np
import pytest
import torch
from scipy.special import log_softmax
from sklearn.metrics import accuracy_score, average_precision_score, f1_score, roc_auc_score

from tabstar_lit.families.hep.signal.plotting_config import SignalPlotting
from tabstar_lit.families.hep.signal.scored import Scored
from tabstar_lit.families.hep.signal.scores import CORRELATION_EVENTS, correlation, metric_names, score

CLASSES = ("background", "signal", "top")


def scored(classes: int = 2, rows: int = 500, **changed: Any) -> Scored:
    """Return seeded events with a mass that leans on the score."""
    generator = torch.Generator().manual_seed(0)
    targets = torch.randint(0, classes, (rows,), generator=generator)
    logits = torch.randn(rows, 1 if classes == 2 else classes, generator=generator)
    logits[:, 0] += 1.5 * targets if classes == 2 else 0.0
    mass = logits[:, :1] + torch.randn(rows, 1, generator=generator)
    columns = {"logits": logits, "targets": targets, "weights": torch.rand(rows, generator=generator)}
    given: dict[str, Any] = {"signal": (1,), **columns, "spectators": mass, **changed}
    named = {name: given[name] for name in (*columns, "spectators") if given[name] is not None}
    return Scored.of(named, classes=CLASSES[:classes], signal=given["signal"], spectators=("mass",))


def scores_of(events: Scored, **plotting: Any) -> dict[str, float]:
    return score(events, SignalPlotting.model_validate(plotting), ("mass",), disco_weighted=False)


def test_two_classes_equal_scikit_learn() -> None:
    events = scored()
    seen, y, w = scores_of(events), events.targets, events.weights
    probability = events.p[:, 1]
    assert seen["auroc"] == pytest.approx(roc_auc_score(y, probability, sample_weight=w))
    assert seen["auroc_unweighted"] == pytest.approx(roc_auc_score(y, probability))
    assert seen["auprc"] == pytest.approx(average_precision_score(y, probability, sample_weight=w))
    assert seen["accuracy"] == pytest.approx(accuracy_score(y, probability > 0.5, sample_weight=w))
    assert seen["f1"] == pytest.approx(f1_score(y, probability > 0.5, sample_weight=w, average="macro"))
    rows = y == 0
    expected = dcor.distance_correlation_sqr(events.variables["mass"][rows], events.logit[rows])
    assert seen["dcorr_mass"] == pytest.approx(expected, abs=1e-10)


def test_more_classes_equal_scikit_learn() -> None:
    events = scored(3)
    seen, y, w = scores_of(events), events.targets, events.weights
    areas = [roc_auc_score(y == c, events.p[:, c], sample_weight=w) for c in range(3)]
    assert [seen[f"auroc_{name}"] for name in CLASSES] == pytest.approx(areas)
    assert seen["auroc"] == pytest.approx(np.mean(areas))
    expected = roc_auc_score(y, events.p, multi_class="ovr", average="macro")
    assert seen["auroc_unweighted"] == pytest.approx(expected)
    assert seen["f1"] == pytest.approx(f1_score(y, events.predicted, sample_weight=w, average="macro"))


def test_one_logit_is_that_of_the_signal_class() -> None:
    logits = torch.tensor([[2.0], [-1.0]])
    for signal in (0, 1):
        events = scored(2, 2, logits=logits, targets=torch.zeros(2), weights=None, spectators=None, signal=(signal,))
        np.testing.assert_allclose(events.logit, [2.0, -1.0])
        np.testing.assert_allclose(events.p[:, signal], torch.sigmoid(logits[:, 0]), rtol=1e-6)
        assert events.predicted.tolist() == [signal, 1 - signal]


def test_probabilities_are_those_of_softmax() -> None:
    events = scored(3)
    generator_free = log_softmax(events.log_p + 7.0, axis=1)
    np.testing.assert_allclose(events.log_p, generator_free, atol=1e-12)
    np.testing.assert_allclose(events.logit, np.log(events.p[:, 1] / (events.p[:, 0] + events.p[:, 2])), atol=1e-9)


def test_efficiencies_name_the_rejections() -> None:
    seen = scores_of(scored(), efficiencies=(0.125, 0.8))
    assert {name for name in seen if name.startswith("rejection")} == {"rejection_12.5", "rejection_80"}
    assert seen["rejection_12.5"] > seen["rejection_80"] > 1


def test_named_significances_leave_other_classes_out() -> None:
    own = {"significance": {"top": {"signal": ("signal",), "background": ("top",)}}}
    events = scored(3)
    seen = scores_of(events, **own)
    assert {"significance_max", "significance_max_top", "significance_integrated_top"} <= set(seen)
    without = events.rows(events.targets != 0)
    assert scores_of(without, **own)["significance_max_top"] == seen["significance_max_top"]
    assert seen["significance_max_top"] > seen["significance_max"]


def test_yields_scale_the_significance() -> None:
    assert scores_of(scored(), yield_scale=4.0)["significance_max"] == pytest.approx(
        2 * scores_of(scored())["significance_max"]
    )


@pytest.mark.parametrize("classes", [2, 3])
def test_names_are_known_before_there_are_events(classes: int) -> None:
    plotting = SignalPlotting()
    names = metric_names(CLASSES[:classes], (1,), plotting, ("mass",))
    assert names == tuple(score(scored(classes), plotting, ("mass",), disco_weighted=False))


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_score_that_is_not_finite_makes_all_metrics_nan(value: float) -> None:
    logits = torch.randn(20, 3)
    logits[3, 1] = value
    events = scored(3, 20, logits=logits)
    assert all(math.isnan(number) for number in scores_of(events).values())


@pytest.mark.parametrize("only", [0, 1])
def test_one_class_alone_has_no_area(only: int) -> None:
    events = scored().rows(scored().targets == only)
    seen = scores_of(events)
    assert math.isnan(seen["auroc"])
    assert math.isnan(seen["significance_max"])
    assert math.isnan(seen["rejection_50"])
    assert 0 <= seen["accuracy"] <= 1


def test_negative_weights_are_used_as_they_are() -> None:
    rows = 500
    weights = torch.where(torch.arange(rows) % 4 == 0, -0.5, 1.0)
    events = scored(weights=weights)
    s, b = events.is_signal, ~events.is_signal
    pairs = (np.sign(events.logit[s][:, None] - events.logit[b]) + 1) / 2
    expected = events.weights[s] @ pairs @ events.weights[b] / (events.weights[s].sum() * events.weights[b].sum())
    assert scores_of(events)["auroc"] == pytest.approx(expected)


def test_correlation_takes_evenly_spaced_events_and_leaves_holes_out() -> None:
    rows = 3 * CORRELATION_EVENTS
    mass = torch.randn(rows, 1)
    mass[::7] = torch.nan
    events = scored(2, rows, targets=torch.zeros(rows), spectators=mass)
    finite = np.flatnonzero(np.isfinite(events.variables["mass"]))[::3]
    expected = dcor.distance_correlation_sqr(events.variables["mass"][finite], events.logit[finite])
    assert correlation(events, "mass", weighted=False) == pytest.approx(expected, abs=1e-10)


def test_thinning_keeps_the_yield() -> None:
    events = scored(rows=1000)
    few = events.at_most(300)
    assert len(few.targets) == 250
    assert few.weights.sum() == pytest.approx(events.weights.sum(), rel=0.1)
    assert events.at_most(1000) is events


def test_groups_add_probabilities() -> None:
    events = scored(3)
    merged = events.grouped({"other": ("background", "top"), "signal": ("signal",)})
    np.testing.assert_allclose(merged.p[:, 0], events.p[:, 0] + events.p[:, 2])
    assert merged.signal == (1,)
    assert merged.targets.tolist() == (events.targets == 1).astype(int).tolist()
    part = events.grouped({"a": ("signal",), "b": ("top",)})
    assert len(part.targets) == (events.targets > 0).sum()
    np.testing.assert_allclose(part.p.sum(axis=1), 1.0)
