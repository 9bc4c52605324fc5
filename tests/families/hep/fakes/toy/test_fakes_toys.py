"""Toy fakes: their densities against quadrature, and their fake factor against histograms of the events."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from checks import assert_takes_less_than
from click.testing import CliRunner
from scipy import integrate

from tabstar_lit.errors import ConfigError, DataError
from tabstar_lit.families.hep.events.file import EventFile
from tabstar_lit.families.hep.events.toys import toy_events
from tabstar_lit.families.hep.fakes.commands import fakes_toy
from tabstar_lit.families.hep.fakes.toy.closed_form import closed_form, fakes_of
from tabstar_lit.families.hep.fakes.toy.config import PARAMETERS, TOYS, WEIGHT_KINDS, FakesToy, Shape
from tabstar_lit.families.hep.fakes.toy.densities import FORMULAS, MixedDensity, ShapeDensity
from tabstar_lit.families.hep.fakes.toy.events import draw_weights, ensure_toy_fakes, toy_fakes

BINS = {"pt": [np.linspace(20, 1000, 41)], "pt_eta": [np.linspace(20, 120, 17), np.linspace(0, 2.5, 11)]}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, EventFile]:
    folder = tmp_path_factory.mktemp("fakes")
    with assert_takes_less_than(10):  # twice 200,000 events; under a second on an idle core
        return {name: toy_fakes(folder / f"{name}.h5", FakesToy(name, seed=1)) for name in TOYS}


def points_of(file: EventFile) -> np.ndarray:
    return np.stack([file.column(name) for name in closed_form(file).columns], axis=1).astype(float)


def histogram(file: EventFile, name: str, bins: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Return sums of weights in bins of a class, and their variances."""
    points, own, weights = points_of(file), file.labels() == file.classes.index(name), file.weights()
    sums, variances = (np.histogramdd(points[own], bins, weights=w)[0] for w in (weights[own], weights[own] ** 2))
    return sums, variances


def expected(file: EventFile, name: str, bins: list[np.ndarray], fine: int = 24) -> np.ndarray:
    """Return the closed form's yields of a class in bins, by midpoints of finer ones."""
    edges = [np.concatenate([np.linspace(a, b, fine, endpoint=False) for a, b in pairwise(e)]) for e in bins]
    widths = [np.diff(np.append(edge, end[-1])) for edge, end in zip(edges, bins, strict=True)]
    middles = [edge + 0.5 * width for edge, width in zip(edges, widths, strict=True)]
    grid = np.stack(np.meshgrid(*middles, indexing="ij"), axis=-1)
    volume = np.prod(np.stack(np.meshgrid(*widths, indexing="ij")), axis=0)
    values = closed_form(file).expected(name, grid.reshape(-1, len(bins))).reshape(volume.shape) * volume
    for axis, edge in enumerate(bins):
        values = np.add.reduceat(values, np.arange(len(edge) - 1) * fine, axis=axis)
    return values


@pytest.mark.parametrize("boost", [False, True])
@pytest.mark.parametrize("name", FORMULAS)
def test_shapes_are_normalised_and_sampled(name: str, boost: bool) -> None:
    density = ShapeDensity(Shape(name, PARAMETERS[name], boost), 20, 1000)
    inner, _ = integrate.quad(lambda x: density(np.array([[x]]))[0], 20, 902, points=[30, 60, 500], limit=200)
    outer, _ = integrate.quad(lambda x: density(np.array([[x]]))[0], 902, 1000)
    assert inner + outer == pytest.approx(1, abs=1e-4)
    sample = density.sample(np.random.default_rng(0), 40_000)[:, 0]
    assert (sample > 902).mean() == pytest.approx(outer, abs=4 * np.sqrt(outer / 40_000) + 1e-9)
    median = np.median(sample)
    below, _ = integrate.quad(lambda x: density(np.array([[x]]))[0], 20, median, points=[min(30, median)], limit=200)
    assert below == pytest.approx(0.5, abs=0.01)


def test_the_boost_doubles_the_tail() -> None:
    plain, boosted = (ShapeDensity(Shape.parse(f"background{tail}"), 20, 1000) for tail in ("", "+tail"))
    inside, outside = np.array([[500.0]]), np.array([[950.0]])
    gain = boosted(outside) / plain(outside) / (boosted(inside) / plain(inside))
    assert gain[0] == pytest.approx(2)
    assert boosted(np.array([[10.0], [1001.0]])).tolist() == [0, 0]


