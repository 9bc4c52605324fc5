"""The tracker of fakes: what it logs and draws in each role, also where events give little to draw."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from labels import unlabelled
from matplotlib.figure import Figure
from torch import Tensor

from tabstar_lit.engine.tracking.columns import Columns
from tabstar_lit.errors import ConfigError
from tabstar_lit.families.hep.fakes.plotting_config import FakesPlotting, VariablePlot
from tabstar_lit.families.hep.fakes.toy.closed_form import ClosedForm, form_of
from tabstar_lit.families.hep.fakes.toy.config import FakesToy
from tabstar_lit.families.hep.fakes.tracker import FakesTracker
from tabstar_lit.families.hep.fakes.tracking.figures_samples import plot_edges

VARIABLES = ("pt", "eta", "njets")
ALWAYS = {"weights", "log_ratio", *(f"reweighting/{name}" for name in VARIABLES)}
SUBTRACTION = {f"subtraction/{name}" for name in VARIABLES}


@pytest.fixture(scope="module")
def form() -> ClosedForm:
    return form_of(FakesToy("pt", n_events=1000))


def collected(rows: int = 400, heads: int = 3, *, one_sample: bool = False) -> dict[str, Tensor]:
    """Return what validation of ``rows`` events would have returned."""
    generator = torch.Generator().manual_seed(0)
    pt = 20 + 100 * torch.rand(rows, generator=generator)
    eta = torch.randn(rows, generator=generator)
    eta[::50] = math.nan
    jets = (torch.arange(rows) % 4).float()
    targets = torch.ones(rows, dtype=torch.long) if one_sample else torch.arange(rows) % 2
    log_ratios = 0.3 * torch.randn(rows, heads, generator=generator) - 0.5
    weights = torch.rand(rows, generator=generator) - 0.05
    variables = torch.stack([pt, eta, jets], dim=1)
    return {"log_ratios": log_ratios, "targets": targets, "weights": weights, "variables": variables}


def tracker(folder: Path, role: Any = "ratio", **options: Any) -> FakesTracker:
    return FakesTracker(folder, role=role, **{"variables": VARIABLES, "check_every": 1, "plot_every": 1} | options)


def drawn(own: FakesTracker, rows: Columns) -> dict[str, Figure]:
    """Return figures by name, each of them laid out as it is for a file."""
    figures = dict(own.figures({own.role: rows}))
    for figure in figures.values():
        figure.draw_without_rendering()
        assert unlabelled(figure) == []
    return figures


@pytest.mark.parametrize("heads", [1, 3])
@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("role", ["numerator", "denominator", "ratio"])
def test_metrics_of_a_role(tmp_path: Path, form: ClosedForm, role: str, known: bool, heads: int) -> None:
    own = tracker(tmp_path, role, form=form if known else None)
    found = own.metrics({role: collected(heads=heads)})
    missing = {"coverage1", "coverage2"} if known and heads == 1 else set()
    assert set(found) == set(own.metric_names()) - missing
    assert all(map(math.isfinite, found.values()))


def test_heads_that_are_lost_are_noted_after_the_metrics_of_the_last_epoch(tmp_path: Path) -> None:
    own, rows = tracker(tmp_path), collected(rows=20_000)
    assert own.notes() == ()
    rows["log_ratios"] = torch.zeros(20_000, 3) - torch.tensor([0.0, 0.0, 7.0])
    own.metrics({"ratio": rows})
    assert "head 2 (-100%)" in own.notes()[0]
    rows["log_ratios"] = torch.zeros(20_000, 3)
    own.metrics({"ratio": rows})
    assert own.notes() == ()
    rows["log_ratios"] -= 7
    tolerant = tracker(tmp_path, plotting=FakesPlotting(yield_tolerance=None))
    tolerant.metrics({"ratio": rows})
    assert tolerant.notes() == ()


@pytest.mark.parametrize(("role", "heads"), [("numerator", 3), ("ratio", 3), ("ratio", 1)])
def test_figures_of_a_role(tmp_path: Path, form: ClosedForm, role: str, heads: int) -> None:
    own = tracker(tmp_path, role, form=form if heads > 1 else None)
    own_figures = {"factor/pt", "factor/abs_eta"} if role == "ratio" else SUBTRACTION
    assert set(drawn(own, collected(heads=heads))) == ALWAYS | own_figures


def test_axes_have_the_units_of_the_columns(tmp_path: Path, form: ClosedForm) -> None:
    figures = drawn(tracker(tmp_path, form=form, units={"pt": "GeV", "eta": "rad"}), collected())
    labels = {name: figures[name].axes[1].get_xlabel() for name in ("reweighting/pt", "factor/abs_eta", "factor/pt")}
    assert labels == {"reweighting/pt": "pt [GeV]", "factor/abs_eta": "abs_eta [rad]", "factor/pt": "pt [GeV]"}
    assert figures["reweighting/njets"].axes[1].get_xlabel() == "njets"


def test_nothing_is_drawn_or_scored_of_nothing(tmp_path: Path) -> None:
    own = tracker(tmp_path)
    assert own.metrics({}) == {}
    assert list(own.figures({})) == []
    alone = collected(one_sample=True)
    assert math.isnan(own.metrics({"ratio": alone})["chi2"])
    assert drawn(own, alone) == {}
    broken = collected()
    broken["log_ratios"][5] = math.inf
    assert all(map(math.isnan, own.metrics({"ratio": broken}).values()))
    assert drawn(own, broken) == {}


def test_chosen_figures_variables_and_bins(tmp_path: Path, form: ClosedForm) -> None:
    plotting = FakesPlotting(
        figures=("reweighting", "factor"),
        variables={"abs_eta": VariablePlot(bins=5, low=0, high=2), "pt": VariablePlot(log=True)},
        standard_binning={"pt": (20, 50, 120)},
        max_events=100,
    )
    own = tracker(tmp_path, plotting=plotting, form=form)
    figures = drawn(own, collected())
    assert set(figures) == {"reweighting/abs_eta", "reweighting/pt", "factor/pt"}
    assert figures["reweighting/pt"].axes[0].get_xscale() == "log" == figures["factor/pt"].axes[0].get_xscale()
    assert {"chi2_abs_eta", "chi2_pt"} < set(own.metric_names())
    assert "chi2_eta" not in own.metric_names()


def test_losses_and_chi2_by_epoch(tmp_path: Path) -> None:
    own = tracker(tmp_path)
    own.history = [
        {"epoch": e, "train_loss": 1.0, "val_loss": 1.1, "val_chi2": 5.0 / (e + 1), "val_ess": 0.5} for e in (0, 1)
    ]
    figures = dict(own.summary_figures())
    assert set(figures) == {"losses", "chi2", "metrics"}
    (curve,) = figures["chi2"].axes[0].get_lines()
    assert curve.get_ydata().tolist() == [5.0, 2.5]
    assert all(figure.axes[0].get_ylabel() for figure in figures.values())
    assert figures["chi2"].axes[0].get_ylabel() == "χ² / bin"
    assert figures["chi2"].axes[0].get_yscale() == "log"
    own.plotting = FakesPlotting(figures=("losses",))
    assert set(dict(own.summary_figures())) == {"losses"}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"plotting": FakesPlotting(variables={"ptt": VariablePlot()})}, "variables.ptt: .* Did you mean 'pt'"),
        ({"plotting": FakesPlotting(standard_binning={"abs_phi": (0, 1)})}, "standard_binning.abs_phi"),
        ({"pt_variable": "p_t"}, "pt_variable: .* 'p_t'.* Did you mean 'pt'"),
    ],
)
def test_names_that_there_are_not(tmp_path: Path, options: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        tracker(tmp_path, **options)


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (VariablePlot(low=3, high=2), "not above low"),
        (VariablePlot(low=-1, log=True), "no logarithm"),
        (FakesPlotting(standard_binning={"pt": (20, 20)}), "do not rise"),
    ],
)
def test_bins_that_are_none(config: Any, words: str) -> None:
    (problem,) = config.problems()
    assert words in problem.message


def test_edges_of_axes() -> None:
    whole = np.repeat([0.0, 1, 2, 5], 10)
    assert plot_edges(whole, VariablePlot()).tolist() == [-0.5, 0.5, 1.5, 2.5, 3.5, 4.5, 5.5]
    falling = np.linspace(0, 1000, 5001)
    edges = plot_edges(falling, VariablePlot(log=True, bins=3, high=1000))
    assert np.allclose(np.diff(np.log(edges)), np.log(1000 / 0.5) / 3, rtol=0.01)
    assert plot_edges(falling, VariablePlot(low=10, high=20, bins=2)).tolist() == [10, 15, 20]
    assert len(plot_edges(np.full(5, -2.0), VariablePlot(log=True))) > 1  # nothing to take the logarithm of
