"""What one step of the microbes family gets: samples of a study, as tensors."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor

PAD, A, C, G, T, START, MASK = range(7)
"""Ids of the letters of a sequence."""

VOCABULARY_SIZE = 7
NO_ASV = -1
"""Stands in :attr:`SampleBatch.asvs` where a sample has no more sequences."""
NO_CLASS = -1
"""Stands in :attr:`SampleBatch.targets` where a class is missing."""


@dataclass(slots=True)  # not frozen: Lightning sets the fields of a copy when it casts a batch to double precision
class SampleBatch:
    """``B`` samples with up to ``S`` amplicon sequence variants (ASVs) each, of which ``U`` differ.

    Each sequence of the batch stands here once, however many samples have it. ``L`` and ``S`` are those of the longest
    sequence and of the richest sample in the batch.

    Attributes
    ----------
    source : str
        Name of the study.
    sequences : Tensor of int64
        ``[U, L]`` START, then bases; PAD after the end.
    asvs : Tensor of int64
        ``[B, S]`` row of ``sequences``; NO_ASV after the last ASV of a sample.
    counts : Tensor of float32
        ``[B, S]`` reads of each ASV; 0 where there is none.
    distances : Tensor of float32
        ``[B, B]`` UniFrac between the samples; NaN where unknown.
    faith_pd : Tensor of float32
        ``[B]`` Faith's phylogenetic diversity, in units of branch length; NaN where unknown.
    taxonomy : Tensor of float32 or None
        ``[B, X]`` share of a sample's reads in each of X taxa; None where the study has no taxonomy.
    targets : Tensor
        ``[B, K]`` float32 values on the target's own scale, NaN where missing, or ``[B]`` int64 class numbers, NO_CLASS
        where missing.
    categories : Tensor of int64
        ``[B, C]`` number of the category in each of C columns, from 1; 0 where missing or unseen in training.
    rows : Tensor of int64
        ``[B]`` number of each sample in the study.
    groups : Tensor of int64
        ``[B]`` number of the group (subject, house) of each sample.
    """

    source: str
    sequences: Tensor
    asvs: Tensor
    counts: Tensor
    distances: Tensor
    faith_pd: Tensor
    taxonomy: Tensor | None
    targets: Tensor
    categories: Tensor
    rows: Tensor
    groups: Tensor

    def __len__(self) -> int:
        """Return the number of samples ``B``."""
        return len(self.rows)

    def to(self, device: torch.device | str, non_blocking: bool = False) -> SampleBatch:
        """Return the batch with its tensors on ``device``."""
        moved: dict[str, Any] = {name: own.to(device, non_blocking=non_blocking) for name, own in self._tensors()}
        return replace(self, **moved)

    def pin_memory(self) -> SampleBatch:
        """Return the batch in page-locked memory; called by the loader under ``pin_memory: true``."""
        pinned: dict[str, Any] = {name: own.pin_memory() for name, own in self._tensors()}
        return replace(self, **pinned)

    def _tensors(self) -> list[tuple[str, Tensor]]:
        own = [(field.name, getattr(self, field.name)) for field in fields(self)]
        return [(name, value) for name, value in own if isinstance(value, Tensor)]
