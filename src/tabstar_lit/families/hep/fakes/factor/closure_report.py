"""What a closure test leaves: a summary, a table of all bins, and figures."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from matplotlib.figure import Figure
from pyarrow import csv

from tabstar_lit.arrays import Float64
from tabstar_lit.data.outputs import whole_file
from tabstar_lit.families.hep.fakes.bins.estimate import binned_factor
from tabstar_lit.families.hep.fakes.bins.profile import BEFORE, LEARNED, STANDARD_BINS, Learned, factor_against
from tabstar_lit.families.hep.fakes.bins.statistics import FEWEST, quantile_edges
from tabstar_lit.families.hep.fakes.factor.closure import Closure, VariableClosure
from tabstar_lit.families.hep.fakes.toy.closed_form import closed_form, is_toy
from tabstar_lit.families.hep.fakes.variables import column_of, standard_variables
from tabstar_lit.families.hep.plotting import name_units
from tabstar_lit.plots.histograms import Bins, draw_band, draw_points, draw_ratio, scale_to, with_ratio_panel
from tabstar_lit.plots.style import save_figure


def summary(closure: Closure, *, model: bool) -> str:
    """Return totals, and chi2 per bin by variable, as text.

    Parameters
    ----------
    closure : Closure
        The test.
    model : bool
        Count the spread of the heads among the errors.
    """
    (seen, seen_error), (prompt, prompt_error) = closure.observed, closure.prompt
    predicted, error = closure.predicted
    spread = f" ± {closure.prediction.model:.4g} (model)" if closure.prediction.model else ""
    lines = [
        f"tight data          {seen:.6g} ± {seen_error:.4g}",
        f"predicted           {predicted:.6g} ± {error:.4g} (statistical){spread}",
        f"  simulation        {prompt:.6g} ± {prompt_error:.4g}",
        f"  fakes             {closure.prediction.total:.6g} ± {closure.prediction.statistical:.4g}",
        "",
        f"{'variable':<20}{'bins':>6}{'chi2/bin':>12}{'binned F':>12}",
    ]
    for own in closure.variables:
        lines.append(
            f"{own.variable:<20}{len(own.observed):>6}{own.chi2(model=model):>12.3f}{own.binned_chi2():>12.3f}"
        )
    lines += _merged(closure)
    if closure.counted is not None:
        lines += ["", f"binned F: of the training events, in {' and '.join(closure.counted.variables)}"]
        if closure.unknown:
            lines[-1] += (
                f"; {closure.counted.undefined} cells have none, and {closure.unknown} loose events in them predict "
                "nothing in it"
            )
    return "\n".join(lines)


def _merged(closure: Closure) -> list[str]:
    """Return a line about the variables whose bins were merged."""
    found = [f"{own.variable} ({own.merged})" for own in closure.variables if own.merged]
    return ["", f"bins are merged until each holds {FEWEST} events of loose data: {', '.join(found)}"] if found else []


def write_table(closure: Closure, path: Path) -> None:
    """Write all bins as CSV.

    Raises
    ------
    DataError
        The file cannot be written.
    """
    parts = [_bins(own) for own in closure.variables]
    with whole_file(path) as part:
        csv.write_csv(pa.concat_tables(parts, promote_options="default"), part)


def figures(closure: Closure, pt_variable: str) -> Iterator[tuple[str, Figure]]:
    """Yield ``(name, figure)``: the closure in each variable, and the factor against pt, abs(eta) and MET."""
    units = closure.regions.file.units
    for own in closure.variables:
        yield f"closure_{own.variable}", name_units(closure_figure(own), units)
    for name in standard_variables(tuple(closure.columns), pt_variable):
        values = column_of(closure.of_loose, name)
        if np.isfinite(values[~closure.regions.simulated[~closure.regions.tight]]).any():
            yield f"factor_{name}", name_units(_factor(closure, name, values), units)


def draw(closure: Closure, folder: Path, pt_variable: str) -> int:
    """Write the figures as PNG, and return how many there are."""
    note = _note(closure)
    drawn = figures(closure, pt_variable)
    return len([save_figure(figure, folder / f"{name}.png", note=note) for name, figure in drawn])


def _note(closure: Closure) -> str:
    """Say which events are compared, and how many."""
    regions = closure.regions
    which = "all events" if closure.split is None else f"{closure.split} split"
    tight, loose = int((regions.tight & ~regions.simulated).sum()), int((~regions.tight).sum())
    return f"{regions.file.path.name}, {which}: {tight} tight data, {loose} loose events"


def closure_figure(own: VariableClosure) -> Figure:
    """Draw tight data over simulation and predicted fakes, with the statistical band of the prediction."""
    figure, axes, below = with_ratio_panel(own.variable)
    widths = np.diff(own.edges)
    seen, predicted = (
        Bins(heights, errors, own.edges)
        for heights, errors in ((own.observed, own.observed_error), (own.predicted, own.statistical))
    )
    axes.stairs(own.prompt / widths, own.edges, fill=True, color=BEFORE, alpha=0.5, label="simulation")
    draw_band(axes, predicted.over(widths), color=LEARNED, label="simulation + fakes")
    draw_points(axes, seen.over(widths), label="tight data")
    if own.binned is not None:
        axes.stairs(
            (own.prompt + own.binned) / widths,
            own.edges,
            color="0.3",
            linestyle=":",
            baseline=None,
            label="with binned F",
        )
    draw_ratio(below, seen, predicted, color=LEARNED)
    if own.model.any():
        total = Bins(own.predicted, np.hypot(own.statistical, own.model), own.edges)
        draw_band(below, total.over(own.predicted), color=LEARNED)
    axes.set(ylabel="events / bin width", title=_title(own))
    scale_to(axes, seen.over(widths))
    axes.legend(frameon=False)
    below.set(ylabel="data /\npredicted", ylim=(0.7, 1.3))
    return figure


def _title(own: VariableClosure) -> str:
    title = f"Closure: χ²/bin {own.chi2():.2f}, statistical errors"
    return f"{title}\n{own.merged}, each with {FEWEST} loose events or more" if own.merged else title


def _factor(closure: Closure, name: str, values: Float64) -> Figure:
    """Draw the learned factor over the closed form of a toy, and the estimate counted in the same events."""
    edges = {name: quantile_edges(values[np.isfinite(values)], STANDARD_BINS)}
    columns = {name: column_of(closure.columns, name)}
    counted = binned_factor(columns, closure.regions.signed, closure.regions.tight, edges)
    data = ~closure.regions.simulated[~closure.regions.tight]
    weights, truth = closure.regions.signed[~closure.regions.tight][data], _truth(closure)
    shown = None if truth is None else truth[data]
    ensemble = closure.prediction.ensemble
    learned = Learned(weights, closure.log_factors[data], closure.log_factor[data], shown, ensemble)
    return factor_against(name, values[data], learned, counted)


def _truth(closure: Closure) -> Float64 | None:
    """Return the true log-factor of the loose events of a toy."""
    if not is_toy(closure.regions.file):
        return None
    form = closed_form(closure.regions.file)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.log(form.factor(np.stack([closure.of_loose[name] for name in form.columns], axis=1)))


def _bins(own: VariableClosure) -> pa.Table:
    count = len(own.observed)
    columns: dict[str, Any] = {
        "variable": [own.variable] * count,
        "low": own.edges[:-1],
        "high": own.edges[1:],
        "loose_events": own.loose,
        "observed": own.observed,
        "observed_error": own.observed_error,
        "predicted": own.predicted,
        "predicted_statistical": own.statistical,
        "predicted_model": own.model,
        "simulation": own.prompt,
        "fakes": own.fakes,
    }
    return pa.table(columns if own.binned is None else columns | {"fakes_binned": own.binned})
