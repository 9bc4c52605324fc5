"""What many samples say of a learned fake factor: how far it is from the true one, and how often its spread covers."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from statistics import fmean

import numpy as np
import torch
from scipy import stats

from benchmarks.experiment import Many
from benchmarks.fakes_estimate import BINS, how_it_is_made
from benchmarks.page import Section, how_it_was_made, one_word_a_line, results_table
from benchmarks.prompt_rich import NEGATIVE
from tabstar_lit.arrays import Array, Float64, Int64
from tabstar_lit.engine.reports.markdown import table
from tabstar_lit.families.hep.fakes.ensemble import Ensemble, student_deviation, training_spread, uncertainty
from tabstar_lit.families.hep.fakes.toy.config import FakesToy

PT_SHARES = (0, 0.05, 0.2, 0.4, 0.6, 0.8, 0.95, 1)
"""Shares of the events up to the edges of cells in pt."""
N_PT_CELLS = len(PT_SHARES) - 1
ETA_EDGES = (0.8, 1.7)
"""Edges of cells in abs(eta), where there is that."""

TOYS_TEXT = """\
{samples} toys of about {events} events each, with another seed for events and training: fakes and real leptons in pt,
whose fake factor is known in closed form. Their numbers vary as in independent experiments. Each is estimated by
`train_fakes`: numerator, denominator and ratio, with an ensemble of heads that learn from bootstrap samples.
`logerror` is the mean of |log F - log F_true| over a thousand loose data in the central 98 % of their pt. *Binned* is
the classical estimate, (data - simulation) of tight over that of loose events, of the same training events in bins of
pt with equally many loose ones; of 10, 20 and 40 bins those count that come closest to the truth, which no experiment
could choose. *Closure* is chi2 per bin of 20 in pt, predicted against seen tight events, on the fifth of events that
were held out, with statistical errors alone.
"""

COVERAGE_TEXT = """\
*Coverage* is the share of these loose data for which the truth lies within one or two sigma, the uncertainty that heads
tell of; {expected1:.3f} and {expected2:.3f} would be right, as sigma is the standard deviation of Student's t of the
{samples} samples that heads learn from. Errors within a toy go together, so that the share scatters from toy to toy:
the means are known to ±{error1:.3f} and ±{error2:.3f}. What the luck of these samples does shows in `counted`: the same
shares for data minus simulation counted in a few cells, whose statistical errors cover 0.683 and 0.954.

The other numbers are of log F in cells of the variables, and root mean squares over these. `sigma` is the uncertainty,
`training` what training adds to it, as heads tell that learned from equal samples, and `sampling` the rest, what
samples add. `spread` is the standard deviation from toy to toy and `bias` the error that remains in their mean, which
sigma is to hold together; their spread alone would make a bias of `bias_by_chance`. *Edges* are the bias in the lowest
and in the highest twentieth of pt, in units of sigma.
"""

TOYS_2D_TEXT = """\
{samples} toys of about {events} events in pt and |eta|, which are correlated, and in which about one in eight simulated
events has a negative weight.
"""

PROMPT_RICH_TEXT = """\
{samples} samples in which two thirds of the tight leptons are prompt, and tight fakes have all but ended at 100 GeV,
where subtraction leaves less than nothing as often as not. Predicted over true fakes are of the fifth of events that
was held out, whose true yield is the expected one; *worst head* is the greatest relative difference of any head's. The
last column is a mean over tight fakes, in the bins of 5 GeV where more than 5 are expected, and coverage is counted
there too; of so few samples it tells little. In a second set {negative:.0%} of the simulated events have negative
weights, and weights scatter log-normally.
"""

Row = Mapping[str, Array]
"""What is kept of a sample: see :func:`benchmarks.coverage.measured`."""


def scores(row: Row) -> dict[str, float]:
    """Return the distance of a sample's factor from the truth, and how often heads cover it."""
    weights, distance, std = row["weights"], np.abs(_errors(row)), row["std"]
    covered = {f"coverage{n}": float(np.average(distance <= n * std, weights=weights)) for n in (1, 2)}
    return {"logerror": float(np.average(distance, weights=weights)), **covered}


