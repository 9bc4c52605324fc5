"""SequencePredictor of Attention All Microbes (AAM, github.com/jbk708/aam): targets and counts from encoded ASVs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor, nn

from tabstar_lit.families.microbes.architecture import MicrobesArchitecture
from tabstar_lit.families.microbes.facts import StudyFacts
from tabstar_lit.families.microbes.networks.fusion import TargetBranch
from tabstar_lit.families.microbes.networks.heads import TargetHead
from tabstar_lit.families.microbes.networks.layers import EPS, Sizes
from tabstar_lit.families.microbes.networks.sequence_encoder import Encoded, SequenceEncoder
from tabstar_lit.families.microbes.networks.wide import WideReads
from tabstar_lit.families.microbes.study.batch import SampleBatch

MOMENTUM = 0.3
"""Of means and deviations of vectors over samples: studies are small, and an epoch has few steps."""


class Read(NamedTuple):
    """What a predictor reads of ``B`` encoded samples with up to ``S`` ASVs.

    Attributes
    ----------
    states : Tensor or None
        ``[B, S, D]`` each ASV in its sample; None where none is read.
    vector : Tensor or None
        ``[B, D]`` the sample; None where it is not read.
    weights : Tensor or None
        ``[B, S]`` how much each ASV counts in the embedding of its sample; None where a target branch tells.
    """

    states: Tensor | None = None
    vector: Tensor | None = None
    weights: Tensor | None = None


@dataclass(slots=True)
class Predicted:
    """What a predictor says of ``B`` samples with up to ``S`` ASVs.

    Attributes
    ----------
    target : Tensor
        ``[B, K]`` on the transformed scale, ``[B, K, Q]`` with quantiles; logits ``[B, K]`` of classes.
    counts : Tensor or None
        ``[B, S]`` from 0 to 1; None without a branch of counts.
    weights : Tensor or None
        ``[B, S]`` how much each ASV counts in the target; without a target branch, in the encoder's embedding.
    mask : Tensor
        ``[B, S]`` bool, True where there is an ASV.
    encoded : Encoded or None
        What the encoder says, where it was asked.
    """

    target: Tensor
    counts: Tensor | None
    weights: Tensor | None
    mask: Tensor
    encoded: Encoded | None = None


class SequencePredictor(nn.Module):
    """An encoder, a branch that gives back the counts and one that gives the target.

    By default it reads the ASVs as the encoder's sample encoder leaves them, not the vector of the sample; see
    ``predictor.reads``.

    Parameters
    ----------
    base : SequenceEncoder
        The encoder.
    config : MicrobesArchitecture
        Sizes, and ``predictor``.
    facts : StudyFacts
        Targets and categories.
    """

    def __init__(self, base: SequenceEncoder, config: MicrobesArchitecture, facts: StudyFacts) -> None:
        super().__init__()
        own, width = config.predictor, config.embedding_dim
        sizes = Sizes(width, config.heads, config.dropout, config.gradient_checkpointing)
        self.base = base
        reads_asvs = own.reads != "sample"
        # Vectors of samples have most in common: what is learned from is how they differ, over samples.
        self.standard = nn.BatchNorm1d(width, momentum=MOMENTUM) if own.reads != "asvs" else None
        self.count_transformer = sizes.transformer(own.count_layers) if own.count_layers else None
        self.count_head = nn.Linear(width, 1) if own.count_layers else None
        self.target_branch = TargetBranch(sizes, own, list(facts.categories.values())) if reads_asvs else None
        self.norm = nn.LayerNorm(width, eps=EPS) if reads_asvs else None
        names = list(facts.categories)
        self.scaled_by = None if own.category_scale is None else names.index(own.category_scale)
        scale = None if own.category_scale is None else facts.categories[own.category_scale]
        self.head = TargetHead(own, width, facts.n_outputs, scaled_by=scale)
        fitted = own.wide_weights == "fitted"
        self.wide = WideReads(facts.max_bases + 1, self.head.n_outputs, fitted=fitted) if own.wide else None
        if fitted or not reads_asvs:  # what a head at random says of few samples would have to be unlearned first
            self.head.begin_at_zero()

    def forward(self, batch: SampleBatch, hidden: Tensor | None = None, *, letters: bool = False) -> Predicted:
        """Predict, and return what the encoder says as well; see :meth:`SequenceEncoder.forward`."""
        encoded: Encoded = self.base(batch, hidden, letters=letters)
        predicted = self.predict(self._read(encoded), batch)
        predicted.encoded = encoded
        return predicted

    def read(self, batch: SampleBatch) -> Read:
        """Return all that is read of the encoder; what it makes of its states is not asked for where it is not read."""
        if self.standard is not None:
            return self._read(self.base(batch))
        vectors = self.base.asv_encoder(batch.sequences).vectors
        return Read(self.base.sample_states(vectors, batch, batch.asvs >= 0))

    def _read(self, encoded: Encoded) -> Read:
        reads_states = self.target_branch is not None or self.count_transformer is not None
        return Read(
            encoded.states if reads_states else None,
            None if self.standard is None else encoded.vector,
            encoded.weights if self.target_branch is None else None,
        )

    def predict(self, read: Read, batch: SampleBatch) -> Predicted:
        """Predict from what is read of the encoder."""
        mask, counts, weights, parts = batch.asvs >= 0, None, read.weights, []
        if self.count_transformer is not None and self.count_head is not None and read.states is not None:
            counts = self.count_head(self.count_transformer(read.states, mask)).squeeze(-1).sigmoid()
        if self.target_branch is not None:
            pooled = self.target_branch(read.states, mask, batch.categories)
            weights = pooled.weights
            parts.append(pooled.vector)
        if read.vector is not None and self.standard is not None:
            parts.append(self.standard(read.vector))
        codes = None if self.scaled_by is None else batch.categories[:, self.scaled_by]
        beside = None if self.wide is None else self.wide.out_of_fold(batch) if self.training else self.wide(batch)
        vector = sum(parts[1:], parts[0])
        target = self.head(vector if self.norm is None else self.norm(vector), codes, beside)
        return Predicted(target, counts, weights, mask)
