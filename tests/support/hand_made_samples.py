"""Samples of a microbiome made up for tests, and what networks need to know of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch

from tabstar_lit.arrays import Float32, Int64
from tabstar_lit.families.microbes.architecture import MicrobesArchitecture
from tabstar_lit.families.microbes.facts import StudyFacts
from tabstar_lit.families.microbes.study.batch import NO_ASV, PAD, START, SampleBatch

MAX_BASES = 12
CATEGORIES = {"site": 3, "sex": 2}
N_TAXA = 4


def a_batch(
    n_samples: int = 5,
    *,
    n_asvs: int = 9,
    seed: int = 0,
    kind: str = "regression",
    taxonomy: bool = False,
    n_targets: int = 2,
) -> SampleBatch:
    """Return samples of 2 and more ASVs, of different lengths; one target, one class and one distance are missing."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(MAX_BASES // 2, MAX_BASES + 1, n_asvs)
    lengths[0] = MAX_BASES
    sequences = np.full((n_asvs, MAX_BASES + 1), PAD)
    sequences[:, 0] = START
    for row, length in zip(sequences, lengths, strict=True):
        row[1 : length + 1] = rng.integers(1, 5, length)
    own = [rng.permutation(n_asvs)[: rng.integers(2, n_asvs)] for _ in range(n_samples)]
    widest = max(map(len, own))
    asvs = np.stack([np.pad(row, (0, widest - len(row)), constant_values=NO_ASV) for row in own])
    counts = np.where(asvs >= 0, rng.integers(1, 50, asvs.shape), 0)
    vectors = rng.normal(size=(n_samples, 3))
    distances = np.tanh(np.linalg.norm(vectors[:, None] - vectors, axis=-1) / 3)
    if n_samples > 2:
        distances[0, 1] = distances[1, 0] = np.nan
    targets: Any = rng.normal(size=(n_samples, n_targets)).astype(np.float32)
    targets[0, 0] = np.nan
    if kind == "classification":
        targets = rng.permutation(np.arange(n_samples) % 3)
        targets[0] = -1
    return SampleBatch(
        "made_up",
        torch.from_numpy(sequences),
        torch.from_numpy(asvs),
        torch.from_numpy(counts).float(),
        torch.from_numpy(distances).float(),
        torch.from_numpy(rng.uniform(1, 9, n_samples)).float(),
        torch.from_numpy(rng.dirichlet(np.ones(N_TAXA), n_samples)).float() if taxonomy else None,
        torch.from_numpy(targets),
        torch.from_numpy(np.stack([rng.integers(0, n + 1, n_samples) for n in CATEGORIES.values()], axis=1)),
        torch.arange(n_samples),
        torch.arange(n_samples) // 2,
    )


def some_facts(kind: str | None = "regression", **changes: Any) -> StudyFacts:
    """Return the facts of a study that batches of :func:`a_batch` could be of."""
    batch = a_batch(40, seed=1, kind=kind or "regression")
    facts: dict[str, Any] = {
        "max_bases": MAX_BASES,
        "max_asvs": 9,
        "kind": kind,
        "targets": ("age", "weight") if kind == "regression" else ("state",) if kind else (),
        "classes": ("low", "middle", "high") if kind == "classification" else (),
        "categories": CATEGORIES,
        "taxa": tuple(f"taxon {number}" for number in range(N_TAXA)),
        "train_targets": batch.targets.numpy() if kind == "classification" else batch.targets.double().numpy(),
        "train_categories": batch.categories.numpy(),
        "train_faith_pd": batch.faith_pd.double().numpy(),
        "train_counts_max": 50.0,
        "distances": looked_up(batch),
    }
    return StudyFacts(**(facts | changes))


def looked_up(batch: SampleBatch) -> Callable[[Int64], Float32]:
    """Return the distances of a batch by row."""
    whole = batch.distances.numpy()
    return lambda rows: whole[np.ix_(rows, rows)]


def small(**changes: Any) -> MicrobesArchitecture:
    """Return a network of one layer each, without dropout."""
    own = {"embedding_dim": 16, "heads": 2, "asv_layers": 1, "sample_layers": 1, "encoder_layers": 1, "dropout": 0.0}
    predictor = {
        "count_layers": 1,
        "target_layers": 1,
        "latents": 4,
        "latent_layers": 1,
        **changes.pop("predictor", {}),
    }
    return MicrobesArchitecture.model_validate({**own, **changes, "predictor": predictor}, strict=False)


def in_batches(batch: SampleBatch, size: int) -> Iterator[SampleBatch]:
    """Give the samples of a batch in smaller ones, trimmed to what each has."""
    for start in range(0, len(batch), size):
        yield chosen(batch, torch.arange(start, min(start + size, len(batch))))


def chosen(batch: SampleBatch, rows: torch.Tensor) -> SampleBatch:
    """Return some samples of a batch, with their own sequences and no padding that is not needed."""
    asvs = batch.asvs[rows]
    width = int((asvs >= 0).sum(1).max())
    asvs = asvs[:, :width]
    used, index = asvs.clamp(min=0).unique(return_inverse=True)
    return SampleBatch(
        batch.source,
        batch.sequences[used],
        torch.where(asvs >= 0, index, NO_ASV),
        batch.counts[rows][:, :width],
        batch.distances[rows][:, rows],
        batch.faith_pd[rows],
        None if batch.taxonomy is None else batch.taxonomy[rows],
        batch.targets[rows],
        batch.categories[rows],
        batch.rows[rows],
        batch.groups[rows],
    )
