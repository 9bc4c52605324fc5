"""Quality of the fakes family: learned fake factors against closed forms, counting in bins, and events left out."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch

from benchmarks.experiment import EXPERIMENT, Trained, train
from benchmarks.page import Section, embedded, how_it_was_made, results_table
from benchmarks.prompt_rich import Agreement, agreement, write_prompt_rich
from benchmarks.signal_results import conversion_command, converted
from tabstar_lit.arrays import Float64
from tabstar_lit.config.paths import roots
from tabstar_lit.engine.reports.markdown import table
from tabstar_lit.families.hep.events.file import EventFile
from tabstar_lit.families.hep.events.location import open_events
from tabstar_lit.families.hep.fakes.bins.estimate import binned_factor
from tabstar_lit.families.hep.fakes.bins.statistics import chi2_of, quantile_edges
from tabstar_lit.families.hep.fakes.factor.closure import Closure, VariableClosure, measure_closure
from tabstar_lit.families.hep.fakes.factor.factors import RegionEvents, event_factors, loose_events, region_events
from tabstar_lit.families.hep.fakes.factor.restore import Restored, restore
from tabstar_lit.families.hep.fakes.family import family
from tabstar_lit.families.hep.fakes.selection import numbers_of
from tabstar_lit.families.hep.fakes.toy.closed_form import closed_form
from tabstar_lit.families.hep.fakes.toy.config import FakesToy
from tabstar_lit.families.hep.fakes.toy.events import ensure_toy_fakes
from tabstar_lit.families.hep.fakes.tracking.reweighted import Reweighted
from tabstar_lit.families.hep.fakes.tracking.scores import central, truth_of, truth_scores
from tabstar_lit.families.hep.fakes.variables import column_of
from tabstar_lit.losses.density_ratio import RATIO_LOSSES
from tabstar_lit.plots.histograms import binned

N_TOYS = 10
N_EVENTS = 200_000
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

TOY_TEXT = """\
{toys} toys of about {events} events each, with another seed for events and training: fakes and real leptons in pt,
whose fake factor is known in closed form. Their numbers vary as in independent experiments. Each is estimated by
`train_fakes`: numerator, denominator and ratio, with an ensemble of heads that learn from bootstrap samples.
`logerror` is the mean of |log F - log F_true| over loose data in the central 98 % of their pt. *Binned* is the
classical estimate, (data - simulation) of tight over that of loose events, of the same training events in bins of pt
with equally many loose ones; of 10, 20 and 40 bins those count that come closest to the truth, which no experiment
could choose. *Coverage* is the share of these loose data for which the truth lies within one or two standard
deviations of the heads. *Closure* is chi2 per bin of 20 in pt, predicted against seen tight events, on the fifth of
events that were held out, with statistical errors alone.

