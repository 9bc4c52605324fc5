"""The figures of a stage of fakes by name, as ``plotting_config`` chooses them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from tabstar_lit.families.hep.fakes.bins.estimate import binned_factor
from tabstar_lit.families.hep.fakes.bins.profile import STANDARD_BINS, Learned, factor_against
from tabstar_lit.families.hep.fakes.bins.statistics import quantile_edges
from tabstar_lit.families.hep.fakes.plotting_config import FakesPlotting, VariablePlot
from tabstar_lit.families.hep.fakes.toy.closed_form import ClosedForm
from tabstar_lit.families.hep.fakes.tracking import figures_samples as draw
from tabstar_lit.families.hep.fakes.tracking.reweighted import Reweighted
from tabstar_lit.families.hep.fakes.tracking.scores import reweighting_chi2, truth_of
from tabstar_lit.families.hep.fakes.variables import standard_variables

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Drawn = Iterator[tuple[str, "Figure"]]


def draw_all(
    events: Reweighted, plotting: FakesPlotting, variables: Sequence[str], form: ClosedForm | None, pt_variable: str
) -> Drawn:
    """Yield ``(name, figure)`` of every figure that is asked for and that the events allow.

    Parameters
    ----------
    events : Reweighted
        The validation events; with those of one sample only nothing is drawn.
    plotting : FakesPlotting
        What is asked for.
    variables : sequence of str
        Variables whose distributions are drawn.
    form : ClosedForm or None
        The truth, where it is known.
    pt_variable : str
        The transverse momentum.
    """
    if not events.is_reference.any() or events.is_reference.all() or not np.isfinite(events.log_ratios).all():
        return
    events = events.at_most(plotting.max_events)
    plots = {name: (plotting.variables or {}).get(name, VariablePlot()) for name in variables}
    plots = {name: plot for name, plot in plots.items() if np.isfinite(events.variable(name)).any()}
    for name, plot in plots.items():
        if plotting.wants("reweighting"):
            chi2 = reweighting_chi2(events, name, plotting.chi2_bins)
            yield f"reweighting/{name}", draw.reweighting_figure(events, name, plot, chi2)
        if plotting.wants("subtraction") and events.role != "ratio":
            yield f"subtraction/{name}", draw.subtraction_figure(events, name, plot)
    if plotting.wants("weights"):
        yield "weights", draw.weights_figure(events, plotting.bins)
    if plotting.wants("log_ratio"):
        yield "log_ratio", draw.log_ratio_figure(events, plotting.bins)
    if plotting.wants("factor") and events.role == "ratio":
        yield from _factors(events, plotting, form, pt_variable)


def _factors(events: Reweighted, plotting: FakesPlotting, form: ClosedForm | None, pt_variable: str) -> Drawn:
    """Yield the fake factor against each variable of the standard binning."""
    loose = events.rows(~events.is_reference)
    truth = None if form is None else truth_of(loose, form)
    learned = Learned(loose.weights, loose.log_ratios, loose.mean, truth, loose.ensemble)
    for name in plotting.standard_binning or standard_variables(tuple(events.variables), pt_variable):
        values = loose.variable(name)
        known = values[np.isfinite(values)]
        if not len(known):
            continue
        edges = {name: plotting.standard_binning.get(name, quantile_edges(known, STANDARD_BINS))}
        counted = binned_factor({name: events.variable(name)}, events.weights, events.is_reference, edges)
        log = (plotting.variables or {}).get(name, VariablePlot()).log
        yield f"factor/{name}", factor_against(name, values, learned, counted, log=log)
