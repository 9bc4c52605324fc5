"""Scored events cut, thinned and merged; which events and weights each metric takes; the loss a name stands for."""

from __future__ import annotations

import json
import math
from typing import Any

import dcor
import numpy as np
import pytest
import torch
from scipy.special import logsumexp

from tabstar_lit.errors import ConfigError
from tabstar_lit.families.hep.signal.losses import SignalLoss, build_loss, check_loss, loss_of
from tabstar_lit.families.hep.signal.plotting_config import SignalPlotting
from tabstar_lit.families.hep.signal.scored import Scored
from tabstar_lit.families.hep.signal.scores import correlation, score, significance_scans
from tabstar_lit.families.hep.signal.training_config import DiscoConfig, SignalTraining
from tabstar_lit.losses.disco import distance_correlation
from tabstar_lit.metrics.significance import scan_cuts
from tabstar_lit.metrics.weighted import calibration_error

CLASSES = ("qcd", "ggh", "vbf", "top")


def scored(rows: int = 400, classes: int = 4, signal: tuple[int, ...] = (1, 2), **changed: Any) -> Scored:
    random = torch.Generator().manual_seed(1)
    targets = torch.randint(0, classes, (rows,), generator=random)
    logits = torch.randn(rows, classes if classes > 2 else 1, generator=random)
    columns = {
        "logits": logits,
        "targets": targets,
        "weights": torch.rand(rows, generator=random) - 0.1,
        "spectators": torch.randn(rows, 2, generator=random) + logits[:, :1],
    }
    names = changed.pop("names", ("mass", "pt"))
    kept = {name: column for name, column in (columns | changed).items() if column is not None}
    return Scored.of(kept, classes=CLASSES[:classes], signal=signal, spectators=names)


def plotting(**options: Any) -> SignalPlotting:
    return SignalPlotting.model_validate_json(json.dumps(options))


def test_the_logit_adds_up_the_probabilities_of_all_signal_classes() -> None:
    events = scored()
    assert events.background_classes == (0, 3)
    expected = logsumexp(events.log_p[:, [1, 2]], axis=1) - logsumexp(events.log_p[:, [0, 3]], axis=1)
    np.testing.assert_allclose(events.logit, expected)
    assert events.is_signal.tolist() == [target in (1, 2) for target in events.targets]


def test_the_logit_of_what_is_known_for_sure_keeps_its_order() -> None:
    events = scored(2, 2, (0,), logits=torch.tensor([[800.0], [900.0]]), targets=torch.tensor([0, 1]))
    assert events.logit.tolist() == [800.0, 900.0]
    assert events.p[:, 0].tolist() == [1.0, 1.0]


def test_events_without_weights_and_spectators_have_ones_and_none() -> None:
    events = scored(weights=None, spectators=None)
    assert events.weights.tolist() == [1.0] * 400
    assert events.variables == {}
    assert scored(names=("mass",)).variables.keys() == {"mass"}
    assert (events.targets.dtype, events.log_p.dtype) == (np.int64, np.float64)


@pytest.mark.parametrize(("events", "kept"), [(400, 400), (399, 200), (200, 200), (199, 134), (1, 1)])
def test_every_kth_event_stands_for_k(events: int, kept: int) -> None:
    whole = scored()
    few = whole.at_most(events)
    step = math.ceil(400 / events)
    assert len(few.targets) == len(few.log_p) == len(few.variables["pt"]) == kept
    np.testing.assert_array_equal(few.weights, whole.weights[::step] * step)
    np.testing.assert_array_equal(few.variables["pt"], whole.variables["pt"][::step])


def test_chosen_events_keep_what_belongs_to_them() -> None:
    whole, chosen = scored(), np.arange(400) % 3 == 1
    part = whole.rows(chosen)
    np.testing.assert_array_equal(part.log_p, whole.log_p[chosen])
    np.testing.assert_array_equal(part.weights, whole.weights[chosen])
    np.testing.assert_array_equal(part.variables["mass"], whole.variables["mass"][chosen])
    assert (part.classes, part.signal) == (whole.classes, whole.signal)


def test_a_group_is_signal_only_if_all_of_it_is_and_groups_are_in_their_own_order() -> None:
    events = scored()
    merged = events.grouped({"mixed": ("vbf", "qcd"), "higgs": ("vbf", "ggh"), "ggh": ("ggh",)})
    assert merged.classes == ("mixed", "higgs", "ggh")
    assert merged.signal == (1, 2)
    apart = events.grouped({"top": ("top",), "higgs": ("vbf", "ggh")})
    own = np.isin(events.targets, (1, 2, 3))
    assert apart.targets.tolist() == [0 if target == 3 else 1 for target in events.targets[own]]
    shares = events.p[own][:, [1, 2]].sum(1) / events.p[own][:, 1:].sum(1)
    np.testing.assert_allclose(apart.p[:, 1], shares)
    np.testing.assert_array_equal(apart.weights, events.weights[own])


