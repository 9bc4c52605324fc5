"""``tabstar_lit fakes closure``: the tight yield that loose events predict, against the one that was seen.

Predicted is ``M_T + sum_L(data) w F - sum_L(simulation) w F``; of events that were not trained on, so that agreement is
no matter of course.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from tabstar_lit.arrays import Bool, Float64, Int64
from tabstar_lit.config.tree import suggestion
from tabstar_lit.data.progress import Progress, no_progress
from tabstar_lit.errors import ConfigError, DataError
from tabstar_lit.families.hep.events.file import EventFile
from tabstar_lit.families.hep.events.location import open_events
from tabstar_lit.families.hep.fakes.bins.estimate import BinnedFactor, binned_factor
from tabstar_lit.families.hep.fakes.bins.statistics import (
    chi2_of,
    comparable_edges,
    grouped_variance,
    grouped_variances,
    quantile_edges,
)
from tabstar_lit.families.hep.fakes.ensemble import Ensemble, uncertainty
from tabstar_lit.families.hep.fakes.factor.factors import (
    FakeYield,
    RegionEvents,
    event_factors,
    loose_events,
    region_events,
    require_ratio,
)
from tabstar_lit.families.hep.fakes.factor.model import RatioModel
from tabstar_lit.families.hep.fakes.selection import numbers_of
from tabstar_lit.families.hep.fakes.variables import column_of, has_variable, standard_variables
from tabstar_lit.plots.histograms import binned

BINS = 20
BINNED_BINS = 10
"""Bins of the binned estimate in each variable."""


@dataclass(frozen=True)
class VariableClosure:
    """Seen and predicted tight events in bins of a variable.

    In statistical errors, the events of a group, as both electrons of a pair, vary as one.

    Attributes
    ----------
    variable : str
        Its name.
    asked : int
        Bins before any were merged, each with an equal share of the tight data.
    edges : ndarray
        ``[bins + 1]`` of those that are left: each holds loose data enough to tell the error of what they predict.
    loose : ndarray of int
        ``[bins]`` events of loose data.
    observed, observed_error : ndarray
        ``[bins]`` tight data and their error.
    prompt : ndarray
        ``[bins]`` tight simulation; zeros if none is subtracted.
    fakes : ndarray
        ``[bins]`` what loose events predict.
    statistical : ndarray
        ``[bins]`` statistical error of the prediction.
    model : ndarray
        ``[bins]`` standard deviation of the prediction over the heads.
    variance : ndarray
        ``[bins]`` statistical, of seen less predicted.
    binned : ndarray or None
        ``[bins]`` fakes by the binned estimate.
    """

    variable: str
    asked: int
    edges: Float64
    loose: Int64
    observed: Float64
    observed_error: Float64
    prompt: Float64
    fakes: Float64
    statistical: Float64
    model: Float64
    variance: Float64
    binned: Float64 | None

    @property
    def merged(self) -> str:
        """What was merged, in words; empty if nothing was."""
        own = len(self.observed)
        return f"{self.asked} bins merged to {own}" if own < self.asked else ""

    @property
    def predicted(self) -> Float64:
        """Simulation and fakes, ``[bins]``."""
        return self.prompt + self.fakes

    def chi2(self, *, model: bool = False) -> float:
        """Return chi2 per bin with the statistical errors of all terms, and with ``model`` those of the factor too."""
        return chi2_of(self.observed - self.predicted, self.variance + (self.model**2 if model else 0.0))

    def binned_chi2(self) -> float:
        """Return that of the binned estimate, with the same errors: those of its own factor are left out."""
        if self.binned is None:
            return math.nan
        return chi2_of(self.observed - self.prompt - self.binned, self.variance)


@dataclass(frozen=True)
class Closure:
    """A closure test.

    Attributes
    ----------
    regions : RegionEvents
        The ``n`` events.
    columns : dict of str to ndarray
        ``[n]`` all numbers the file has of them.
    terms : ndarray
        ``[n]`` what each adds to seen less predicted; those of loose events are ``-w F``, with the sign of
        :attr:`RegionEvents.signed`.
    log_factors, log_factor : ndarray
        ``[loose, C]`` of the heads, for the loose events, and ``[loose]`` of all together.
    counted : BinnedFactor or None
        The binned estimate, measured on the training events.
    prediction : FakeYield
        Of all loose events.
    variables : tuple of VariableClosure
        Seen and predicted by variable.
    split : str or None
        Side of the training's split that the events are on; None for all.
    """

    regions: RegionEvents
    columns: Mapping[str, Float64]
    terms: Float64
    log_factors: Float64
    log_factor: Float64
    counted: BinnedFactor | None
    prediction: FakeYield
    variables: tuple[VariableClosure, ...]
    split: str | None

    @property
    def of_loose(self) -> dict[str, Float64]:
        """:attr:`columns` of the loose events."""
        return {name: values[~self.regions.tight] for name, values in self.columns.items()}

    @property
    def unknown(self) -> int:
        """Loose events in cells without a binned factor; they predict nothing in :attr:`VariableClosure.binned`."""
        return 0 if self.counted is None else int(np.isnan(self.counted.at(self.of_loose).factor).sum())

    @property
    def observed(self) -> tuple[float, float]:
        """Tight data and their error."""
        return self._total(self.regions.tight & ~self.regions.simulated)

    @property
    def prompt(self) -> tuple[float, float]:
        """Tight simulation and its error."""
        value, error = self._total(self.regions.tight & self.regions.simulated)
        return 0.0 - value, error  # never minus zero

    @property
    def predicted(self) -> tuple[float, float]:
        """Tight simulation and fakes, and the statistical error."""
        value, error = self._total(~self.regions.tight | self.regions.simulated)
        return 0.0 - value, error

    def _total(self, which: Bool) -> tuple[float, float]:
        terms = self.terms[which]
        return float(terms.sum()), math.sqrt(grouped_variance(terms, self.regions.groups[which]))


def measure_closure(
    model: RatioModel,
    events: Path | None = None,
    *,
    split: str | None = "test",
    variables: Sequence[str] = (),
    bins: int = BINS,
    progress: Progress = no_progress,
) -> Closure:
    """Compare tight data with what loose events predict.

    Parameters
    ----------
    model : RatioModel
        The ratio, see :func:`~tabstar_lit.families.hep.fakes.factor.restore.restore`.
    events : Path, optional
        An event file; without one that of the training, where the binned estimate is measured too.
    split : str or None
        Side of the training's split; None takes all events.
    variables : sequence of str
        To compare in; by default the numerical features and spectators of the training.
    bins : int
        Of each, fewer where they would hold less than 10 events of tight or of loose data.
    progress : callable
        For a progress bar.

    Raises
    ------
    CheckpointError
        The model is no fake factor.
    DataError
        The file lacks a column, or has no tight data or no loose events in the split.
    ConfigError
        There is no such variable.
    """
    require_ratio(model)
    file = open_events(model.dataset) if events is None else EventFile.open(events)
    names = _variables(model, file, variables)
    regions = region_events(model, file, split)
    loose = loose_events(model, regions)
    if not np.any(regions.tight & ~regions.simulated):
        raise DataError(f"{file.path}: there are no tight data to compare with. Choose another split or other events.")
    columns = _columns(file, regions)
    counted = _counted(model, region_events(model, file, "train")) if events is None else None
    yields, logs, means = [], [], []
    with progress(len(loose.rows)) as advance:
        for part in event_factors(model, loose):
            yields.append(FakeYield.of(loose, part, model.ensemble))
            logs.append(np.log(part.heads))
            means.append(part.mean)
            advance(len(part.rows))
    prediction, log_factors = FakeYield.joined(yields), np.concatenate(logs)
    terms = regions.signed.copy()
    terms[~regions.tight] = -prediction.terms
    compared = tuple(
        _compare(
            name,
            regions,
            columns,
            terms=terms,
            log_factors=log_factors,
            counted=counted,
            bins=bins,
            ensemble=model.ensemble,
        )
        for name in names
    )
    return Closure(regions, columns, terms, log_factors, np.concatenate(means), counted, prediction, compared, split)


def _compare(
    variable: str,
    regions: RegionEvents,
    columns: Mapping[str, Float64],
    *,
    terms: Float64,
    log_factors: Float64,
    counted: BinnedFactor | None,
    bins: int,
    ensemble: Ensemble,
) -> VariableClosure:
    """Count seen and predicted events in bins of a variable; those without a value in none."""
    values = column_of(columns, variable)
    known, tight, data = np.isfinite(values), regions.tight, ~regions.simulated
    seen, simulated, loose = known & tight & data, known & tight & ~data, known & ~tight
    edges = comparable_edges(values[seen], values[loose & data], bins)

    def variances(which: Bool) -> Float64:
        return grouped_variances(values[which], terms[which], regions.groups[which], edges)

    own, signed = log_factors[known[~tight]], regions.signed[loose]
    heads = np.stack([binned(values[loose], signed * factor, edges).heights for factor in np.exp(own).T], axis=-1)
    by_cells = None
    if counted is not None:
        factors = counted.at({name: column[loose] for name, column in columns.items()}).factor
        by_cells = binned(values[loose], signed * np.nan_to_num(factors), edges).heights
    return VariableClosure(
        variable,
        len(quantile_edges(values[seen], bins)) - 1,
        edges,
        np.histogram(np.clip(values[loose & data], edges[0], edges[-1]), edges)[0],
        observed=binned(values[seen], terms[seen], edges).heights,
        observed_error=np.sqrt(variances(seen)),
        prompt=binned(values[simulated], -terms[simulated], edges).heights,
        fakes=binned(values[loose], -terms[loose], edges).heights,
        statistical=np.sqrt(variances(known & ~seen)),
        model=uncertainty(torch.from_numpy(heads), ensemble).numpy(),
        variance=variances(known),
        binned=by_cells,
    )


def _variables(model: RatioModel, file: EventFile, asked: Sequence[str]) -> tuple[str, ...]:
    known = numbers_of(file, file.columns)
    for name in asked:
        if not has_variable(name, known):
            raise ConfigError(f"--variable {name}: {file.path} has no such numerical column.{suggestion(name, known)}")
    return tuple(asked) or tuple(name for name in model.variables if name in known)


def _columns(file: EventFile, events: RegionEvents) -> dict[str, Float64]:
    columns = file.read(numbers_of(file, file.columns))
    return {name: values[events.rows].astype(np.float64) for name, values in columns.items()}


def _counted(model: RatioModel, training: RegionEvents) -> BinnedFactor:
    """Measure the binned estimate on training events, in pt and abs(eta) or MET."""
    columns = _columns(training.file, training)
    names = standard_variables(tuple(columns), model.dataset.pt_variable)[:2]
    edges = {name: quantile_edges(_known(column_of(columns, name)[~training.tight]), BINNED_BINS) for name in names}
    return binned_factor(columns, training.signed, training.tight, edges)


def _known(values: Float64) -> Float64:
    return values[np.isfinite(values)]