def test_densities_of_two_variables_integrate_to_one() -> None:
    fakes = fakes_of(FakesToy("pt_eta"))
    for density in fakes:
        total, _ = integrate.dblquad(
            lambda eta, pt, d=density: d(np.array([[pt, eta]]))[0], 20, 300, 0, 2.5, epsabs=1e-4
        )
        assert total == pytest.approx(1, abs=2e-3)
    at = np.array([[50.0, 1.0]])
    mixed = MixedDensity(fakes.tight, fakes.loose, 0.3)
    np.testing.assert_allclose(mixed(at), 0.3 * fakes.tight(at) + 0.7 * fakes.loose(at))


@pytest.mark.parametrize("variables", TOYS)
@pytest.mark.parametrize("name", ["tight_data", "loose_data", "tight_mc", "loose_mc"])
def test_events_of_each_class_follow_the_closed_form(files: dict[str, EventFile], variables: str, name: str) -> None:
    sums, variances = histogram(files[variables], name, BINS[variables])
    used = variances > 0
    pulls = (sums - expected(files[variables], name, BINS[variables]))[used] / np.sqrt(variances[used])
    assert 0.5 < (pulls**2).mean() < 1.6


@pytest.mark.parametrize("variables", TOYS)
def test_the_ratio_of_histograms_equals_the_closed_form(files: dict[str, EventFile], variables: str) -> None:
    """chi2 per bin of (data - simulation) tight over loose against F averaged over the loose fakes of the bin."""
    file, bins = files[variables], BINS[variables]
    seen, wanted = ({c: f(file, c, bins) for c in file.classes} for f in (histogram, expected))
    difference = {r: seen[f"{r}_data"][0] - seen[f"{r}_mc"][0] for r in ("tight", "loose")}
    variance = {r: seen[f"{r}_data"][1] + seen[f"{r}_mc"][1] for r in ("tight", "loose")}
    factor = (wanted["tight_data"] - wanted["tight_mc"]) / (wanted["loose_data"] - wanted["loose_mc"])
    # Of the difference tight - F loose, which is Gaussian where a ratio of small numbers is not.
    error = np.sqrt(variance["tight"] + factor**2 * variance["loose"])
    pulls = ((difference["tight"] - factor * difference["loose"]) / error)[seen["tight_data"][0] > 10]
    assert pulls.size > 20
    assert 0.7 < (pulls**2).mean() < 1.4


def test_the_factor_needs_both_variables(files: dict[str, EventFile]) -> None:
    """At equal pt it changes with eta by far more than what is asked of a learned one; pt and eta are correlated."""
    form = closed_form(files["pt_eta"])
    at = np.array([[pt, eta] for pt in (30.0, 60.0) for eta in (0.2, 2.3)])
    logs = np.log(form.factor(at)).reshape(2, 2)
    assert np.abs(logs[:, 0] - logs[:, 1]).max() > 0.5
    loose = points_of(files["pt_eta"])[files["pt_eta"].labels() == 1]
    assert np.corrcoef(loose.T)[0, 1] < -0.1


def test_ratios_of_data_and_simulation(files: dict[str, EventFile]) -> None:
    form = closed_form(files["pt"])
    points = np.array([[100.0], [250.0]])
    expected_ratio = form.expected("tight_data", points) / form.expected("tight_mc", points)
    np.testing.assert_allclose(np.exp(form.log_ratio("tight", points)), expected_ratio)
    assert (expected_ratio > 1).all()
    assert np.isnan(form.factor(np.array([[1.0]]))).all()


@pytest.mark.parametrize("kind", WEIGHT_KINDS)
def test_weights_scatter_and_sum_to_the_yield(kind: str) -> None:
    weights = draw_weights(np.random.default_rng(0), kind, 50_000, 700.0)
    assert weights.sum() == pytest.approx(700)
    spread = {"lognormal": 0.533, "normal": 0.1, "uniform": 0.577, "unity": 0.0}
    if kind in spread:
        assert weights.std() / weights.mean() == pytest.approx(spread[kind], abs=0.02)
    negative = (np.arctan(20) - np.arctan(2)) / np.pi  # of departures from 1 between -10 and -1, at half-width 0.5
    assert (weights < 0).mean() == pytest.approx(negative if kind == "cauchy" else 0, abs=0.01)
    assert np.abs(weights).max() < 12 * 700 / 50_000 * 1.2


