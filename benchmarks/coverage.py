"""Many samples at once: how far learned fake factors are from the true ones, and how often their spread covers that.

``python -m benchmarks.coverage --out FOLDER --jobs 16`` trains the shipped settings on samples of the toys and of
prompt-rich events, a process of one thread for each, and writes every head's factor at fixed points: what a formula for
the uncertainty is worth can be read off them without training again. Figures are printed as ``RESULT name=value``.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

import click
import numpy as np

from tabstar_lit.arrays import Array, Float64

N_POINTS = 1000
"""Loose events of a sample at which factors are compared."""
KINDS = ("toy", "toy2d", "prompt", "negative")
QUIET = (
    *("experiment_config.check_metrics_n_epoch=null", "experiment_config.plot_metrics_n_epoch=null"),
    *("experiment_config.tracker=none", "experiment_config.accelerator=cpu"),
)


class Sample(NamedTuple):
    """One training: which events, and the seed of both."""

    kind: str
    seed: int
    overrides: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Name of its file."""
        return f"{self.kind}_{self.seed:02d}"


def measured(sample: Sample, folder: Path) -> tuple[Sample, dict[str, Array], float]:
    """Train on a sample below ``folder``, and return what its heads say and the seconds it took."""
    import torch

    torch.set_num_threads(1)
    start = time.perf_counter()
    work = folder / sample.name
    work.mkdir(parents=True, exist_ok=True)
    os.chdir(work)
    found = _prompt_rich(sample) if sample.kind in {"prompt", "negative"} else _toy(sample)
    return sample, found, time.perf_counter() - start


def scores(found: Mapping[str, Array]) -> dict[str, float]:
    """Return distance to the truth, and how often it is covered, by the standard deviation of the heads."""
    logs, truth = found["logs"], found["truth"]
    distance, std = np.abs(logs.mean(1) - truth), logs.std(1, ddof=1)
    twins = int(found["twins"])
    apart = logs[:, logs.shape[1] - twins :] - logs[:, :twins]
    training = np.sqrt((apart**2 / 2).mean(1)) if twins else np.zeros(len(logs))
    named = {"logerror": distance, "sigma": std, "sigma_training": training, "bias": logs.mean(1) - truth}
    result = {name: float(np.average(values, weights=found["weights"])) for name, values in named.items()}
    for n in (1, 2):
        result[f"coverage{n}"] = float(np.average(distance <= n * std, weights=found["weights"]))
    return result | {name: float(found[name]) for name in ("fakes_ratio", "worst_head") if name in found}


def _toy(sample: Sample) -> dict[str, Array]:
    from benchmarks.fakes_results import estimate
    from tabstar_lit.families.hep.fakes.factor.factors import event_factors, loose_events, region_events
    from tabstar_lit.families.hep.fakes.toy.closed_form import closed_form
    from tabstar_lit.families.hep.fakes.toy.config import FakesToy
    from tabstar_lit.families.hep.fakes.tracking.scores import central

    toy = FakesToy(seed=sample.seed)
    if sample.kind == "toy2d":
        toy = FakesToy(variables="pt_eta", mc_weights="cauchy", seed=sample.seed)
    one = estimate(toy, f"experiment_config.seed={sample.seed}", *QUIET, *sample.overrides)
    file = one._file
    loose = loose_events(one.model, region_events(one.model, file, None))
    loose = loose.chosen(~loose.simulated)
    loose = loose.chosen(central(file.column("pt")[loose.rows].astype(np.float64)))
    loose = loose.chosen(_some(len(loose.rows)))
    logs = np.concatenate([np.log(part.heads) for part in event_factors(one.model, loose)])
    form = closed_form(file)
    points = np.stack([file.column(name)[loose.rows].astype(np.float64) for name in form.columns], axis=1)
    truth = np.log(form.factor(points))
    return _row(logs, truth, points, np.ones(len(logs)), one.model.twins)


