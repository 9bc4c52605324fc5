"""A generated study: a tree, sequences that follow it, and communities that follow a phenotype. Its answer is known.

Tree
    Random coalescence of 200 lineages with branch lengths from an exponential distribution: close relatives near the
    tips, deep splits near the root.
Sequences
    100 bases at the root, changed along the branches as by Jukes and Cantor (1969): what UniFrac sees in the tree can
    be read from the bases.
Subjects
    60 subjects with 4 samples each. Each subject has a phenotype x ~ N(0, 1), a site of its body (two kinds), and
    lineages of its own that all its samples share, which is why a random split of samples would be dishonest.
Communities
    The log-abundance of a lineage is drawn for the study; two clades follow the phenotype, one rising and one falling
    with x, and one follows the site. Subject and sample add noise. 1,000 reads are drawn for each sample.
Columns
    ``phenotype`` (x, seen with an error of 0.3), ``status`` (case where x > 0), ``site``, ``subject`` (the group).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy import sparse

from tabstar_lit.arrays import Float64, Int64
from tabstar_lit.data.conversion import fingerprint
from tabstar_lit.data.ragged import Ragged
from tabstar_lit.errors import DataError
from tabstar_lit.families.microbes.study.study import Classes, Study, read_fingerprint, write_study
from tabstar_lit.families.microbes.tables.tree import Tree
from tabstar_lit.families.microbes.unifrac.branches import Branches
from tabstar_lit.families.microbes.unifrac.distances import unifrac

VERSION = 1
"""Raise with every change of what is generated: files of another version are made again."""

N_LINEAGES, N_BASES, N_READS = 200, 100, 1000
N_SUBJECTS, SAMPLES_EACH = 60, 4
CLADE = (8, 40)
"""Lineages in a clade that follows something: at least and at most."""
EFFECT, SITE_EFFECT, SUBJECT_NOISE, SAMPLE_NOISE, PHENOTYPE_ERROR = 1.2, 1.5, 1.2, 0.6, 0.3


class _Grown(NamedTuple):
    """A tree with its sequences ``[T]`` and clades as ranges of tips ``[K, 2]``."""

    tree: Tree
    sequences: tuple[str, ...]
    clades: Int64


def generate(seed: int = 0, n_subjects: int = N_SUBJECTS) -> Study:
    """Generate a study.

    Parameters
    ----------
    seed : int
        Equal seeds give equal studies.
    n_subjects : int
        Each has :data:`SAMPLES_EACH` samples.
    """
    rng = np.random.default_rng([seed, 0])
    grown = _grow(rng)
    subjects = np.repeat(np.arange(n_subjects), SAMPLES_EACH)
    x, site = rng.normal(size=n_subjects), rng.integers(0, 2, n_subjects)
    counts = _communities(rng, grown, subjects, x, site)
    names = tuple(f"lineage_{i:03d}" for i in range(N_LINEAGES))
    branches = Branches.of(sparse.csr_matrix(counts), names, grown.tree)
    seen = x[subjects] + PHENOTYPE_ERROR * rng.normal(size=len(subjects))
    rows, columns = np.nonzero(counts)
    offsets = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=len(counts)))]).astype(np.int64)
    return Study(
        name="generated",
        sample_ids=tuple(f"subject_{s:02d}.{i % SAMPLES_EACH}" for i, s in enumerate(subjects)),
        asv_ids=names,
        sequences=grown.sequences,
        members=Ragged(columns.astype(np.int32), offsets),
        counts=counts[rows, columns],
        numbers={"phenotype": seen},
        classes={
            "status": Classes((x[subjects] > 0).astype(np.int32), ("control", "case")),
            "site": Classes(site[subjects].astype(np.int32), ("skin", "gut")),
            "subject": Classes(subjects.astype(np.int32), tuple(f"subject_{s:02d}" for s in range(n_subjects))),
        },
        group="subject",
        distances=unifrac(branches).astype(np.float32),
        faith_pd=branches.faith_pd(),
        made_from={"generated": VERSION, "seed": seed, "n_subjects": n_subjects, "unifrac": "unweighted"},
    )


def ensure_generated(path: Path) -> Path:
    """Return ``path`` once the generated study of this release lies there; fast when it does already.

    Raises
    ------
    DataError
        It cannot be written, or something else lies there.
    """
    wanted = identity()
    if path.exists() and (found := read_fingerprint(path)) != wanted:
        if not found.startswith("generated "):
            raise DataError(
                f"{path}: holds another study than the generated one that belongs there while dataset_config.study is "
                f"null. Move it, or train on it with dataset_config.study={path.name}"
            )
        path.unlink()
    if not path.exists():
        write_study(path, generate(), fingerprint=wanted)
    return path


def identity(**settings: Any) -> str:
    """Return the fingerprint of a generated study."""
    return f"generated {fingerprint({'version': VERSION, **settings})}"


def _grow(rng: np.random.Generator) -> _Grown:
    """Join lineages two by two, from the tips to the root; each node is a range of tips."""
    parts: list[list[int]] = [[i] for i in range(N_LINEAGES)]
    children: list[tuple[int, int]] = []
    alive = list(range(N_LINEAGES))
    while len(alive) > 1:
        left, right = (alive.pop(int(rng.integers(len(alive)))) for _ in range(2))
        children.append((left, right))
        alive.append(N_LINEAGES + len(children) - 1)
    n_nodes = N_LINEAGES + len(children)
    lengths = rng.exponential(0.03, n_nodes)
    lengths[-1] = 0.0  # above the root
    bases = np.empty((n_nodes, N_BASES), dtype=np.int64)
    bases[-1] = rng.integers(0, 4, N_BASES)
    for node in range(n_nodes - 1, N_LINEAGES - 1, -1):
        for child in children[node - N_LINEAGES]:
            changed = rng.random(N_BASES) < 0.75 * (1 - np.exp(-4 / 3 * lengths[child]))
            bases[child] = np.where(changed, (bases[node] + rng.integers(1, 4, N_BASES)) % 4, bases[node])
    for left, right in children:
        parts.append(parts[left] + parts[right])
    return _ordered(rng, parts, lengths, bases)


def _ordered(rng: np.random.Generator, parts: list[list[int]], lengths: Float64, bases: Int64) -> _Grown:
    """Give tips numbers so that those below a node are neighbours, and choose three clades."""
    order = parts[-1]
    place = np.empty(N_LINEAGES, dtype=np.int64)
    place[order] = np.arange(N_LINEAGES)
    first = np.array([place[part].min() for part in parts])
    end = first + np.array([len(part) for part in parts])
    tree = Tree(tuple(f"lineage_{i:03d}" for i in range(N_LINEAGES)), lengths, first, end, "the generated tree")
    letters = np.array(list("ACGT"))
    sequences = tuple("".join(letters[bases[tip]]) for tip in order)
    fitting = np.flatnonzero((end - first >= CLADE[0]) & (end - first <= CLADE[1]))
    chosen: list[int] = []
    for node in rng.permutation(fitting):
        if all(end[node] <= first[other] or end[other] <= first[node] for other in chosen):
            chosen.append(int(node))
    return _Grown(tree, sequences, np.stack([first[chosen[:3]], end[chosen[:3]]], axis=1))


def _communities(rng: np.random.Generator, grown: _Grown, subjects: Int64, x: Float64, site: Int64) -> Int64:
    """Return reads ``[N, T]``."""
    logs = rng.normal(0, 1.5, N_LINEAGES) + SUBJECT_NOISE * rng.normal(size=(len(x), N_LINEAGES))
    effects = (EFFECT * x, -EFFECT * x, SITE_EFFECT * (2 * site - 1))
    for (first, end), effect in zip(grown.clades.tolist(), effects, strict=True):
        logs[:, first:end] += effect[:, None]
    logs = logs[subjects] + SAMPLE_NOISE * rng.normal(size=(len(subjects), N_LINEAGES))
    shares = np.exp(logs)
    return rng.multinomial(N_READS, shares / shares.sum(axis=1, keepdims=True)).astype(np.int64)
