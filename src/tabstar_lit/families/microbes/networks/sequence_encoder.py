"""SequenceEncoder of Attention All Microbes (AAM, github.com/jbk708/aam): ASVs in, a vector of the sample out."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tabstar_lit.families.microbes.architecture import MicrobesArchitecture
from tabstar_lit.families.microbes.networks.asv_encoder import ASVEncoder
from tabstar_lit.families.microbes.networks.layers import Pooled, Pooling, Sizes
from tabstar_lit.families.microbes.networks.lineages import LineagePooling
from tabstar_lit.families.microbes.networks.sample_encoder import SampleEncoder
from tabstar_lit.families.microbes.networks.sample_vector import SampleVector
from tabstar_lit.families.microbes.study.batch import SampleBatch

SPARE_POSITIONS = 5
"""How many positions AAM learns beyond the most ASVs of a sample."""


@dataclass(slots=True)
class Encoded:
    """What an encoder says of ``B`` samples with up to ``S`` ASVs.

    Attributes
    ----------
    states : Tensor
        ``[B, S, D]`` each ASV in its sample.
    mask : Tensor
        ``[B, S]`` bool, True where there is an ASV.
    embedding : Tensor
        ``[B, D]`` the sample, or ``[B, K]`` its lineages.
    vector : Tensor
        ``[B, D]`` the sample, for heads and predictors: the embedding itself, unless that is of lineages.
    weights : Tensor
        ``[B, S]`` how much each ASV counts in the embedding.
    letters : Tensor or None
        ``[U, L, 7]`` scores of the letters, where asked for.
    faith_pd : Tensor or None
        ``[B]`` z-score of Faith's phylogenetic diversity.
    taxa : Tensor or None
        ``[B, T]`` logits of the shares of taxa.
    """

    states: Tensor
    mask: Tensor
    embedding: Tensor
    vector: Tensor
    weights: Tensor
    letters: Tensor | None = None
    faith_pd: Tensor | None = None
    taxa: Tensor | None = None


class SequenceEncoder(nn.Module):
    """An encoder of ASVs, one of samples, a second transformer over ASVs, pooling, and a head for each task.

    UniFrac has no head: distances between embeddings are what is learned. Where these are lineages that letters alone
    tell of, distances between vectors, which states of ASVs have a part in, are learned as well: else no state would
    learn. Each sequence of a batch is encoded once, however many samples have it, and nothing is padded beyond a batch.

    Parameters
    ----------
    config : MicrobesArchitecture
        Sizes, ``encoder_type`` and options.
    max_bases : int
        Length of the longest sequence, without START.
    n_taxa : int
        Number of taxa ``T``, for ``taxonomy`` and ``combined``.
    """

    def __init__(self, config: MicrobesArchitecture, *, max_bases: int, n_taxa: int = 0) -> None:
        super().__init__()
        width, given = config.embedding_dim, config.lineage_start == "linkage"
        sizes = Sizes(width, config.heads, config.dropout, config.gradient_checkpointing)
        self.asv_encoder = ASVEncoder(
            sizes,
            config.asv_layers,
            max_bases + 1,
            per_token=config.bases_per_token,
            at_once=config.asvs_at_once,
            n_lineages=config.lineages,
            given=given,
        )
        self.sample_encoder = SampleEncoder(
            sizes,
            config.sample_layers,
            counts=config.count_embedding,
            max_asvs=config.token_limit + SPARE_POSITIONS if config.compat else None,
        )
        self.encoder = None if given else sizes.transformer(config.encoder_layers)
        self.pooling = LineagePooling(width, config.lineages, given=given) if config.lineages else Pooling(width)
        self.vector = SampleVector(width, config.lineages) if config.sample_vector else None
        tasks, vector = config.encoder_type, width if config.sample_vector else config.lineages or width
        self.faith_pd = nn.Linear(vector, 1) if tasks in ("faith_pd", "combined") else None
        self.taxa = nn.Linear(vector, n_taxa) if tasks in ("taxonomy", "combined") and n_taxa else None

    def forward(self, batch: SampleBatch, hidden: Tensor | None = None, *, letters: bool = False) -> Encoded:
        """Encode samples.

        Parameters
        ----------
        batch : SampleBatch
            The samples.
        hidden : Tensor or None
            ``[U, L]`` bool, True where a base is not shown.
        letters : bool
            Whether the scores of letters are wanted.
        """
        sequences = self.asv_encoder(batch.sequences, hidden, letters=letters)
        mask = batch.asvs >= 0
        states = self.sample_states(sequences.vectors, batch, mask)
        read = states if self.encoder is None else self.encoder(states, mask)
        pooled = self._pooled(read, sequences.lineages, batch.asvs, mask)
        vector = pooled.vector if self.vector is None else self.vector(read, mask, pooled.vector)
        return Encoded(
            states,
            mask,
            pooled.vector,
            vector,
            pooled.weights,
            sequences.letters,
            None if self.faith_pd is None else self.faith_pd(vector).squeeze(-1),
            None if self.taxa is None else self.taxa(vector),
        )

    def _pooled(self, states: Tensor, lineages: Tensor | None, asvs: Tensor, mask: Tensor) -> Pooled:
        placed = () if lineages is None else (lineages, asvs)
        pooled: Pooled = self.pooling(states, *placed, mask)
        return pooled

    def sample_states(self, vectors: Tensor, batch: SampleBatch, mask: Tensor) -> Tensor:
        """Put vectors ``[U, D]`` of sequences into their samples: ``[B, S, D]``, what a predictor reads."""
        placed = torch.where(mask[..., None], vectors[batch.asvs.clamp(min=0)], 0.0)
        states: Tensor = self.sample_encoder(placed, batch.counts, mask)
        return states


class EncoderNetwork(nn.Module):
    """An encoder by itself, under the name that it has in a predictor."""

    def __init__(self, base: SequenceEncoder) -> None:
        super().__init__()
        self.base = base

    def forward(self, batch: SampleBatch, hidden: Tensor | None = None, *, letters: bool = False) -> Encoded:
        """Encode samples, see :meth:`SequenceEncoder.forward`."""
        encoded: Encoded = self.base(batch, hidden, letters=letters)
        return encoded
