"""Speed of the microbes family: UniFrac against scikit-bio, an epoch of the encoder against padding as AAM has it."""

from __future__ import annotations

import io
import time
import warnings
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
REPEATS = 3
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


def pairs_per_second(branches: Branches, metric: Metric) -> float:
    """Return pairs of samples a second, from reads at tips to distances: the best of a few times."""
    seconds = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        unifrac(branches, metric)
        seconds.append(time.perf_counter() - start)
    return branches.n_samples * (branches.n_samples - 1) / 2 / min(seconds)


def of_skbio(own: Community, metric: Metric, engine: str) -> tuple[Float64, float]:
    """Return the distances of the first samples by scikit-bio, with one of its engines, and its pairs a second."""
    from skbio import TreeNode
    from skbio.diversity import beta_diversity

    tree, counts = TreeNode.read(io.StringIO(own.text)), own.counts[:SAMPLES_OF_SKBIO]
    name = "unweighted_unifrac" if metric == "unweighted" else "weighted_unifrac"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for some in (counts[:3], counts):  # its first call may compile
            start = time.perf_counter()
            options = {"taxa": list(own.ids), "tree": tree, "validate": False, "engine": engine}
            distances = beta_diversity(name, some, **options).data
            seconds = time.perf_counter() - start
    return np.asarray(distances), len(counts) * (len(counts) - 1) / 2 / seconds


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
        found[f"microbes.{name}_pairs_per_second"] = pairs_per_second(branches, metric)
        for engine, shown in (("cython", "skbio"), ("numba", "skbio_numba")):
            expected, theirs = of_skbio(own, metric, engine)
            _require_equal(branches, metric, expected)
            found[f"microbes.{name}_vs_{shown}_speed"] = found[f"microbes.{name}_pairs_per_second"] / theirs
    return found | {"microbes.epoch_vs_padded": epoch_vs_padded()}


def _require_equal(branches: Branches, metric: Metric, expected: Float64) -> None:
    some = Branches(branches.counts[: len(expected)], branches.lengths, branches.first, branches.end)
    worst = float(np.abs(unifrac(some, metric) - expected).max() / max(1.0, expected.max()))
    if worst > TOLERANCE:
        raise RuntimeError(f"{metric} UniFrac differs from scikit-bio's by {worst:g}")