@pytest.mark.parametrize("kind", WEIGHT_KINDS)
def test_totals_in_the_file_are_those_of_the_closed_form(kind: str, tmp_path: Path) -> None:
    file = toy_fakes(tmp_path / "toy.h5", FakesToy(n_events=1003, mc_weights=kind, data_weights=kind))
    sums = np.bincount(file.labels(), file.weights(), 4)
    np.testing.assert_allclose(sums, [closed_form(file).totals[name] for name in file.classes], rtol=1e-9)
    assert np.bincount(file.labels()).tolist() == [250, 353, 200, 200]


def test_equal_toys_have_equal_events_and_are_made_once(tmp_path: Path) -> None:
    toy = FakesToy(n_events=500)
    first = toy_fakes(tmp_path / "a.h5", toy)
    assert toy_fakes(tmp_path / "b.h5", toy).fingerprint == first.fingerprint
    assert toy_fakes(tmp_path / "c.h5", FakesToy(n_events=500, seed=1)).fingerprint != first.fingerprint
    stamp = first.path.stat().st_mtime_ns
    assert ensure_toy_fakes(first.path, toy).stat().st_mtime_ns == stamp
    assert ensure_toy_fakes(first.path, FakesToy(n_events=600)).stat().st_mtime_ns != stamp


def test_events_that_are_no_such_toys_are_not_overwritten(tmp_path: Path) -> None:
    """Toys of the signal family are others, too."""
    path = toy_events(tmp_path / "fakes_toy.h5", 50).path
    content = path.read_bytes()
    with pytest.raises(DataError, match=r"holds other events than the toys .*dataset_config\.files=fakes_toy\.h5"):
        ensure_toy_fakes(path, FakesToy(n_events=500))
    assert path.read_bytes() == content


def test_the_command_makes_a_toy(tmp_path: Path) -> None:
    arguments = [
        "-o",
        str(tmp_path / "t.h5"),
        "--events",
        "400",
        "--prompt",
        "resonance:300,80",
        "--mc-weights",
        "cauchy",
    ]
    done = CliRunner().invoke(fakes_toy, arguments, catch_exceptions=False)
    assert "400 events, classes tight_data" in done.output
    assert closed_form(EventFile.open(tmp_path / "t.h5")).factor(np.array([[50.0]]))[0] > 0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"n_events": 10}, "too few: ask for at least 100"),
        ({"variables": "eta"}, "no toy 'eta'. There are: pt, pt_eta"),
        ({"mc_weights": "gauss"}, "no kind of weights 'gauss'"),
        ({"prompt": "resonanz"}, r"no toy shape 'resonanz'. Did you mean 'resonance'\?"),
        ({"tight": "qcd:1,2"}, "'qcd' takes 4 finite parameters"),
        ({"loose": "signal:1,a,2,3"}, "'1,a,2,3' are no numbers"),
    ],
)
def test_what_cannot_be_generated_is_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        FakesToy(**changes)


def test_a_shape_without_events_and_a_foreign_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"'resonance:500,1' is not positive and finite from 20 to 1000 GeV"):
        toy_fakes(tmp_path / "toy.h5", FakesToy(prompt="resonance:500,1"))
    with pytest.raises(DataError, match="no toy of fakes of this release"):
        closed_form(toy_events(tmp_path / "signal.h5", 100))


def test_numbers_of_events_vary_from_seed_to_seed_where_they_are_asked_to(tmp_path: Path) -> None:
    """Poisson numbers: over samples the spread of data is the root of their number, that of simulation larger."""
    toys = [FakesToy(n_events=4000, seed=seed, poisson=True) for seed in range(60)]
    files = [toy_fakes(tmp_path / f"{toy.seed}.h5", toy) for toy in toys]
    sums = np.array([[file.weights()[file.labels() == i].sum() for i in range(4)] for file in files])
    expected = [1000, 1400, 300, 140]
    np.testing.assert_allclose(sums.mean(0), expected, rtol=4 / np.sqrt(60 * 800))
    relative = sums.std(0, ddof=1) / sums.mean(0)
    poisson = 1 / np.sqrt([1000, 1400, 800, 800]) * np.sqrt([1, 1, np.exp(0.25), np.exp(0.25)])
    np.testing.assert_allclose(relative, poisson, rtol=0.35)
    assert FakesToy.from_plain(toys[3].to_plain()) == toys[3]
    assert "poisson" not in FakesToy().to_plain(), "toys from before are the same"
