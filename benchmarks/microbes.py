"""Speed of the microbes family: UniFrac against scikit-bio, an epoch of the encoder against padding as AAM has it."""

from __future__ import annotations

import io
import time
import warnings
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np
from scipy import sparse

from benchmarks.microbes_padding import epoch_vs_padded
from tabstar_lit.arrays import Float64, Int64
from tabstar_lit.families.microbes.tables.tree import parse_newick
from tabstar_lit.families.microbes.unifrac.branches import Branches
from tabstar_lit.families.microbes.unifrac.distances import Metric, unifrac

N_TIPS = 5001
"""Of a tree of twos, which has 10,001 branches."""
N_SAMPLES, SAMPLES_OF_SKBIO = 1000, 40
FEATURES_EACH = 120
"""ASVs of a sample: the median of real ones at 5,000 reads."""
REPEATS = 5
TOLERANCE = 1e-12


class Community(NamedTuple):
    """Random samples on a random tree: Newick text, names of tips, counts ``[N, T]``."""

    text: str
    ids: tuple[str, ...]
    counts: Int64


def community(seed: int = 0) -> Community:
    """Draw a tree by joining lineages, and samples of :data:`FEATURES_EACH` of its tips."""
    rng = np.random.default_rng(seed)
    nodes = [f"t{i}:{rng.exponential():.6f}" for i in range(N_TIPS)]
    while len(nodes) > 2:
        i, j = sorted(rng.choice(len(nodes), 2, replace=False).tolist())
        right, left = nodes.pop(j), nodes.pop(i)
        nodes.append(f"({left},{right}):{rng.exponential():.6f}")
    counts = np.zeros((N_SAMPLES, N_TIPS), dtype=np.int64)
    for row in counts:
        row[rng.choice(N_TIPS, FEATURES_EACH, replace=False)] = rng.geometric(0.05, FEATURES_EACH)
    return Community(f"({nodes[0]},{nodes[1]});", tuple(f"t{i}" for i in range(N_TIPS)), counts)


def pairs_per_second(run: Callable[[], Float64]) -> float:
    """Return pairs of samples a second of what returns their distances."""
    start = time.perf_counter()
    n_samples = len(run())
    return n_samples * (n_samples - 1) / 2 / (time.perf_counter() - start)


def of_skbio(own: Community, metric: Metric, engine: str) -> Callable[[], Float64]:
    """Return what computes the distances of the first samples by scikit-bio, with one of its engines."""
    from skbio import TreeNode
    from skbio.diversity import beta_diversity

    tree, counts = TreeNode.read(io.StringIO(own.text)), own.counts[:SAMPLES_OF_SKBIO]
    name = "unweighted_unifrac" if metric == "unweighted" else "weighted_unifrac"
    options = {"taxa": list(own.ids), "tree": tree, "validate": False, "engine": engine}

    def run() -> Float64:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return np.asarray(beta_diversity(name, counts, **options).data)

    return run


def figures() -> dict[str, float]:
    """Return the figures by name.

    Raises
    ------
    RuntimeError
        Distances differ from those of scikit-bio.
    """
    own = community()
    branches = Branches.of(sparse.csr_matrix(own.counts), own.ids, parse_newick(own.text))
    found: dict[str, float] = {"microbes.unifrac_branches": len(branches.lengths)}
    metrics: tuple[Metric, ...] = ("unweighted", "weighted")
    for metric in metrics:
        name = "unifrac" if metric == "unweighted" else f"{metric}_unifrac"
        theirs = {"skbio": of_skbio(own, metric, "cython"), "skbio_numba": of_skbio(own, metric, "numba")}
        for run in theirs.values():  # a first call may compile
            _require_equal(branches, metric, run())
        rates = dict.fromkeys(("own", *theirs), 0.0)
        for _ in range(REPEATS):  # by turns, so that all meet the same machine
            for which, run in {"own": partial(unifrac, branches, metric), **theirs}.items():
                rates[which] = max(rates[which], pairs_per_second(run))
        found[f"microbes.{name}_pairs_per_second"] = rates["own"]
        found |= {f"microbes.{name}_vs_{which}_speed": rates["own"] / rates[which] for which in theirs}
    return found | {"microbes.epoch_vs_padded": epoch_vs_padded()}


def _require_equal(branches: Branches, metric: Metric, expected: Float64) -> None:
    some = Branches(branches.counts[: len(expected)], branches.lengths, branches.first, branches.end)
    worst = float(np.abs(unifrac(some, metric) - expected).max() / max(1.0, expected.max()))
    if worst > TOLERANCE:
        raise RuntimeError(f"{metric} UniFrac differs from scikit-bio's by {worst:g}")
