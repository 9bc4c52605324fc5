"""UniFrac and Faith's PD, equal to scikit-bio to 1e-12, whatever the tree, the blocks and the threads."""

from __future__ import annotations

import io
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import sparse
from skbio import TreeNode
from skbio.diversity import alpha_diversity, beta_diversity

from tabstar_lit.arrays import Float64, Int64
from tabstar_lit.errors import DataError
from tabstar_lit.families.microbes.tables.counts import read_table
from tabstar_lit.families.microbes.tables.tree import parse_newick, read_tree
from tabstar_lit.families.microbes.unifrac import branches as branches_module
from tabstar_lit.families.microbes.unifrac import distances as distances_module
from tabstar_lit.families.microbes.unifrac.branches import Branches
from tabstar_lit.families.microbes.unifrac.distances import METRICS, Metric, unifrac

EXACT = 1e-12
OF_SKBIO: dict[Metric, tuple[str, dict[str, Any]]] = {
    "unweighted": ("unweighted_unifrac", {}),
    "weighted": ("weighted_unifrac", {}),
    "weighted_normalized": ("weighted_unifrac", {"normalized": True}),
}


def random_newick(rng: np.random.Generator, n_tips: int) -> str:
    """Join tips by twos, threes and fours, a fifth of the branches without any length."""
    nodes = [f"t{i}:{rng.random() * (rng.random() > 0.2):.6f}" for i in range(n_tips)]
    while len(nodes) > 2:
        order = rng.permutation(len(nodes))
        own, rest = np.split(order, [min(len(nodes) - 1, int(rng.integers(2, 5)))])
        nodes = [nodes[i] for i in rest] + ["(" + ",".join(nodes[i] for i in own) + f"):{rng.random():.5f}"]
    return "(" + ",".join(nodes) + ");"


def comb(n_tips: int) -> str:
    """Return the deepest tree there is."""
    text = "t0:1"
    for i in range(1, n_tips):
        text = f"({text},t{i}:0.5):0.25"
    return f"{text};"


def random_counts(rng: np.random.Generator, n_samples: int, n_features: int) -> Int64:
    """Return counts ``[N, F]`` with an empty sample, two equal ones, and one of a single feature."""
    counts = rng.poisson(3, (n_samples, n_features)) * (rng.random((n_samples, n_features)) < 0.5)
    counts[0] = 0
    counts[1] = counts[2]
    counts[3] = 0
    counts[3, 0] = 7
    return counts