def calibration(rows: Sequence[Row]) -> dict[str, float]:
    """Return what sigma is made of, and what it should hold, over samples of one kind.

    Every sample has points of its own: means over cells of the variables are compared, those of the error as those of
    each head, over the cells that all samples fill.
    """
    pt_edges = np.quantile(np.concatenate([row["points"][:, 0] for row in rows]), PT_SHARES[1:-1])
    cells = [_cells(row["points"], pt_edges) for row in rows]
    errors = np.stack([_means(_errors(row), own) for row, own in zip(rows, cells, strict=True)])
    heads = [
        np.stack([_means(head, own) for head in row["logs"].T], axis=-1) for row, own in zip(rows, cells, strict=True)
    ]
    variances = np.stack([_variances(row, own) for row, own in zip(rows, heads, strict=True)])
    training = np.stack([_training(row, own) for row, own in zip(rows, heads, strict=True)])
    filled = np.isfinite(errors).all(0)
    at_an_end = np.arange(len(filled)) % N_PT_CELLS % (N_PT_CELLS - 1) == 0
    bias, sigma, spread = errors.mean(0), np.sqrt(variances.mean(0)), errors.std(0, ddof=1)
    parts = {"sigma": variances, "sampling": variances - training, "training": training}
    return {
        **{name: float(np.sqrt(max(part[:, filled].mean(), 0.0))) for name, part in parts.items()},
        "spread": _root_mean_square(spread[filled]),
        "bias": _root_mean_square(bias[filled]),
        "bias_by_chance": _root_mean_square(spread[filled]) / len(rows) ** 0.5,
        "edges": float(np.abs(bias / sigma)[filled & at_an_end].max()),
    }


def toys_section(rows: Sequence[Row]) -> Section:
    """Tell of toys in one variable."""
    told = [scores(row) for row in rows]
    binned = {bins: fmean(float(row[f"binned_{bins}"]) for row in rows) for bins in BINS}
    results = {
        "fakes.toy_bce_logerror": fmean(one["logerror"] for one in told),
        "fakes.toy_binned_logerror": min(binned.values()),
        **_covered("fakes.coverage", rows),
        "fakes.closure_chi2ndf": fmean(float(row["closure"]) for row in rows),
    }
    head = ("seed", "logerror", *(f"binned, {n} bins" for n in BINS), "within 1 σ", "within 2 σ", "closure, χ²/ndf")
    table_rows = [
        (
            int(row["seed"]),
            f"{one['logerror']:.4f}",
            *(f"{float(row[f'binned_{n}']):.4f}" for n in BINS),
            *(f"{one[f'coverage{n}']:.3f}" for n in (1, 2)),
            f"{float(row['closure']):.3f}",
        )
        for row, one in zip(rows, told, strict=True)
    ]
    return Section(
        "Toys of fakes with a known fake factor",
        [
            TOYS_TEXT.format(samples=len(rows), events=FakesToy().n_events),
            _coverage_text(rows),
            *results_table(results),
            *table(head, table_rows),
            *_how("toy", rows, how_it_is_made(FakesToy(seed=int(rows[0]["seed"]), poisson=True))),
        ],
        results,
    )


def toys_2d_section(rows: Sequence[Row]) -> Section:
    """Tell of toys in two variables, with negative weights."""
    told = [scores(row) for row in rows]
    results = {**_covered("fakes.coverage2d", rows), "fakes.coverage2d_logerror": fmean(o["logerror"] for o in told)}
    toy = FakesToy(variables="pt_eta", mc_weights="cauchy", seed=int(rows[0]["seed"]), poisson=True)
    shown = [(int(row["seed"]), *(f"{value:.3f}" for value in scores(row).values())) for row in rows]
    return Section(
        "How often the spread of the heads covers the truth",
        [
            TOYS_2D_TEXT.format(samples=len(rows), events=toy.n_events),
            _coverage_text(rows),
            *results_table(results),
            *table(("seed", "logerror", "within 1 σ", "within 2 σ"), shown),
            *_how("toy2d", rows, how_it_is_made(toy)),
        ],
        results,
    )


