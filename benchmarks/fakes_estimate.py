"""A fake factor that is learned on a toy or on other events, and what it is worth."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch

from benchmarks.counted import counted_pulls
from benchmarks.experiment import EXPERIMENT, Trained, train
from tabstar_lit.arrays import Float64
from tabstar_lit.config.paths import roots
from tabstar_lit.families.hep.events.file import EventFile
from tabstar_lit.families.hep.events.location import open_events
from tabstar_lit.families.hep.fakes.bins.estimate import binned_factor
from tabstar_lit.families.hep.fakes.bins.statistics import quantile_edges
from tabstar_lit.families.hep.fakes.factor.closure import Closure, measure_closure
from tabstar_lit.families.hep.fakes.factor.factors import RegionEvents, event_factors, loose_events, region_events
from tabstar_lit.families.hep.fakes.factor.restore import Restored, restore
from tabstar_lit.families.hep.fakes.family import family
from tabstar_lit.families.hep.fakes.selection import numbers_of
from tabstar_lit.families.hep.fakes.toy.closed_form import closed_form
from tabstar_lit.families.hep.fakes.toy.config import FakesToy
from tabstar_lit.families.hep.fakes.toy.events import ensure_toy_fakes
from tabstar_lit.families.hep.fakes.tracking.reweighted import Reweighted
from tabstar_lit.families.hep.fakes.tracking.scores import central, truth_of, truth_scores

PT = "pt"
BINS = (10, 20, 40)
"""Numbers of bins that the classical estimate may choose from; the best by the truth is compared with."""

NO_METRICS = ("experiment_config.check_metrics_n_epoch=null", "experiment_config.plot_metrics_n_epoch=null")
"""Nothing is scored while training: scores here are of the finished model."""
DRAWN = (
    "experiment_config.plot_metrics_n_epoch=${model_config.training_config.max_epochs}",
    "plotting_config.figures=[factor]",
)
"""The learned fake factor at the end."""


@dataclass(frozen=True)
class Estimate:
    """A finished training, and what its fake factor is worth.

    Attributes
    ----------
    trained : Trained
        The training.
    """

    trained: Trained

    @cached_property
    def model(self) -> Restored:
        """The ratio of the training."""
        record = self.trained.files.record
        return restore(Path(record["checkpoints_dir"]) / record["stages"]["ratio"]["best_checkpoint"])

    @cached_property
    def closure(self) -> Closure:
        """Seen and predicted tight events, of those that were not trained on."""
        return measure_closure(self.model)

    @cached_property
    def chi2(self) -> Mapping[str, float]:
        """Per bin, by variable."""
        return {one.variable: one.chi2() for one in self.closure.variables}

    @cached_property
    def scores(self) -> Mapping[str, float]:
        """Distance to the truth, and of an ensemble how often it is covered."""
        return truth_scores(self.applied, closed_form(self._file), PT)

    @cached_property
    def applied(self) -> Reweighted:
        """The loose data, on which the factor is compared with the truth."""
        loose = loose_events(self.model, region_events(self.model, self._file, None))
        loose = loose.chosen(~loose.simulated)
        parts = list(event_factors(self.model, loose))
        columns = _columns(loose)
        rows = {
            "log_ratios": torch.from_numpy(np.concatenate([np.log(part.heads) for part in parts])),
            "std": torch.from_numpy(np.concatenate([part.std for part in parts])),
            "targets": torch.zeros(len(loose.rows)),
            "variables": torch.from_numpy(np.stack(list(columns.values()), axis=1)),
        }
        return Reweighted.of(rows, names=list(columns), role="ratio", ensemble=self.model.ensemble)

    @cached_property
    def central(self) -> tuple[Reweighted, Float64]:
        """The loose data in the central 98 % of their pt, and the logarithm of the true factor there."""
        inside = central(self.applied.variables[PT])
        return self.applied.rows(inside), truth_of(self.applied, closed_form(self._file))[inside]

    @cached_property
    def binned_errors(self) -> Mapping[int, float]:
        """Distance of the binned estimate to the truth, by number of bins."""
        training = region_events(self.model, self._file, "train")
        truth = truth_of(self.applied, closed_form(self._file))
        return {bins: binned_error(_columns(training), training, self.applied, truth, bins) for bins in BINS}

    def counted_pulls(self, applied: Reweighted) -> Float64:
        """Return how far the factor counted in cells is from the true one, in its errors, at ``N`` events ``[N]``."""
        training = region_events(self.model, self._file, "train")
        form = closed_form(self._file)
        return counted_pulls(_columns(training), training.signed, training.tight, form, applied.variables)

    def figure(self, name: str) -> Path:
        """Return a figure of the last epoch of the ratio."""
        return max((self.trained.figures / "ratio" / name).glob("*.png"))

    @cached_property
    def _file(self) -> EventFile:
        return open_events(self.model.dataset)


def estimate(toy: FakesToy, *overrides: str, figures: bool = False) -> Estimate:
    """Train the three stages on a toy, with the shipped settings but for ``overrides``."""
    ensure_toy_fakes(toy_path(toy), toy)
    quiet = DRAWN if figures else NO_METRICS
    return Estimate(train(family, (f"dataset_config.files={toy_path(toy).name}", *overrides, EXPERIMENT, *quiet)))


def binned_error(
    columns: Mapping[str, Float64], training: RegionEvents, applied: Reweighted, truth: Float64, bins: int
) -> float:
    """Return the mean |log F - log F_true| of the estimate in bins of pt, where it has one.

    Parameters
    ----------
    columns : mapping of str to ndarray
        ``[n]`` each, of the events it is counted in.
    training : RegionEvents
        These ``n`` events.
    applied : Reweighted
        The ``N`` events on which it is compared with the truth.
    truth : ndarray
        ``[N]`` logarithm of the true factor.
    bins : int
        Their number; each holds equally many loose events.
    """
    edges = {PT: quantile_edges(columns[PT][~training.tight], bins)}
    counted = binned_factor(columns, training.signed, training.tight, edges)
    with np.errstate(invalid="ignore"):
        distance = np.abs(np.log(counted.at(applied.variables).factor) - truth)
    return float(np.nanmean(distance[central(applied.variables[PT])]))


def _columns(events: RegionEvents) -> dict[str, Float64]:
    read = events.file.read(numbers_of(events.file, events.file.columns))
    return {name: values[events.rows].astype(np.float64) for name, values in read.items()}


def toy_path(toy: FakesToy) -> Path:
    """Return where a toy lies, below the data root."""
    weights = "" if toy.mc_weights == FakesToy().mc_weights else f"_{toy.mc_weights}"
    weights += "_poisson" if toy.poisson else ""
    return roots().data / f"fakes_{toy.variables}{weights}_{toy.seed}.h5"


def how_it_is_made(toy: FakesToy) -> str:
    """Return the command that generates a toy."""
    weights = "" if toy.mc_weights == FakesToy().mc_weights else f"--mc-weights {toy.mc_weights} "
    weights += "--poisson " if toy.poisson else ""
    command = f"tabstar_lit convert fakes-toy --variables {toy.variables} {weights}--seed {toy.seed}"
    return f"{command} -o data/{toy_path(toy).name}"
