"""Scores of reweighted samples, against hand calculations, scipy and the closed form of toys."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import stats

from tabstar_lit.families.hep.fakes.toy.closed_form import ClosedForm, form_of
from tabstar_lit.families.hep.fakes.toy.config import FakesToy
from tabstar_lit.families.hep.fakes.tracking.reweighted import Reweighted, column_of, standard_variables
from tabstar_lit.families.hep.fakes.tracking.scores import (
    chi2_of,
    chi2_per_bin,
    effective_share,
    metric_names,
    quantile_edges,
    score,
    strayed_heads,
    comparable_edges,
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


def test_chi2_by_hand() -> None:
    # Two bins of 10 and 20 reference events of weight 1, against 10 of weight 2 and 20 of weight 0.5.
    values = np.r_[np.zeros(10), np.ones(20), np.zeros(10), np.ones(20)]
    weights = np.r_[np.ones(30), np.full(10, 2.0), np.full(20, 0.5)]
    reference = np.arange(60) < 30
    edges = quantile_edges(values[reference], 2)
    assert list(edges) == [0.0, 1.0]  # one bin: the median is 1
    total = (30 - 30) ** 2 / (30 + 40 + 5)
    assert chi2_per_bin(values, weights, reference, 2) == pytest.approx(total)
    assert chi2_of(np.array([-10.0, 10.0]), np.array([50.0, 25.0])) == pytest.approx((100 / 50 + 100 / 25) / 2)


def test_chi2_of_equal_distributions_is_the_one_of_scipy() -> None:
    rng = np.random.default_rng(0)
    found = []
    for _ in range(200):
        a, b = rng.exponential(size=rng.poisson(1000)), rng.exponential(size=rng.poisson(4000))
        weights = np.r_[np.ones(len(a)), np.full(len(b), 0.25)]
        found.append(chi2_per_bin(np.r_[a, b], weights, np.arange(len(weights)) < len(a), 20))
    assert stats.kstest(20 * np.array(found), stats.chi2(20).cdf).pvalue > 1e-3
    assert np.mean(found) == pytest.approx(1, abs=0.07)


def test_chi2_sees_what_is_wrong() -> None:
    rng = np.random.default_rng(1)
    a, b = rng.uniform(0, 1, 2000), rng.uniform(0, 1, 2000)
    values, reference = np.r_[a, b], np.arange(4000) < 2000
    assert chi2_per_bin(values, np.ones(4000), reference, 20) == pytest.approx(1, abs=0.7)
    assert chi2_per_bin(values, np.where(reference, 1.0, 1.3), reference, 20) > 3
    assert math.isnan(chi2_per_bin(values[:10], np.ones(10), np.ones(10, dtype=bool), 5))


def test_bins_without_events_of_the_other_sample_are_merged_and_still_count() -> None:
    rng = np.random.default_rng(1)
    a, b = np.r_[rng.uniform(0, 1, 2000), rng.uniform(2, 3, 2000)], rng.uniform(0, 1, 2000)  # nothing of b above 1
    edges = comparable_edges(a, b, 20)
    assert len(edges) == 11  # the upper ten bins are one with their neighbour
    assert (edges[0], edges[-1]) == (a.min(), a.max())
    assert np.histogram(b, edges)[0].min() >= 10
    assert chi2_per_bin(np.r_[a, b], np.ones(6000), np.arange(6000) < 4000, 20) > 3


def test_chi2_of_the_truth_is_one_where_the_other_sample_is_thin() -> None:
    """Few events of large weight stand for many: in most of the bins before they are merged there are none."""
    rng = np.random.default_rng(2)
    found = []
    for _ in range(300):
        a, b = rng.exponential(1.0, rng.poisson(2000)), rng.exponential(0.4, rng.poisson(300))
        weights = np.r_[np.ones(len(a)), 2000 / 300 * 0.4 * np.exp(b / 0.4 - b)]
        reference = np.arange(len(weights)) < len(a)
        assert len(comparable_edges(a, b, 20)) < 20
        found.append(chi2_per_bin(np.r_[a, b], weights, reference, 20))
    print(np.mean(found))
    assert np.median(found) == pytest.approx(1, abs=0.2)


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


def test_bins_of_few_values_and_few_events() -> None:
    assert list(quantile_edges(np.full(100, 3.0), 10)) == [2.5, 3.5]
    assert len(quantile_edges(np.arange(35.0), 20)) == 4  # at least ten events in each
    counts = np.histogram(np.arange(1000.0), quantile_edges(np.arange(1000.0), 8))[0]
    assert set(counts) <= {124, 125, 126}


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


def test_standard_variables_are_found_by_name() -> None:
    assert standard_variables(("pt", "eta", "met", "x"), "pt") == ("pt", "abs_eta", "met")
    assert standard_variables(("probe_pt", "probe_eta", "m_ee"), "probe_pt") == ("probe_pt", "abs_probe_eta")
    assert standard_variables(("abs_eta", "pt"), "pt") == ("pt", "abs_eta")
    assert column_of({"probe_eta": np.array([-2.0])}, "abs_probe_eta") == [2.0]
