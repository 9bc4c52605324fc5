"""Many samples at once: how far learned fake factors are from the true ones, and how often their spread covers that.

``python -m benchmarks.coverage FOLDER --jobs 16`` trains the shipped settings on samples of the toys and of prompt-rich
events, a process of one thread for each. What the heads say at fixed points is kept in FOLDER, a file for each sample,
so that a formula for the uncertainty can be tried without training again, and what is there already is not trained
again. ``--page`` writes the sections of ``docs/results.md``.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

import click
import numpy as np
import torch

from benchmarks.coverage_page import prompt_rich_section, toys_2d_section, toys_section
from benchmarks.experiment import EXPERIMENT, Trained, train
from benchmarks.fakes_estimate import NO_METRICS, PT, Estimate, estimate
from benchmarks.page import Section, print_results, write_section
from benchmarks.prompt_rich import NEGATIVE, agreement, enough_fakes, log_factor, write_prompt_rich
from tabstar_lit.arrays import Array, Bool, Float64
from tabstar_lit.config.paths import roots
from tabstar_lit.families.hep.fakes.family import family
from tabstar_lit.families.hep.fakes.toy.config import FakesToy
from tabstar_lit.families.hep.fakes.tracking.reweighted import Reweighted

N_POINTS = 1000
"""Loose events of a sample at which factors are compared."""
SAMPLES = {"toy2d": 20, "toy": 30, "prompt": 5, "negative": 5}
"""Kinds of samples, and how many of each."""

Row = Mapping[str, Array]
"""What is kept of a sample: see :func:`measured`."""


class Sample(NamedTuple):
    """One training: which events, and the seed of both."""

    kind: str
    seed: int
    overrides: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Name of its file."""
        return f"{self.kind}_{self.seed:02d}.npz"

    @property
    def toy(self) -> FakesToy:
        """The toy, of those kinds that are one; its numbers of events vary as in independent experiments."""
        if self.kind == "toy":
            return FakesToy(seed=self.seed, poisson=True)
        return FakesToy(variables="pt_eta", mc_weights="cauchy", seed=self.seed, poisson=True)


def measured(sample: Sample) -> dict[str, Array]:
    """Train on a sample below the working directory.

    Returns
    -------
    dict of str to ndarray
        Of ``n`` events: ``logs`` ``[n, C]`` of the heads, ``mean`` and ``std`` ``[n]`` of all together, ``truth``,
        ``weights`` and ``points`` ``[n, D]``, pt first; of toys ``counted_pulls`` ``[n]``; ``seed``; ``ensemble``, how
        heads are taken together; scores by kind, and how it was made.
    """
    kept = _prompt_rich(sample) if sample.kind in {"prompt", "negative"} else _toy(sample)
    return kept | {"seed": np.int32(sample.seed)}


def toys() -> Section:
    """Estimate the fake factor of toys in one variable."""
    return toys_section(_here("toy"))


def toys_2d() -> Section:
    """Ask of toys in two variables, with negative weights, how often the heads' spread covers the truth."""
    return toys_2d_section(_here("toy2d"))


def prompt_rich() -> Section:
    """Estimate the fake factor where tight leptons are mostly prompt, and where many weights are negative."""
    return prompt_rich_section(_here("prompt"), _here("negative"))


def _here(kind: str) -> list[Row]:
    """Train on the samples of a kind, one after the other, in this process."""
    return [measured(Sample(kind, seed)) for seed in range(SAMPLES[kind])]


def _toy(sample: Sample) -> dict[str, Array]:
    one = estimate(sample.toy, f"experiment_config.seed={sample.seed}", *sample.overrides)
    applied, truth = one.central
    chosen = _some(len(truth))
    applied = applied.rows(chosen)
    row = _row(one, applied, truth[chosen], np.ones(len(applied.mean)))
    row |= {"counted_pulls": one.counted_pulls(applied)}
    if sample.kind == "toy":
        row |= {f"binned_{bins}": np.float64(error) for bins, error in one.binned_errors.items()}
        row |= {"closure": np.float64(one.chi2[PT])}
    return row


def _prompt_rich(sample: Sample) -> dict[str, Array]:
    path = roots().data / f"{sample.kind}_{sample.seed}.h5"
    file = write_prompt_rich(path, sample.seed, negative=NEGATIVE if sample.kind == "negative" else 0.0)
    chosen = (f"dataset_config.files={path.name}", f"experiment_config.seed={sample.seed}", *sample.overrides)
    one = Estimate(train(family, (*chosen, EXPERIMENT, *NO_METRICS)))
    found = agreement(one.model, file)
    applied = one.applied
    filled = enough_fakes(applied.variables[PT])
    filled[filled] = _some(int(filled.sum()))
    applied = applied.rows(filled)
    truth = log_factor(applied.variables[PT])
    row = _row(one, applied, truth, np.exp(truth))
    return row | {"fakes_ratio": np.float64(found.total), "worst_head": np.float64(found.worst_head)}


