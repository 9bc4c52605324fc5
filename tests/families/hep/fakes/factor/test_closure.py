"""Closure: with the true factor it closes, with a wrong one it does not, and every number is that of the events."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from known_factor import known_model
from pyarrow import csv

from tabstar_lit.errors import CheckpointError, ConfigError, DataError
from tabstar_lit.families.hep.events.file import EventFile
from tabstar_lit.families.hep.fakes.bins.statistics import FEWEST
from tabstar_lit.families.hep.fakes.factor.closure import measure_closure
from tabstar_lit.families.hep.fakes.factor.closure_report import closure_figure, draw, figures, summary, write_table
from tabstar_lit.families.hep.fakes.toy.closed_form import closed_form
from tabstar_lit.families.hep.fakes.toy.config import FakesToy
from tabstar_lit.families.hep.fakes.toy.events import toy_fakes
from tabstar_lit.families.hep.preparation.split import SPLITS, split_events


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toy_fakes(tmp_path_factory.mktemp("closure") / "toy.h5", FakesToy("pt_eta", n_events=60_000)).path


def test_the_truth_closes_on_events_of_the_test_split(toy: Path) -> None:
    model = known_model(toy, (-0.02, 0.0, 0.02))
    found = measure_closure(model)
    chi2 = {own.variable: own.chi2() for own in found.variables}
    assert set(chi2) == {"pt", "abs_eta"}
    assert all(value == pytest.approx(1, abs=0.8) for value in chi2.values())
    (seen, seen_error), (prompt, prompt_error) = found.observed, found.prompt
    error = np.sqrt(seen_error**2 + prompt_error**2 + found.prediction.statistical**2)
    assert abs(seen - prompt - found.prediction.total) < 3 * error
    assert found.counted is not None
    assert found.counted.variables == ("pt", "abs_eta")
    assert {own.variable: own.binned_chi2() for own in found.variables}["pt"] < 3


def test_the_truth_closes_where_most_bins_have_no_loose_events(tmp_path: Path) -> None:
    """Loose fakes that end far below the tight ones: of 40 bins of pt many are empty until they are merged."""
    chi2, summaries = [], []
    for seed in range(40):
        toy = FakesToy(
            n_events=12_000,
            seed=seed,
            tight="background:1,0,0.02",
            loose="background:1,0,0.04",
            prompt="resonance:60,30",
        )
        file = toy_fakes(tmp_path / f"{seed}.h5", toy).path
        found = measure_closure(known_model(file), bins=40)
        (pt,) = found.variables
        assert len(pt.observed) < pt.asked
        assert pt.loose.min() >= FEWEST
        assert pt.observed.sum() == pytest.approx(found.observed[0])
        chi2.append(pt.chi2())
        summaries.append(summary(found, model=False))
    assert np.mean(chi2) == pytest.approx(1, abs=0.15)
    assert f"bins are merged until each holds {FEWEST} events of loose data: pt ({pt.merged})" in summaries[-1]
    assert pt.merged in closure_figure(pt).axes[0].get_title()


def test_a_wrong_factor_does_not_close_unless_its_heads_know(toy: Path) -> None:
    found = measure_closure(known_model(toy, (0.1, 0.3)), split=None)
    assert all(own.chi2() > 3 for own in found.variables)
    assert all(own.chi2(model=True) < 0.7 * own.chi2() for own in found.variables)


def test_the_terms_are_those_of_the_events(toy: Path) -> None:
    """Count the yields of the split anew, from the file alone."""
    model, file = known_model(toy, (0.0, 0.5)), EventFile.open(toy)
    found = measure_closure(model, variables=["pt"], bins=4)
    test = split_events(file.event_ids(), model.dataset.split) == SPLITS.index("test")
    own = {name: test & (file.labels() == number) for number, name in enumerate(file.classes)}
    weights, pt = file.weights(), file.column("pt").astype(float)
    points = np.stack([pt, file.column("abs_eta").astype(float)], axis=1)
    factor = closed_form(file).factor(points) * np.exp(0.25)
    (bins,) = found.variables

    def counted(name: str, values: np.ndarray) -> np.ndarray:
        inside = np.clip(pt[own[name]], bins.edges[0], bins.edges[-1])
        return np.histogram(inside, bins.edges, weights=values[own[name]])[0]

    fakes = counted("loose_data", weights * factor) - counted("loose_mc", weights * factor)
    assert bins.fakes == pytest.approx(fakes, rel=1e-5)
    assert bins.observed == pytest.approx(counted("tight_data", weights))
    assert bins.prompt == pytest.approx(counted("tight_mc", weights))
    variance = counted("loose_data", (weights * factor) ** 2) + counted("loose_mc", (weights * factor) ** 2)
    variance += counted("tight_mc", weights**2)
    assert bins.statistical**2 == pytest.approx(variance, rel=1e-5)
    spread = np.std([np.exp(-0.25), np.exp(0.25)], ddof=1)
    assert bins.model == pytest.approx(abs(fakes) * spread, rel=1e-4)
    assert found.prediction.model == pytest.approx(fakes.sum() * spread, rel=1e-4)
    assert found.prediction.total == pytest.approx(fakes.sum(), rel=1e-5)
    difference = bins.observed - bins.prompt - bins.fakes
    assert bins.chi2() == pytest.approx(np.mean(difference**2 / (bins.observed_error**2 + variance)), rel=1e-4)


def test_without_simulation_only_data_count(toy: Path) -> None:
    model = known_model(toy, subtract_mc=False)
    found = measure_closure(model, toy, split="val", variables=["abs_eta"])
    assert found.prompt == (0.0, 0.0)
    assert found.counted is None
    assert not found.regions.simulated.any()
    assert "binned F:" not in summary(found, model=False)


def test_cuts_of_the_training_are_kept(toy: Path) -> None:
    found = measure_closure(known_model(toy, pt_cut={"min": 30, "max": 100}))
    assert found.columns["pt"].min() >= 30
    assert found.columns["pt"].max() < 100
    assert found.regions.left_out > 0


def test_report(toy: Path, tmp_path: Path) -> None:
    found = measure_closure(known_model(toy, (-0.1, 0.1)), bins=8)
    text = summary(found, model=True)
    assert "(model)" in text
    assert "binned F: of the training events, in pt and abs_eta" in text
    assert f"{found.variables[0].chi2(model=True):.3f}" in text
    write_table(found, tmp_path / "closure.csv")
    table = csv.read_csv(tmp_path / "closure.csv").to_pydict()
    assert table["variable"] == ["pt"] * 8 + ["abs_eta"] * 8
    assert table["fakes"] == pytest.approx(np.concatenate([own.fakes for own in found.variables]))
    labels = {name: figure.axes[1].get_xlabel() for name, figure in figures(found, "pt")}
    assert (labels["closure_pt"], labels["factor_pt"]) == ("pt [GeV]", "pt [GeV]")
    assert draw(found, tmp_path / "figures", "pt") == 4
    names = {path.name for path in (tmp_path / "figures").iterdir()}
    assert names == {"closure_pt.png", "closure_abs_eta.png", "factor_pt.png", "factor_abs_eta.png"}


def test_cells_without_a_factor_are_counted(toy: Path) -> None:
    found = measure_closure(known_model(toy), variables=["pt"])
    assert found.counted is not None
    found.counted.factor[0, :] = np.nan
    assert found.unknown > 0
    assert f"{found.unknown} loose events" in summary(found, model=False)


def test_mistakes(toy: Path, tmp_path: Path) -> None:
    model = known_model(toy)
    with pytest.raises(ConfigError, match=r"--variable ptt: .* Did you mean 'pt'"):
        measure_closure(model, variables=["ptt"])
    with pytest.raises(DataError, match="the calib split has no events"):
        measure_closure(model, split="calib")
    with pytest.raises(CheckpointError, match="is the numerator of a fake-factor estimate"):
        measure_closure(known_model(toy, role="numerator"))
    with pytest.raises(DataError, match="no such file"):
        measure_closure(model, tmp_path / "none.h5")


def test_without_groups_the_variance_is_that_of_all_terms(toy: Path) -> None:
    for own in measure_closure(known_model(toy, (0.0, 0.1))).variables:
        np.testing.assert_allclose(own.variance, own.observed_error**2 + own.statistical**2)
