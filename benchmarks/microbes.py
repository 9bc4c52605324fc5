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
from tabstar_lit.arrays import Float64
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
    counts: sparse.csr_matrix

    def branches(self) -> Branches:
        """Put the samples onto the tree."""
        return Branches.of(self.counts, self.ids, parse_newick(self.text))


def community(n_samples: int, n_tips: int, seed: int = 0) -> Community:
    """Draw a tree by joining lineages, and samples of :data:`FEATURES_EACH` of its tips."""
    rng = np.random.default_rng(seed)
    nodes = [f"t{i}:{rng.exponential():.6f}" for i in range(n_tips)]
    while len(nodes) > 2:
        i, j = sorted(rng.choice(len(nodes), 2, replace=False).tolist())
        right, left = nodes.pop(j), nodes.pop(i)
        nodes.append(f"({left},{right}):{rng.exponential():.6f}")
    tips = np.concatenate([rng.choice(n_tips, FEATURES_EACH, replace=False) for _ in range(n_samples)])
    reads = rng.geometric(0.05, len(tips))
    starts = np.arange(n_samples + 1) * FEATURES_EACH
    counts = sparse.csr_matrix((reads, tips, starts), shape=(n_samples, n_tips))
    return Community(f"({nodes[0]},{nodes[1]});", tuple(f"t{i}" for i in range(n_tips)), counts)


class Rate(NamedTuple):
    """Pairs of samples in a second, and in one of a processor's time, of which all threads take their part."""

    wall: float = 0.0
    processor: float = 0.0

    @classmethod
    def of(cls, run: Callable[[], Float64]) -> Rate:
        """Measure what returns distances."""
        wall, processor = time.perf_counter(), time.process_time()
        n_samples = len(run())
        n_pairs = n_samples * (n_samples - 1) / 2
        return cls(n_pairs / (time.perf_counter() - wall), n_pairs / (time.process_time() - processor))

    def better(self, other: Rate) -> Rate:
        """Return the higher rate by each clock."""
        return Rate(max(self.wall, other.wall), max(self.processor, other.processor))


def of_skbio(own: Community, metric: Metric, engine: str) -> Callable[[], Float64]:
    """Return what computes the distances of the first samples by scikit-bio, with one of its engines."""
    from skbio import TreeNode
    from skbio.diversity import beta_diversity

    tree, counts = TreeNode.read(io.StringIO(own.text)), own.counts[:SAMPLES_OF_SKBIO].toarray()
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
    own = community(N_SAMPLES, N_TIPS)
    branches = own.branches()
    found: dict[str, float] = {"microbes.unifrac_branches": len(branches.lengths)}
    metrics: tuple[Metric, ...] = ("unweighted", "weighted")
    for metric in metrics:
        name = "unifrac" if metric == "unweighted" else f"{metric}_unifrac"
        theirs = {"skbio": of_skbio(own, metric, "cython"), "skbio_numba": of_skbio(own, metric, "numba")}
        for run in theirs.values():  # a first call may compile
            _require_equal(branches, metric, run())
        rates = dict.fromkeys(("own", *theirs), Rate())
        for _ in range(REPEATS):  # by turns, so that all meet the same machine
            for which, run in {"own": partial(unifrac, branches, metric), **theirs}.items():
                rates[which] = rates[which].better(Rate.of(run))
        found[f"microbes.{name}_pairs_per_second"] = rates["own"].wall
        found[f"microbes.{name}_pairs_per_processor_second"] = rates["own"].processor
        found |= {f"microbes.{name}_vs_{which}_speed": rates["own"].wall / rates[which].wall for which in theirs}
    return found | {"microbes.epoch_vs_padded": epoch_vs_padded()}


def _require_equal(branches: Branches, metric: Metric, expected: Float64) -> None:
    some = Branches(branches.counts[: len(expected)], branches.lengths, branches.first, branches.end)
    worst = float(np.abs(unifrac(some, metric) - expected).max() / max(1.0, expected.max()))
    if worst > TOLERANCE:
        raise RuntimeError(f"{metric} UniFrac differs from scikit-bio's by {worst:g}")
