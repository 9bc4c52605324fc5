"""Quality of the fakes family: learned fake factors against closed forms, counting in bins, and events left out."""

from __future__ import annotations

import numpy as np

from benchmarks.experiment import EXPERIMENT, train
from benchmarks.fakes_estimate import NO_METRICS, Estimate, estimate, how_it_is_made
from benchmarks.page import Section, embedded, how_it_was_made, results_table
from benchmarks.signal_results import conversion_command, converted
from tabstar_lit.engine.reports.markdown import table
from tabstar_lit.families.hep.fakes.bins.statistics import chi2_of
from tabstar_lit.families.hep.fakes.factor.closure import Closure, VariableClosure
from tabstar_lit.families.hep.fakes.family import family
from tabstar_lit.families.hep.fakes.toy.config import FakesToy
from tabstar_lit.families.hep.fakes.variables import column_of
from tabstar_lit.losses.density_ratio import RATIO_LOSSES
from tabstar_lit.plots.histograms import binned

LOSSES_TEXT = """\
The first of the toys above with every other loss, and no other change to the settings.
"""

TOY_2D_TEXT = """\
A toy of {events} events in pt and |eta|, whose fakes correlate the two, otherwise in the tight than in the loose
region. A binned estimate in pt alone cannot see that. The same settings as above.
"""

ZEE_TEXT = """\
{events} electrons of CMS open data (2011), probes of Z candidates: tight ones that pass a selection, loose ones that
fail it. There is no simulation, so that the stage `ratio` alone is trained. A fifth of the events is held out, both
electrons of a pair together. There the loose electrons, reweighted by F, are compared with the tight ones: chi2 per bin
of 20 with equally many tight electrons each, with the statistical errors of both. Both electrons of a pair have one
mass, and are often tight together: a pair counts as one event in these errors. The network was chosen on splits with
other seeds.
"""


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
        [
            LOSSES_TEXT,
            *results_table(results),
            *how_it_was_made([one.trained for one in estimates], [how_it_is_made(FakesToy())]),
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
            TOY_2D_TEXT.format(events=toy.n_events),
            *results_table(results),
            *embedded("fakes_toy2d_factor", "Learned fake factor against pt, with the truth and the binned estimate"),
            *how_it_was_made([one.trained], [how_it_is_made(toy)]),
        ],
        results,
        {"fakes_toy2d_factor": one.figure("factor/pt")},
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


def independent_chi2(closure: Closure, compared: VariableClosure) -> float:
    """Return chi2 per bin as if no two events belonged together."""
    values = column_of(closure.columns, compared.variable)
    known = np.isfinite(values)
    error = binned(values[known], closure.terms[known], compared.edges).errors
    return chi2_of(compared.observed - compared.predicted, error**2)