def of_skbio(metric: Metric, counts: Int64, ids: tuple[str, ...], text: str) -> Float64:
    name, options = OF_SKBIO[metric]
    tree = TreeNode.read(io.StringIO(text), convert_underscores=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about samples without counts
        return np.asarray(beta_diversity(name, counts, taxa=list(ids), tree=tree, **options).data)


@pytest.mark.parametrize("metric", OF_SKBIO)
@pytest.mark.parametrize("seed", range(6))
def test_distances_are_those_of_scikit_bio(metric: Metric, seed: int) -> None:
    rng = np.random.default_rng(seed)
    n_tips = int(rng.integers(4, 60))
    text = random_newick(rng, n_tips) if seed else comb(n_tips)
    ids = tuple(f"t{i}" for i in rng.permutation(n_tips)[: max(2, 3 * n_tips // 4)])
    counts = random_counts(rng, 9, len(ids))
    own = unifrac(Branches.of(sparse.csr_matrix(counts), ids, parse_newick(text)), metric)
    np.testing.assert_allclose(own, of_skbio(metric, counts, ids, text), rtol=0, atol=EXACT)


@pytest.mark.parametrize("seed", range(4))
def test_faiths_pd_is_that_of_scikit_bio(seed: int) -> None:
    rng = np.random.default_rng(seed)
    text, ids = random_newick(rng, 30), tuple(f"t{i}" for i in range(0, 30, 2))
    counts = random_counts(rng, 8, len(ids))
    tree = TreeNode.read(io.StringIO(text))
    expected = alpha_diversity("faith_pd", counts, taxa=list(ids), tree=tree).to_numpy()
    own = Branches.of(sparse.csr_matrix(counts), ids, parse_newick(text)).faith_pd()
    np.testing.assert_allclose(own, expected, rtol=0, atol=EXACT)


def test_real_distances_are_those_of_scikit_bio(shared_data: Path) -> None:
    folder = shared_data / "microbiome/moving_pictures"
    table, text = read_table(folder / "table.biom"), (folder / "tree.nwk").read_text()
    some = table.take(samples=np.arange(12))
    branches = Branches.of(some.counts, some.ids, read_tree(folder / "tree.nwk"))
    for metric in OF_SKBIO:
        expected = of_skbio(metric, some.counts.toarray(), some.ids, text)
        np.testing.assert_allclose(unifrac(branches, metric), expected, rtol=0, atol=EXACT)


def test_generalized_distances_follow_their_formula() -> None:
    rng = np.random.default_rng(0)
    text, ids = random_newick(rng, 20), tuple(f"t{i}" for i in range(20))
    branches = Branches.of(sparse.csr_matrix(random_counts(rng, 7, 20)), ids, parse_newick(text))
    shares = branches.shares(slice(0, 7)).T
    for alpha in (0.0, 0.5, 1.0):
        expected = np.zeros((7, 7))
        for i, p in enumerate(shares):
            for j, q in enumerate(shares):
                both = (p + q) > 0
                sums, unlike = (p + q)[both], np.abs(p - q)[both]
                weights = branches.lengths[both] * sums**alpha
                if weights.sum() > 0:
                    expected[i, j] = (weights * unlike / sums).sum() / weights.sum()
        own = unifrac(branches, "generalized", alpha=alpha)
        np.testing.assert_allclose(own, expected, rtol=0, atol=EXACT)
    np.testing.assert_allclose(own, unifrac(branches, "weighted_normalized"), rtol=0, atol=EXACT)


@pytest.mark.parametrize("metric", METRICS)
def test_blocks_memory_and_threads_change_nothing(metric: Metric, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(3)
    text, ids = random_newick(rng, 40), tuple(f"t{i}" for i in range(40))
    branches = Branches.of(sparse.csr_matrix(random_counts(rng, 50, 40)), ids, parse_newick(text))
    whole = unifrac(branches, metric, threads=1)
    monkeypatch.setattr(branches_module, "BLOCK_SAMPLES", 16)
    monkeypatch.setattr(distances_module, "KEPT_BYTES", 0)
    done: list[int] = []

    class Advance:
        def __enter__(self) -> Any:
            return done.append

        def __exit__(self, *_: object) -> None:
            pass

    parts = unifrac(branches, metric, threads=3, progress=lambda _: Advance())
    np.testing.assert_allclose(parts, whole, rtol=0, atol=EXACT)
    assert sum(done) == 50 * 50
    assert len(done) == (4 if metric == "unweighted" else 4 * 5 // 2)
    assert (parts == parts.T).all()
    assert (np.diagonal(parts) == 0).all()


def test_a_single_sample_has_one_distance() -> None:
    branches = Branches.of(sparse.csr_matrix([[1, 2]]), ("A", "B"), parse_newick("(A:1,B:1);"))
    for metric in METRICS:
        assert unifrac(branches, metric).tolist() == [[0.0]]


def test_features_without_a_tip_and_unknown_metrics_are_refused() -> None:
    tree = parse_newick("(A:1,B:1);")
    with pytest.raises(DataError, match=r"1 of 2 features of the table have no tip, such as 'C'"):
        Branches.of(sparse.csr_matrix([[1, 2]]), ("A", "C"), tree)
    branches = Branches.of(sparse.csr_matrix([[1, 2]]), ("A", "B"), tree)
    with pytest.raises(DataError, match="there are unweighted, weighted"):
        unifrac(branches, "bray")  # type: ignore[arg-type]  # which is what is tested
    with pytest.raises(DataError, match="alpha between 0 and 1"):
        unifrac(branches, "generalized", alpha=2)