Settings were chosen on toys of other seeds (from 100 on).
"""

LOSSES_TEXT = """\
The first of the toys above with every other loss, and no other change to the settings.
"""

TOY_2D_TEXT = """\
A toy of {events} events in pt and |eta|, whose fakes correlate the two, otherwise in the tight than in the loose
region. A binned estimate in pt alone cannot see that. The same settings as above.
"""

N_PROMPT_RICH = 5
NEGATIVE = 0.35
PROMPT_RICH_TEXT = """\
{seeds} samples in which two thirds of the tight leptons are prompt, and tight fakes have all but ended at 100 GeV,
where subtraction leaves less than nothing as often as not. Predicted over true fakes are of the fifth of events that
was held out, whose true yield is the expected one; *worst head* is the greatest relative difference of any head's. The
last column is a mean over tight fakes, in the bins of 5 GeV where more than 5 are expected. In a second set
{negative:.0%} of the simulated events have negative weights, and weights scatter log-normally.
"""

COVERAGE_TEXT = """\
{toys} toys of {events} events in pt and |eta|, in which about one in eight simulated events has a negative weight. The
share of the loose data for which the truth lies within one or two standard deviations of the heads; 0.683 and 0.954
would be right on average, and within a toy it scatters, since its errors go together.
"""

ZEE_TEXT = """\
{events} electrons of CMS open data (2011), probes of Z candidates: tight ones that pass a selection, loose ones that
fail it. There is no simulation, so that the stage `ratio` alone is trained. A fifth of the events is held out, both
electrons of a pair together. There the loose electrons, reweighted by F, are compared with the tight ones: chi2 per bin
of 20 with equally many tight electrons each, with the statistical errors of both. Both electrons of a pair have one
mass, and are often tight together: a pair counts as one event in these errors. The network was chosen on splits with
other seeds.
"""


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
        return truth_scores(self._applied, closed_form(self._file), PT)

    @cached_property
    def binned_errors(self) -> Mapping[int, float]:
        """Distance of the binned estimate to the truth, by number of bins."""
        training = region_events(self.model, self._file, "train")
        truth = truth_of(self._applied, closed_form(self._file))
        return {bins: binned_error(_columns(training), training, self._applied, truth, bins) for bins in BINS}

    def figure(self, name: str) -> Path:
        """Return a figure of the last epoch of the ratio."""
        return max((self.trained.figures / "ratio" / name).glob("*.png"))

    @cached_property
    def _file(self) -> EventFile:
        return open_events(self.model.dataset)

    @cached_property
    def _applied(self) -> Reweighted:
        """The loose data, on which the factor is compared with the truth."""
        loose = loose_events(self.model, region_events(self.model, self._file, None))
        loose = loose.chosen(~loose.simulated)
        logs = np.concatenate([np.log(part.heads) for part in event_factors(self.model, loose)])
        columns = _columns(loose)
        rows = {
            "log_ratios": torch.from_numpy(logs),
            "targets": torch.zeros(len(logs)),
            "variables": torch.from_numpy(np.stack(list(columns.values()), axis=1)),
        }
        return Reweighted.of(rows, names=list(columns), role="ratio")


def toys() -> Section:
    """Estimate the fake factor of toys in one variable."""
    samples = [FakesToy(seed=seed, poisson=True) for seed in range(N_TOYS)]
    estimates = [estimate(toy, f"experiment_config.seed={toy.seed}") for toy in samples]
    scores = [one.scores for one in estimates]
    bins = {n: statistics.fmean(one.binned_errors[n] for one in estimates) for n in BINS}
    results = {
        "fakes.toy_bce_logerror": statistics.fmean(one["logerror"] for one in scores),
        "fakes.toy_binned_logerror": min(bins.values()),
        "fakes.coverage_1sigma": statistics.fmean(one["coverage1"] for one in scores),
        "fakes.coverage_2sigma": statistics.fmean(one["coverage2"] for one in scores),
        "fakes.closure_chi2ndf": statistics.fmean(one.chi2[PT] for one in estimates),
    }
    head = ("seed", "logerror", *(f"binned, {n} bins" for n in BINS), "within 1 σ", "within 2 σ", "closure, χ²/ndf")
    return Section(
        "Toys of fakes with a known fake factor",
        [
            TOY_TEXT.format(toys=N_TOYS, events=N_EVENTS),
            *results_table(results),
            *table(head, [_row(seed, one) for seed, one in enumerate(estimates)]),
            *_how(estimates, samples[0]),
        ],
        results,
    )


def losses() -> Section:
    """Estimate the fake factor of a toy with every loss."""
    others = [name for name in RATIO_LOSSES if name != "bce"]
    estimates = [
        estimate(FakesToy(), "experiment_config.seed=0", f"model_config.training_config.loss={name}") for name in others
    ]
    results = {
        f"fakes.toy_{name}_logerror": one.scores["logerror"] for name, one in zip(others, estimates, strict=True)
    }
    return Section(
        "Every loss for density ratios",
        [LOSSES_TEXT, *results_table(results), *_how(estimates, FakesToy())],
        results,
    )


def prompt_rich() -> Section:
    """Estimate the fake factor where tight leptons are mostly prompt, and where many weights are negative."""
    found = {negative: [_prompt_rich(seed, negative) for seed in range(N_PROMPT_RICH)] for negative in (0.0, NEGATIVE)}
    results: dict[str, float] = {}
    for name, negative in (("prompt_rich", 0.0), ("negative_weights", NEGATIVE)):
        agreements = [agreed for _, agreed in found[negative]]
        ratios = [one.total for one in agreements]
        results |= {
            f"fakes.{name}_fakes_ratio": statistics.fmean(ratios),
            f"fakes.{name}_worst_fakes_ratio": max(ratios, key=lambda ratio: abs(ratio - 1)),
            f"fakes.{name}_worst_head": max(one.worst_head for one in agreements),
            f"fakes.{name}_logerror": statistics.fmean(one.log_error for one in agreements),
        }
    head = ("negative weights", "seed", "fakes, predicted over true", "worst head", "abs(log F - log F_true)")
    rows = [
        (f"{negative:.0%}", seed, f"{one.total:.3f}", f"{one.worst_head:.3f}", f"{one.log_error:.3f}")
        for negative, runs in found.items()
        for seed, (_, one) in enumerate(runs)
    ]
    trained = [one for runs in found.values() for one, _ in runs]
    made = "python -c 'from benchmarks.prompt_rich import ...'  # benchmarks/prompt_rich.py writes the events"
    return Section(
        "Fakes where most leptons are prompt",
        [
            PROMPT_RICH_TEXT.format(seeds=N_PROMPT_RICH, negative=NEGATIVE),
            *results_table(results),
            *table(head, rows),
            *how_it_was_made(trained, [made]),
        ],
        results,
    )


def toy_2d() -> Section:
    """Estimate the fake factor of a toy in two variables, with the figures of the training."""
    toy = FakesToy(variables="pt_eta")
    one = estimate(toy, "experiment_config.seed=0", figures=True)
    results = {
        "fakes.toy2d_logerror": one.scores["logerror"],
        "fakes.toy2d_binned_logerror": min(one.binned_errors.values()),
    }
    return Section(
        "A toy of fakes in two variables",
        [
            TOY_2D_TEXT.format(events=N_EVENTS),
            *results_table(results),
            *embedded("fakes_toy2d_factor", "Learned fake factor against pt, with the truth and the binned estimate"),
            *_how([one], toy),
        ],
        results,
        {"fakes_toy2d_factor": one.figure("factor/pt")},
    )


def coverage_2d() -> Section:
    """Ask of toys in two variables, with negative weights, how often the heads' spread covers the truth."""
    toys = [FakesToy(variables="pt_eta", mc_weights="cauchy", seed=seed, poisson=True) for seed in range(N_TOYS)]
    estimates = [estimate(toy, f"experiment_config.seed={toy.seed}") for toy in toys]
    scores = [one.scores for one in estimates]
    names = {
        "coverage1": "toy2d_coverage_1sigma",
        "coverage2": "toy2d_coverage_2sigma",
        "logerror": "toy2d_mean_logerror",
    }
    results = {f"fakes.{name}": statistics.fmean(one[key] for one in scores) for key, name in names.items()}
    rows = [(toy.seed, *(f"{one[key]:.3f}" for key in names)) for toy, one in zip(toys, scores, strict=True)]
    return Section(
        "How often the spread of the heads covers the truth",
        [
            COVERAGE_TEXT.format(toys=N_TOYS, events=N_EVENTS),
            *results_table(results),
            *table(("seed", "within 1 σ", "within 2 σ", "logerror"), rows),
            *_how(estimates, toys[0]),
        ],
        results,
    )