def prompt_rich_section(plain: Sequence[Row], negative: Sequence[Row]) -> Section:
    """Tell of samples whose tight leptons are mostly prompt, and of those with many negative weights."""
    results: dict[str, float] = {}
    shown = []
    for name, share, rows in (("prompt_rich", 0.0, plain), ("negative_weights", NEGATIVE, negative)):
        ratios = [float(row["fakes_ratio"]) for row in rows]
        heads = [float(row["worst_head"]) for row in rows]
        told = [scores(row) for row in rows]
        errors = [one["logerror"] for one in told]
        results |= {
            f"fakes.{name}_fakes_ratio": fmean(ratios),
            f"fakes.{name}_worst_fakes_ratio": max(ratios, key=lambda ratio: abs(ratio - 1)),
            f"fakes.{name}_worst_head": max(heads),
            f"fakes.{name}_logerror": fmean(errors),
            f"fakes.{name}_worst_logerror": max(errors),
            **{f"fakes.{name}_coverage_{n}sigma": fmean(one[f"coverage{n}"] for one in told) for n in (1, 2)},
        }
        shown += [
            (f"{share:.0%}", int(row["seed"]), f"{ratio:.3f}", f"{head:.3f}", f"{error:.3f}")
            for row, ratio, head, error in zip(rows, ratios, heads, errors, strict=True)
        ]
    names = ("negative weights", "seed", "fakes, predicted over true", "worst head", "abs(log F - log F_true)")
    return Section(
        "Fakes where most leptons are prompt",
        [
            PROMPT_RICH_TEXT.format(samples=len(plain), negative=NEGATIVE),
            *results_table(results),
            *table(names, shown),
            *_how("prompt --kind negative", [*plain, *negative], "# benchmarks/prompt_rich.py writes the events"),
        ],
        results,
    )


def _covered(prefix: str, rows: Sequence[Row]) -> dict[str, float]:
    told = [scores(row) for row in rows]
    means = {f"{prefix}_{n}sigma": fmean(one[f"coverage{n}"] for one in told) for n in (1, 2)}
    pulls = [np.abs(row["counted_pulls"]) for row in rows]
    means |= {f"{prefix}_counted_{n}sigma": fmean(float((one <= n).mean()) for one in pulls) for n in (1, 2)}
    return means | ({f"{prefix}_{name}": value for name, value in calibration(rows).items()} if len(rows) > 1 else {})


def _coverage_text(rows: Sequence[Row]) -> str:
    told = [scores(row) for row in rows]
    scatter = [np.std([one[f"coverage{n}"] for one in told]) / max(1, len(told) - 1) ** 0.5 for n in (1, 2)]
    samples = rows[0]["logs"].shape[1] - _ensemble(rows[0]).twins
    student, deviation = stats.t(samples - 1), student_deviation(samples)
    expected = [2 * student.cdf(n * deviation) - 1 for n in (1, 2)]
    return COVERAGE_TEXT.format(
        samples=samples, expected1=expected[0], expected2=expected[1], error1=scatter[0], error2=scatter[1]
    )


def _how(kind: str, rows: Sequence[Row], before: str) -> list[str]:
    """Return the command of all samples after that of the first."""
    command, _ = rows[0]["made"]
    _, record = rows[-1]["made"]
    wall_s, cpu_s = (sum(float(row[name]) for row in rows) for name in ("wall_s", "cpu_s"))
    all_of_them = f"python -m benchmarks.coverage samples --kind {kind}"
    return how_it_was_made([Many(all_of_them, json.loads(record), wall_s, cpu_s)], [before, one_word_a_line(command)])


def _errors(row: Row) -> Float64:
    return np.asarray(row["mean"] - row["truth"], np.float64)


def _variances(row: Row, by_head: Array) -> Float64:
    """Return the variance ``[...]`` that heads ``[..., C]`` of a sample tell of."""
    return np.square(uncertainty(torch.from_numpy(by_head).double(), _ensemble(row)).numpy())


def _training(row: Row, by_head: Array) -> Float64:
    """Return the variance that training adds, by pairs of heads that learned from equal samples."""
    return np.square(training_spread(torch.from_numpy(by_head).double(), _ensemble(row).twins).numpy())


def _ensemble(row: Row) -> Ensemble:
    return Ensemble(**json.loads(str(row["ensemble"])))


def _root_mean_square(values: Float64) -> float:
    return float(np.sqrt(np.square(values).mean()))


def _cells(points: Float64, pt_edges: Float64) -> Int64:
    """Return the cell of each point: bins of pt, for each bin of abs(eta)."""
    in_eta = np.searchsorted(ETA_EDGES, np.abs(points[:, 1])) if points.shape[1] > 1 else 0
    return np.asarray(np.searchsorted(pt_edges, points[:, 0]) + N_PT_CELLS * in_eta)


def _means(values: Float64, cells: Int64) -> Float64:
    """Return the mean in each cell, NaN where there is none."""
    counts = np.bincount(cells, minlength=N_PT_CELLS * (len(ETA_EDGES) + 1))
    return np.divide(
        np.bincount(cells, values, len(counts)), counts, out=np.full(len(counts), np.nan), where=counts > 0
    )
