"""What networks, losses and figures need to know of a study, without the study itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from tabstar_lit.arrays import Array, Float32, Float64, Int64

Kind = Literal["regression", "classification"]
Lookup = Callable[[Int64], Float32]
"""From rows ``[n]`` of the study to the UniFrac distances ``[n, n]`` of all their pairs; NaN where unknown."""

VOCABULARY = ("max_bases", "max_asvs", "kind", "targets", "classes", "categories", "taxa", "train_counts_max")
"""What a checkpoint keeps."""


@dataclass(frozen=True)
class StudyFacts:
    """Sizes and vocabularies of a study, and what is fitted on its training samples.

    Attributes
    ----------
    max_bases : int
        Length of the longest sequence, without START.
    max_asvs : int
        Most ASVs that a sample has.
    kind : str or None
        What the targets are; None where there are none.
    targets : tuple of str
        ``K`` columns of the metadata that are predicted: one of classes, or several of numbers.
    classes : tuple of str
        Their names by number.
    categories : Mapping of str to int
        ``C`` columns of categories -> how many training samples have; their codes are from 1, and 0 is any other.
    taxa : tuple of str
        ``T`` names of taxa; empty where there is no taxonomy.
    group_names : tuple of str
        Names of the groups (subjects, houses) by number.
    train_rows : ndarray of int64
        ``[N]`` training samples, as rows of the study, ascending.
    train_targets : ndarray
        ``[N, K]`` float64 on their own scale, NaN where missing; for classes ``[N]`` int64, -1 where missing.
    train_categories : ndarray of int64
        ``[N, C]``.
    train_faith_pd : ndarray of float64
        ``[N]``.
    train_counts_max : float
        Largest count of an ASV in a training sample.
    metadata : Mapping of str to Sequence of str
        Columns of the whole study, by row, for the colours of figures; empty text is missing.
    distances : Lookup or None
        UniFrac by row; None: nothing is known of it.
    fixed : bool
        Whether a sample is the same in all epochs.
    """

    max_bases: int
    max_asvs: int
    kind: Kind | None = None
    targets: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    categories: Mapping[str, int] = field(default_factory=dict)
    taxa: tuple[str, ...] = ()
    group_names: tuple[str, ...] = ()
    train_rows: Int64 = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    train_targets: Array = field(default_factory=lambda: np.zeros((0, 0)))
    train_categories: Int64 = field(default_factory=lambda: np.zeros((0, 0), dtype=np.int64))
    train_faith_pd: Float64 = field(default_factory=lambda: np.zeros(0))
    train_counts_max: float = 1.0
    metadata: Mapping[str, Sequence[str]] = field(default_factory=dict)
    distances: Lookup | None = None
    fixed: bool = True

    @property
    def n_outputs(self) -> int:
        """Number of values that are predicted for a sample: classes, or columns of numbers."""
        return len(self.classes) if self.kind == "classification" else len(self.targets)

    def to_plain(self) -> dict[str, Any]:
        """Return sizes and vocabularies, which a checkpoint keeps."""
        plain = {name: getattr(self, name) for name in VOCABULARY}
        return plain | {"categories": dict(self.categories)}

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> StudyFacts:
        """Return what a checkpoint kept."""
        values: dict[str, Any] = {name: tuple(own) if isinstance(own, list) else own for name, own in plain.items()}
        return cls(**values)