def zee() -> Section:
    """Estimate the ratio of tight to loose probes in collision data."""
    events = converted("zee_probes")
    chosen = ("model_config=fakes/piecewise", "dataset_config=fakes/zee", "stages=[ratio]")
    estimated = Estimate(train(family, (*chosen, EXPERIMENT, *NO_METRICS)))
    found = estimated.closure
    by_name = {"pt": "probe_pt", "eta": "probe_eta", "mee": "m_ee"}
    chi2 = {f"fakes.zee_chi2ndf_{short}": estimated.chi2[name] for short, name in by_name.items()}
    results = {"fakes.zee_chi2ndf": max(chi2.values()), **chi2}
    return Section(
        "Electrons of Z bosons, tight over loose",
        [
            ZEE_TEXT.format(events=events),
            *results_table(results),
            *table(
                ("variable", "χ²/ndf", "were all electrons independent"),
                [(one.variable, f"{one.chi2():.3f}", f"{independent_chi2(found, one):.3f}") for one in found.variables],
            ),
            *how_it_was_made([estimated.trained], [conversion_command("zee_probes")]),
        ],
        results,
    )


def estimate(toy: FakesToy, *overrides: str, figures: bool = False) -> Estimate:
    """Train the three stages on a toy, with the shipped settings but for ``overrides``."""
    ensure_toy_fakes(_made(toy), toy)
    quiet = DRAWN if figures else NO_METRICS
    return Estimate(train(family, (f"dataset_config.files={_made(toy).name}", *overrides, EXPERIMENT, *quiet)))


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


def independent_chi2(closure: Closure, compared: VariableClosure) -> float:
    """Return chi2 per bin as if no two events belonged together."""
    values = column_of(closure.columns, compared.variable)
    known = np.isfinite(values)
    error = binned(values[known], closure.terms[known], compared.edges).errors
    return chi2_of(compared.observed - compared.predicted, error**2)


def _prompt_rich(seed: int, negative: float) -> tuple[Trained, Agreement]:
    """Make the events of a seed, train the three stages, and compare."""
    path = roots().data / f"prompt_rich_{negative:g}_{seed}.h5"
    file = write_prompt_rich(path, seed, negative=negative)
    overrides = (f"dataset_config.files={path.name}", f"experiment_config.seed={seed}", EXPERIMENT, *NO_METRICS)
    one = Estimate(train(family, overrides))
    return one.trained, agreement(one.model, file)


def _row(seed: int, one: Estimate) -> Sequence[object]:
    scores, errors = one.scores, one.binned_errors
    return (
        seed,
        f"{scores['logerror']:.4f}",
        *(f"{errors[n]:.4f}" for n in BINS),
        f"{scores['coverage1']:.3f}",
        f"{scores['coverage2']:.3f}",
        f"{one.chi2[PT]:.3f}",
    )


def _columns(events: RegionEvents) -> dict[str, Float64]:
    read = events.file.read(numbers_of(events.file, events.file.columns))
    return {name: values[events.rows].astype(np.float64) for name, values in read.items()}


def _made(toy: FakesToy) -> Path:
    """Return where a toy lies, below the data root."""
    weights = "" if toy.mc_weights == FakesToy().mc_weights else f"_{toy.mc_weights}"
    weights += "_poisson" if toy.poisson else ""
    return roots().data / f"fakes_{toy.variables}{weights}_{toy.seed}.h5"


def _how(estimates: Sequence[Estimate], toy: FakesToy) -> list[str]:
    weights = "" if toy.mc_weights == FakesToy().mc_weights else f"--mc-weights {toy.mc_weights} "
    weights += "--poisson " if toy.poisson else ""
    made = f"tabstar_lit convert fakes-toy --variables {toy.variables} {weights}--seed {toy.seed}"
    made += f" -o data/{_made(toy).name}"
    return how_it_was_made([one.trained for one in estimates], [made])
