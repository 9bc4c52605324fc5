"""Scores of reweighted samples, against hand calculations, scipy and the closed form of toys."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from tabstar_lit.families.hep.fakes.ensemble import PLAIN, Ensemble
from tabstar_lit.families.hep.fakes.toy.closed_form import ClosedForm, form_of
from tabstar_lit.families.hep.fakes.toy.config import FakesToy
from tabstar_lit.families.hep.fakes.tracking.reweighted import Reweighted
from tabstar_lit.families.hep.fakes.tracking.scores import (
    effective_share,
    metric_names,
    score,
    strayed_heads,
    truth_of,
    yield_errors,
)


def events_of(
    log_ratios: np.ndarray, targets: np.ndarray, weights: np.ndarray, role: str = "ratio", **variables: np.ndarray
) -> Reweighted:
    given = {"log_ratios": log_ratios, "targets": targets, "weights": weights}
    given["variables"] = np.stack(list(variables.values()), axis=1)
    rows = {name: torch.from_numpy(np.asarray(column, dtype=float)) for name, column in given.items()}
    return Reweighted.of(rows, names=list(variables), role=role)  # type: ignore[arg-type]  # a literal


def scored(events: Reweighted, form: ClosedForm | None) -> dict[str, float]:
    """Return the scores in bins of pt."""
    return score(events, ["pt"], bins=20, form=form, pt_variable="pt")


def test_yields_of_heads_are_compared_with_the_reference() -> None:
    targets = np.repeat([1.0, 0.0], [400, 1000])
    heads = np.zeros((1400, 3)) + np.log(0.4) + np.array([0.0, np.log(1.1), np.log(0.01)])
    events = events_of(heads, targets, np.ones(1400), pt=np.linspace(20, 100, 1400))
    np.testing.assert_allclose(yield_errors(events), [0, 0.1, -0.99], atol=1e-12)
    assert scored(events, None)["yield_error"] == pytest.approx(0.99)
    (note,) = strayed_heads(events, 0.05)
    assert note.startswith("1 of 3 heads do not give loose the total of tight")
    assert "head 2 (-99%)" in note
    (stricter,) = strayed_heads(events.rows(slice(None, None, 1)), 0.0)
    assert stricter.startswith("1 of 3")  # 10 % are two statistical errors
    assert strayed_heads(events, 1.0) == ()
    assert strayed_heads(events, None) == ()
    broken = events_of(np.full((1400, 2), np.nan), targets, np.ones(1400), pt=np.linspace(20, 100, 1400))
    assert "2 of 2 heads" in strayed_heads(broken, 0.05)[0]


def test_heads_are_averaged_as_is_asked() -> None:
    heads = {"log_ratios": torch.tensor([[0.0, 2.0], [1.0, 1.0]]), "targets": torch.zeros(2)}
    by_log, by_ratio = (
        Reweighted.of(heads, names=[], role="ratio", ensemble=own) for own in (PLAIN, Ensemble("ratio"))
    )
    assert by_log.reweights == pytest.approx([math.e, math.e])
    assert by_ratio.reweights == pytest.approx([(1 + math.e**2) / 2, math.e])


def test_effective_share_is_kishs() -> None:
    assert effective_share(np.ones(7)) == 1
    assert effective_share(np.array([1.0, 0.0, 0.0, 0.0])) == 0.25
    assert effective_share(np.array([3.0, 1.0])) == pytest.approx(16 / 10 / 2)
    assert math.isnan(effective_share(np.zeros(3)))


@pytest.mark.parametrize("role", ["numerator", "denominator", "ratio"])
def test_the_truth_has_no_error_and_reweights_right(role: str) -> None:
    """Reweighted by the closed form, simulation looks like data, and loose like tight events after subtraction."""
    form = form_of(FakesToy("pt", n_events=60_000))
    region = {"numerator": "tight", "denominator": "loose"}.get(role)
    above, below = ("tight_data", "loose_data") if region is None else (f"{region}_data", f"{region}_mc")
    rng = np.random.default_rng(3)
    counts = [rng.poisson(form.totals[name]) for name in (above, below)]
    pt = np.concatenate([form.densities[n].sample(rng, c) for n, c in zip((above, below), counts, strict=True)])
    targets = np.repeat([1.0, 0.0], counts)
    weights = np.ones(len(pt))
    if region is None:
        ratios = [form.log_ratio(name, pt) for name in ("loose", "tight")]
        weights = 1 - np.exp(-np.where(targets > 0, ratios[1], ratios[0]))
        truth = np.log(form.factor(pt))
    else:
        truth = form.log_ratio(region, pt)
    heads = truth[:, None] + np.array([[-0.03, 0.0, 0.03]])
    events = events_of(heads, targets, weights, role, pt=pt[:, 0])
    found = scored(events, form)
    assert found["chi2"] == pytest.approx(1, abs=0.9)
    assert found["chi2"] == found["chi2_pt"]
    assert found["logerror"] == pytest.approx(0, abs=1e-12)
    assert (found["coverage1"], found["coverage2"]) == (1, 1)
    wrong = score(
        events_of(heads + 0.2, targets, weights, role, pt=pt[:, 0]), ["pt"], bins=20, form=form, pt_variable="pt"
    )
    assert wrong["chi2"] > found["chi2"] + 2
    assert wrong["logerror"] == pytest.approx(0.2)
    assert (wrong["coverage1"], wrong["coverage2"]) == (0, 0)


def test_logerror_is_of_the_central_loose_events() -> None:
    form = form_of(FakesToy("pt", n_events=1000))
    pt = np.linspace(21, 900, 1001)
    truth = np.log(form.factor(pt[:, None]))
    log_ratios = truth.copy()
    log_ratios[:10] += 100  # the lowest 1 %
    log_ratios[-10:] -= 100
    log_ratios[500] += 9.81  # among the 981 left
    events = events_of(log_ratios[:, None], np.zeros(1001), np.ones(1001), pt=pt)
    found = scored(events, form)
    assert found["logerror"] == pytest.approx(0.01, rel=1e-3)
    assert "coverage1" not in found  # one head
    tight = score(
        events_of(log_ratios[:, None], np.ones(1001), np.ones(1001), pt=pt), [], bins=20, form=form, pt_variable="pt"
    )
    assert math.isnan(tight["logerror"])


def test_coverage_counts_events_within_the_spread() -> None:
    form = form_of(FakesToy("pt", n_events=1000))
    pt = np.full(100, 100.0)
    distance = np.r_[np.full(60, 0.5), np.full(30, 1.5), np.full(10, 2.5)]  # in units of the spread
    spread = np.array([-0.1, 0.1])
    truth = np.log(form.factor(pt[:, None]))
    heads = truth[:, None] + spread + spread.std(ddof=1) * distance[:, None]
    found = scored(events_of(heads, np.zeros(100), np.ones(100), pt=pt), form)
    assert (found["coverage1"], found["coverage2"]) == (pytest.approx(0.6), pytest.approx(0.9))


def test_truth_is_not_a_number_outside_the_toy() -> None:
    form = form_of(FakesToy("pt", n_events=1000))
    events = events_of(np.zeros((2, 1)), np.zeros(2), np.ones(2), pt=np.array([100.0, 5000.0]))
    assert np.isfinite(truth_of(events, form)).tolist() == [True, False]


def test_names_are_those_that_are_given_and_nothing_is_scored_on_broken_ratios() -> None:
    form = form_of(FakesToy("pt_eta", n_events=1000))
    rng = np.random.default_rng(0)
    log_ratios, targets = rng.normal(size=(200, 2)), np.arange(200) % 2
    variables = {"pt": rng.uniform(30, 100, 200), "abs_eta": rng.uniform(0, 2.5, 200)}
    for known in (form, None):
        found = score(
            events_of(log_ratios, targets, np.ones(200), **variables), ["pt"], bins=5, form=known, pt_variable="pt"
        )
        assert tuple(found) == metric_names(["pt"], known=known is not None)
        assert all(map(math.isfinite, found.values()))
    log_ratios[3] = np.nan
    broken = score(
        events_of(log_ratios, targets, np.ones(200), **variables), ["pt"], bins=5, form=form, pt_variable="pt"
    )
    assert all(map(math.isnan, broken.values()))


def test_mean_and_spread_of_heads_and_reweighting() -> None:
    events = events_of(
        np.array([[0.0, 2.0], [1.0, 1.0]]), np.array([0, 1]), np.array([3.0, -2.0]), eta=np.array([-1.0, 2.0])
    )
    assert events.mean.tolist() == [1, 1]
    assert events.std == pytest.approx([math.sqrt(2), 0])
    assert events.reweights == pytest.approx([3 * math.e, -2])
    assert events.variable("abs_eta").tolist() == [1, 2]
    assert events.variable("eta").tolist() == [-1, 2]
    assert events.at_most(1).weights.tolist() == [6.0]
