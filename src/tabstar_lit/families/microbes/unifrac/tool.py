"""``tabstar_lit microbes unifrac``: distances of a table on a tree, in one file."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np

from tabstar_lit.arrays import Float64
from tabstar_lit.data.outputs import whole_file
from tabstar_lit.data.progress import Progress, no_progress
from tabstar_lit.families.microbes.conversion import steps
from tabstar_lit.families.microbes.tables.counts import read_table
from tabstar_lit.families.microbes.tables.matrices import write_distances
from tabstar_lit.families.microbes.tables.tree import read_tree
from tabstar_lit.families.microbes.unifrac.branches import Branches
from tabstar_lit.families.microbes.unifrac.distances import unifrac


class Options(NamedTuple):
    """What is asked for, in the words of the command."""

    metric: Any = "unweighted"
    alpha: float = 0.5
    rarefy: int | None = None
    seed: int = 0
    without_tip: Any = "drop"
    threads: int | None = None


def compute(
    table: Path, tree: Path, output: Path, options: Options | None = None, *, progress: Progress = no_progress
) -> list[str]:
    """Compute distances and write them, as TSV where the name of the output ends so; return lines about it.

    Raises
    ------
    DataError
        Table or tree cannot be read or do not fit, or the output cannot be written.
    """
    own, lines = options or Options(), list[str]()
    phylogeny = read_tree(tree).require_lengths()
    counts, line = steps.on_tree(read_table(table), phylogeny, own.without_tip)
    lines.append(str(line))
    if own.rarefy is not None:
        counts, line = steps.rarefied(counts, own.rarefy, own.seed)
        lines += [line] if line else []
    branches = Branches.of(*steps.branch_table(counts, phylogeny), phylogeny)
    start = perf_counter()
    values = unifrac(branches, own.metric, alpha=own.alpha, threads=own.threads, progress=progress)
    seconds = perf_counter() - start
    if output.suffix == ".tsv":
        _write_tsv(output, counts.sample_ids, values)
    else:
        write_distances(output, counts.sample_ids, values, metric=own.metric)
    n_pairs = len(values) * (len(values) - 1) // 2
    mean = values[np.triu_indices(len(values), 1)].mean() if n_pairs else 0.0
    rate = n_pairs / max(seconds, 1e-9)
    return [
        *lines,
        f"wrote {output}: {own.metric} UniFrac of {len(values)} samples on {len(branches.lengths)} branches, mean "
        f"{mean:.4f}; {n_pairs} pairs in {seconds:.2g} s, {rate:.3g} a second",
    ]


def _write_tsv(path: Path, ids: Sequence[str], values: Float64) -> None:
    with whole_file(path) as part, part.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, delimiter="\t")
        writer.writerow(["", *ids])
        writer.writerows([name, *map(repr, row)] for name, row in zip(ids, values.tolist(), strict=True))
