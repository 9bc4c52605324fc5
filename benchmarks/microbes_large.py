"""UniFrac of very many samples: ``python -m benchmarks.microbes_large [--samples 20000] [--tips 20000]``."""

from __future__ import annotations

import resource
import time

import click

from benchmarks.microbes import community
from tabstar_lit.families.microbes.unifrac.distances import unifrac

GIB = 1 << 20
"""Of the kibibytes that the system counts in."""


@click.command()
@click.option("--samples", type=int, default=20_000, show_default=True)
@click.option("--tips", type=int, default=20_000, show_default=True, help="Each sample has 120 of them.")
def main(samples: int, tips: int) -> None:
    """Compute unweighted distances of generated samples; print pairs a second, processor time and greatest memory."""
    branches = community(samples, tips).branches()
    before, start, cpu = _peak_gib(), time.perf_counter(), time.process_time()
    distances = unifrac(branches)
    wall, processor = time.perf_counter() - start, time.process_time() - cpu
    n_pairs = samples * (samples - 1) / 2
    found = {
        "branches": len(branches.lengths),
        "pairs_per_second": n_pairs / wall,
        "pairs_per_processor_second": n_pairs / processor,
        "processor_seconds": processor,
        "matrix_gib": distances.nbytes / (1 << 30),
        "peak_gib_before": before,
        "peak_gib": _peak_gib(),
    }
    for name, value in found.items():
        print(f"BENCH microbes.unifrac_large_{name}={value:.4g}", flush=True)


def _peak_gib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / GIB


if __name__ == "__main__":
    main()
