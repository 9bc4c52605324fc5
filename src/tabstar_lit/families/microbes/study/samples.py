"""Samples of a study as batches: each sequence of a batch once, padded to what is in the batch and no further."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np
import torch
from torch.utils.data import Dataset

from tabstar_lit.arrays import Array, Float32, Float64, Int64
from tabstar_lit.data.plans import RowBatch
from tabstar_lit.data.ragged import Ragged
from tabstar_lit.data.tokenizers import LetterTokenizer
from tabstar_lit.errors import DataError
from tabstar_lit.families.microbes.study.batch import MASK, NO_ASV, PAD, START, A, C, G, SampleBatch, T
from tabstar_lit.families.microbes.study.study import Study

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Labels:
    """What is known of the samples beside their communities.

    Attributes
    ----------
    targets : NDArray
        ``[N, K]`` float32, or ``[N]`` int64.
    categories : NDArray of int64
        ``[N, C]``.
    groups : NDArray of int64
        ``[N]``.
    """

    targets: Array
    categories: Int64
    groups: Int64


def letters(max_bases: int | None) -> LetterTokenizer:
    """Return what turns sequences into ids; an N, a base nobody could read, is the MASK."""
    return LetterTokenizer(
        {"A": A, "C": C, "G": G, "T": T, "N": MASK},
        {"pad": PAD, "bos": START},
        max_tokens=None if max_bases is None else max_bases + 1,
        end=False,
    )


class SampleBatches(Dataset[SampleBatch]):
    """Turn rows of a study into a batch, with NumPy only.

    Parameters
    ----------
    study : Study
        With sequences.
    labels : Labels
        Of its samples.
    max_asvs : int, optional
        Keep the most abundant ASVs of a sample; the rest is counted in the log.
    max_bases : int, optional
        Cut sequences after this many bases.

    Raises
    ------
    DataError
        The study has no sequences, only ids.
    """

    def __init__(self, study: Study, labels: Labels, *, max_asvs: int | None, max_bases: int | None) -> None:
        if not study.sequences:
            raise DataError(
                f"the study '{study.name}' has ids of ASVs, such as {study.asv_ids[0]!r}, but not their sequences, "
                "which the network reads. Name a FASTA file under 'sequences' in the CONFIG that it is converted by."
            )
        self.study, self.labels = study, labels
        self.members, self.counts = _most_abundant(study, max_asvs)
        self.tokens = letters(max_bases).encode(study.sequences)
        if max_bases is not None and (longer := sum(len(own) > max_bases for own in study.sequences)):
            log.warning("%d of %d sequences are cut after %d bases.", longer, len(study.sequences), max_bases)
        self.shares = taxon_shares(study)

    @property
    def max_asvs(self) -> int:
        """Most ASVs that a sample has."""
        return int(self.members.lengths.max(initial=1))

    @property
    def max_bases(self) -> int:
        """Length of the longest sequence, without START."""
        return int(self.tokens.lengths.max(initial=2)) - 1

    def __getitem__(self, key: RowBatch) -> SampleBatch:
        """Return the batch of the rows that ``key`` names."""
        rows, study = np.asarray(key.rows), self.study
        asvs, lengths = self.members.padded(rows)
        absent = np.arange(asvs.shape[1]) >= lengths[:, None]
        unique, places = np.unique(asvs[~absent], return_inverse=True)
        index = np.full(asvs.shape, NO_ASV, dtype=np.int64)
        index[~absent] = places
        counts, _ = self.counts.padded(rows)
        sequences, _ = self.tokens.padded(unique)
        n_rows = len(rows)
        unknown = np.full((n_rows, n_rows), np.nan, dtype=np.float32)
        distances = unknown if study.distances is None else study.distances[np.ix_(rows, rows)]
        faith_pd = unknown[:, 0] if study.faith_pd is None else study.faith_pd[rows].astype(np.float32)
        return SampleBatch(
            source=study.name,
            sequences=torch.from_numpy(sequences.astype(np.int64)),
            asvs=torch.from_numpy(index),
            counts=torch.from_numpy(counts),
            distances=torch.from_numpy(distances),
            faith_pd=torch.from_numpy(faith_pd),
            taxonomy=None if self.shares is None else torch.from_numpy(self.shares[rows]),
            targets=torch.from_numpy(self.labels.targets[rows]),
            categories=torch.from_numpy(self.labels.categories[rows]),
            rows=torch.from_numpy(rows.astype(np.int64)),
            groups=torch.from_numpy(self.labels.groups[rows]),
        )


def taxon_shares(study: Study) -> Float32 | None:
    """Return the share of each sample's reads in each taxon, ``[N, X]``, NaN where none has one; None without taxa."""
    if study.asv_taxa is None:
        return None
    taxa = study.asv_taxa[study.members.flat]
    rows, known = np.repeat(np.arange(len(study)), study.members.lengths), taxa >= 0
    sums = np.zeros((len(study), len(study.taxa)))
    np.add.at(sums, (rows[known], taxa[known]), study.counts[known])
    totals = sums.sum(axis=1, keepdims=True)
    shares: Float64 = np.divide(sums, totals, out=np.full_like(sums, np.nan), where=totals > 0)
    return shares.astype(np.float32)


def _most_abundant(study: Study, max_asvs: int | None) -> tuple[Ragged, Ragged]:
    """Return the ASVs of each sample that are kept, int32, and their counts, float32."""
    members, counts = study.members, Ragged(study.counts.astype(np.float32), study.members.offsets)
    if max_asvs is None or not (members.lengths > max_asvs).any():
        return members, counts
    rows = np.repeat(np.arange(len(study)), members.lengths)
    order = np.lexsort((members.flat, -study.counts, rows))
    rank = np.arange(len(order)) - members.offsets[:-1][rows[order]]
    kept = np.sort(order[rank < max_asvs])
    lost = 1 - study.counts[kept].sum() / study.counts.sum()
    log.warning(
        "%d samples have more than %d ASVs; their most abundant are kept, which leaves out %.2g %% of all reads.",
        int((members.lengths > max_asvs).sum()),
        max_asvs,
        100 * lost,
    )
    offsets = np.concatenate([[0], np.cumsum(np.minimum(members.lengths, max_asvs))])
    return Ragged(members.flat[kept], offsets), Ragged(counts.flat[kept], offsets)