def _row(one: Estimate, applied: Reweighted, truth: Float64, weights: Float64) -> dict[str, Array]:
    made: Trained = one.trained
    points = np.stack(list(applied.variables.values()), axis=1)
    named = {"logs": applied.log_ratios, "mean": applied.mean, "std": applied.std, "truth": truth, "weights": weights}
    return {
        **{name: np.asarray(values, np.float32) for name, values in (named | {"points": points}).items()},
        "ensemble": np.array(json.dumps(one.model.ensemble._asdict())),
        "wall_s": np.float64(made.wall_s),
        "cpu_s": np.float64(made.cpu_s),
        "made": np.array([made.command, json.dumps(made.record, default=str)]),
    }


def _some(n: int) -> Bool:
    """Choose at most :data:`N_POINTS` of ``n`` events, the same whenever it is asked."""
    chosen = np.zeros(n, dtype=bool)
    chosen[np.random.default_rng(0).permutation(n)[:N_POINTS]] = True
    return chosen


def _apart(sample: Sample, folder: Path) -> float:
    """Train in a temporary folder, keep what was measured, and return the seconds it took."""
    torch.set_num_threads(1)
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as work:
        os.chdir(work)
        row: dict[str, Any] = measured(sample)
        os.chdir(folder)
    unfinished = folder / f"unfinished_{sample.name}"
    np.savez_compressed(unfinished, **row)
    unfinished.replace(folder / sample.name)
    return time.perf_counter() - start


def _collected(samples: Sequence[Sample], folder: Path, jobs: int) -> None:
    """Train on those samples that ``folder`` does not hold yet."""
    todo = [sample for sample in samples if not (folder / sample.name).exists()]
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn"), max_tasks_per_child=1) as pool:
        running = {pool.submit(_apart, sample, folder): sample for sample in todo}
        for done in as_completed(running):
            print(f"{running[done].name}: {done.result():.0f} s", flush=True)


def _rows(kind: str, folder: Path) -> list[Row]:
    """Return what ``folder`` holds of a kind, by seed."""
    return [dict(np.load(path)) for path in sorted(folder.glob(f"{kind}_*.npz"))]


def _sections(kinds: Sequence[str], folder: Path) -> dict[str, Section]:
    sections = {}
    if "toy" in kinds:
        sections["fakes_toys"] = toys_section(_rows("toy", folder))
    if "toy2d" in kinds:
        sections["fakes_coverage"] = toys_2d_section(_rows("toy2d", folder))
    if {"prompt", "negative"} <= set(kinds):
        sections["fakes_prompt_rich"] = prompt_rich_section(_rows("prompt", folder), _rows("negative", folder))
    return sections


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.argument("overrides", nargs=-1)
@click.option("--jobs", type=int, default=os.cpu_count(), show_default=True, help="Processes.")
@click.option("--samples", type=int, help="Samples of each kind; as many as the page tells of without it.")
@click.option("--first", type=int, default=0, show_default=True, help="Seed of the first sample.")
@click.option("--kind", "kinds", multiple=True, default=list(SAMPLES), type=click.Choice(list(SAMPLES)), help="Which.")
@click.option("--page", is_flag=True, help="Write the sections of docs/results.md that all samples here are of.")
def main(
    folder: Path,
    overrides: tuple[str, ...],
    *,
    jobs: int,
    samples: int | None,
    first: int,
    kinds: Sequence[str],
    page: bool,
) -> None:
    """Train on many samples, with OVERRIDES of the settings such as model_config.training_config.twins=8."""
    folder = folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    os.environ.update(OMP_NUM_THREADS="1", MKL_NUM_THREADS="1")
    seeds = {kind: range(first, first + (samples or SAMPLES[kind])) for kind in kinds}
    _collected([Sample(kind, seed, overrides) for kind in kinds for seed in seeds[kind]], folder, jobs)
    for name, section in _sections(kinds, folder).items():
        if page:
            from benchmarks.results import EXPERIMENTS, PAGE  # here, because it knows the experiments of this file

            write_section(PAGE, name, section, list(EXPERIMENTS))
        print_results(section)


if __name__ == "__main__":
    main()