@pytest.mark.parametrize("signal", [0, 1])
def test_two_classes_are_calibrated_by_the_signal_and_more_by_the_choice(signal: int) -> None:
    two, more = scored(classes=2, signal=(signal,)), scored()
    seen = score(two, plotting(), (), disco_weighted=False)
    expected = calibration_error(two.p[:, signal], two.targets == signal, two.weights)
    assert seen["ece"] == pytest.approx(expected)
    assert expected != pytest.approx(calibration_error(two.p.max(1), two.predicted == two.targets, two.weights))
    right = calibration_error(more.p.max(1), more.p.argmax(1) == more.targets, more.weights)
    assert score(more, plotting(), (), disco_weighted=False)["ece"] == pytest.approx(right)


def test_a_class_without_events_is_left_out_of_the_mean_area() -> None:
    events = scored()
    without = events.rows(events.targets != 3)
    seen = score(without, plotting(), (), disco_weighted=False)
    assert math.isnan(seen["auroc_top"])
    assert seen["auroc"] == pytest.approx(np.mean([seen[f"auroc_{name}"] for name in CLASSES[:3]]))


def test_correlations_are_of_background_with_the_weights_that_are_not_negative() -> None:
    events = scored()
    rows = ~events.is_signal
    mass, logit = events.variables["mass"][rows], events.logit[rows]
    plain = dcor.distance_correlation_sqr(mass, logit)
    assert correlation(events, "mass", weighted=False) == pytest.approx(plain, abs=1e-10)
    weights = torch.from_numpy(events.weights[rows].clip(min=0))
    assert (events.weights[rows] < 0).any()
    expected = distance_correlation(torch.from_numpy(mass), torch.from_numpy(logit), weights)
    seen = score(events, plotting(), ("pt", "mass"), disco_weighted=True)
    assert seen["dcorr_mass"] == pytest.approx(expected.item())
    assert expected.item() != pytest.approx(plain, rel=1e-3)


@pytest.mark.parametrize(("background", "defined"), [(0, False), (1, False), (2, True)])
def test_a_correlation_needs_two_events_of_background(background: int, defined: bool) -> None:
    events = scored(10, targets=torch.tensor([0] * background + [1] * (10 - background)))
    assert math.isfinite(correlation(events, "mass", weighted=False)) is defined


def test_a_named_significance_compares_its_own_classes_with_the_options_of_all() -> None:
    events = scored(weights=None)
    group = {"vbf": {"signal": ["vbf"], "background": ["ggh", "qcd"]}}
    options = {"background_uncertainty": 0.2, "min_background_events": 3, "yield_scale": 2.0}
    scans = significance_scans(events, plotting(significance=group, **options))
    assert list(scans) == ["", "vbf"]
    odds = events.p[:, 2] / (events.p[:, 1] + events.p[:, 0])
    expected = scan_cuts(
        odds, events.targets == 2, events.targets < 2, np.full(400, 2.0), uncertainty=0.2, min_events=3
    )
    seen = scans["vbf"]
    assert seen is not None
    assert expected is not None
    assert (seen.maximum, seen.integrated) == pytest.approx((expected.maximum, expected.integrated))


@pytest.mark.parametrize(("classes", "name"), [(None, "bce"), (2, "bce"), (3, "ce")])
def test_the_loss_follows_from_the_number_of_classes(classes: int | None, name: str) -> None:
    assert loss_of(SignalTraining(), classes) == (name, {})
    assert loss_of(SignalTraining(loss="mse"), classes) == ("mse", {})


@pytest.mark.parametrize("written", ["BCE", "bcewithlogitsLOSS", "Bce"])
def test_names_of_losses_are_read_in_any_case(written: str) -> None:
    assert check_loss(SignalTraining(loss=written), n_classes=2) == []
    assert type(build_loss(written, n_classes=2)) is type(build_loss("bce", n_classes=2))


def test_a_misspelt_loss_is_told_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"no loss is called 'bcee'\. Did you mean 'bce'\?"):
        build_loss("bcee", n_classes=2)


def test_counts_of_the_configuration_go_before_those_of_the_data() -> None:
    logits, targets = torch.randn(6, 3), torch.arange(6) % 3
    given = build_loss("ldamloss", {"num_class_list": [5, 9, 2]}, n_classes=3)
    both = build_loss("LDAMLoss", {"num_class_list": [5, 9, 2]}, n_classes=3, class_counts=[1, 1, 1])
    assert both(logits, targets) == given(logits, targets)
    assert build_loss("ce", n_classes=3, class_counts=[1, 1, 1])(logits, targets).isfinite()


@pytest.mark.parametrize("weighted", [False, True])
def test_disco_of_strength_zero_only_measures(weighted: bool) -> None:
    torch.manual_seed(0)
    config = DiscoConfig.model_validate({"variables": ("m",), "lambda": 0.0, "weighted": weighted, "power": 0.5})
    logits, targets, weights = torch.randn(40, 1).double(), (torch.arange(40) % 2).double(), torch.rand(40).double()
    mass = torch.randn(40, 1).double()
    loss = SignalLoss(build_loss("bce", n_classes=2), config)
    terms = loss(logits, targets, weights, mass)
    own = targets == 0
    expected = distance_correlation(mass[own, 0], logits[own, 0], weights[own] if weighted else None, 0.5)
    torch.testing.assert_close(terms.correlations, expected[None])
    torch.testing.assert_close(terms.total, terms.classification)
    assert loss.state_dict() == {}  # nothing of it is part of a checkpoint