def _prompt_rich(sample: Sample) -> dict[str, Array]:
    from benchmarks.experiment import train
    from benchmarks.fakes_results import Estimate
    from benchmarks.prompt_rich import BIN_GEV, FAKES, FEWEST, HIGH, LOW, agreement, log_factor, tight_density
    from benchmarks.prompt_rich import write_prompt_rich as write
    from tabstar_lit.families.hep.fakes.factor.factors import event_factors, loose_events, region_events
    from tabstar_lit.families.hep.fakes.family import family

    path = Path.cwd() / "events.h5"
    file = write(path, sample.seed, negative=0.35 if sample.kind == "negative" else 0.0)
    chosen = (f"dataset_config.files={path}", f"experiment_config.seed={sample.seed}", *QUIET, *sample.overrides)
    one = Estimate(train(family, chosen))
    found = agreement(one.model, file)
    loose = loose_events(one.model, region_events(one.model, file, None))
    pt = file.column("pt")[loose.rows].astype(np.float64)
    edges = np.arange(LOW, HIGH + BIN_GEV, BIN_GEV)
    filled = FAKES["tight"] * BIN_GEV * tight_density(edges[:-1] + BIN_GEV / 2) > FEWEST
    kept = filled[np.clip(((pt - LOW) / BIN_GEV).astype(int), 0, len(filled) - 1)] & ~loose.simulated
    loose = loose.chosen(kept)
    loose = loose.chosen(_some(len(loose.rows)))
    pt = file.column("pt")[loose.rows].astype(np.float64)
    logs = np.concatenate([np.log(part.heads) for part in event_factors(one.model, loose)])
    points = np.stack([pt, file.column("eta")[loose.rows].astype(np.float64)], axis=1)
    row = _row(logs, log_factor(pt), points, np.exp(log_factor(pt)), one.model.twins)
    return row | {"fakes_ratio": np.float64(found.total), "worst_head": np.float64(found.worst_head)}


def _row(logs: Float64, truth: Float64, points: Float64, weights: Float64, twins: int) -> dict[str, Array]:
    named = {"logs": logs, "truth": truth, "points": points, "weights": weights}
    return {"twins": np.int32(twins), **{name: np.asarray(values, np.float32) for name, values in named.items()}}


def _some(n: int) -> Array:
    """Choose at most :data:`N_POINTS` of ``n`` events, the same whenever it is asked."""
    chosen = np.zeros(n, dtype=bool)
    chosen[np.random.default_rng(0).permutation(n)[:N_POINTS]] = True
    return chosen


def table_of(rows: Sequence[tuple[Sample, dict[str, float]]]) -> list[str]:
    """Return a line for the mean over the samples of each kind."""
    lines = []
    for kind in dict.fromkeys(sample.kind for sample, _ in rows):
        own = [values for sample, values in rows if sample.kind == kind]
        means = {name: float(np.mean([values[name] for values in own])) for name in own[0]}
        lines += [f"RESULT fakes.{kind}.{name}={value:.4f}  # of {len(own)} samples" for name, value in means.items()]
    return lines


@click.command()
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder for what the heads say.")
@click.option("--jobs", type=int, default=os.cpu_count(), show_default=True, help="Processes.")
@click.option("--samples", type=int, default=10, show_default=True, help="Toys of each kind; half as many prompt-rich.")
@click.option("--first", type=int, default=0, show_default=True, help="Seed of the first sample.")
@click.option("--kind", "kinds", multiple=True, type=click.Choice(KINDS), help="Only these.")
@click.argument("overrides", nargs=-1)
def main(out: Path, jobs: int, samples: int, first: int, kinds: tuple[str, ...], overrides: tuple[str, ...]) -> None:
    """Train on many samples at once, with OVERRIDES of the settings such as model_config.training_config.twins=8."""
    out = out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    os.environ.update(OMP_NUM_THREADS="1", MKL_NUM_THREADS="1")
    seeds = {"negative": -(-samples // 2), "prompt": -(-samples // 2), "toy2d": samples, "toy": samples}
    todo = [
        Sample(kind, first + seed, overrides)
        for kind, n in seeds.items()
        if not kinds or kind in kinds
        for seed in range(n)
    ]
    rows, arrays = [], {}
    with (
        tempfile.TemporaryDirectory() as work,
        ProcessPoolExecutor(jobs, mp_context=get_context("spawn"), max_tasks_per_child=1) as pool,
    ):
        running = [pool.submit(measured, sample, Path(work)) for sample in todo]
        for done in as_completed(running):
            sample, found, seconds = done.result()
            rows.append((sample, scores(found)))
            arrays |= {f"{sample.name}.{name}": values for name, values in found.items()}
            np.savez_compressed(out / "samples.npz", **arrays)  # anew each time: whatever ends it, those are there
            shown = " ".join(f"{name}={value:.4f}" for name, value in rows[-1][1].items())
            print(f"{sample.name} {seconds:.0f} s {shown}", flush=True)
    print("\n".join(table_of(rows)), flush=True)


if __name__ == "__main__":
    main()
