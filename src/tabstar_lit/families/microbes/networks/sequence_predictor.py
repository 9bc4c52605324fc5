"""SequencePredictor of Attention All Microbes (AAM, github.com/jbk708/aam): targets and counts from encoded ASVs."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from tabstar_lit.families.microbes.architecture import MicrobesArchitecture
from tabstar_lit.families.microbes.facts import StudyFacts
from tabstar_lit.families.microbes.networks.fusion import TargetBranch
from tabstar_lit.families.microbes.networks.heads import TargetHead
from tabstar_lit.families.microbes.networks.layers import EPS, Sizes
from tabstar_lit.families.microbes.networks.sequence_encoder import Encoded, SequenceEncoder
from tabstar_lit.families.microbes.networks.wide import WideReads
from tabstar_lit.families.microbes.study.batch import SampleBatch


@dataclass(slots=True)
class Predicted:
    """What a predictor says of ``B`` samples with up to ``S`` ASVs.

    Attributes
    ----------
    target : Tensor
        ``[B, K]`` on the transformed scale, ``[B, K, Q]`` with quantiles; logits ``[B, K]`` of classes.
    counts : Tensor
        ``[B, S]`` from 0 to 1.
    weights : Tensor
        ``[B, S]`` how much each ASV counts in the target.
    mask : Tensor
        ``[B, S]`` bool, True where there is an ASV.
    encoded : Encoded or None
        What the encoder says, where it was asked.
    """

    target: Tensor
    counts: Tensor
    weights: Tensor
    mask: Tensor
    encoded: Encoded | None = None


class SequencePredictor(nn.Module):
    """An encoder, a branch that gives back the counts and one that gives the target.

    It reads the ASVs as the encoder's sample encoder leaves them, not the embedding of the sample.

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
        self.count_transformer = sizes.transformer(own.count_layers)
        self.count_head = nn.Linear(width, 1)
        self.target_branch = TargetBranch(sizes, own, list(facts.categories.values()))
        self.norm = nn.LayerNorm(width, eps=EPS)
        names = list(facts.categories)
        self.scaled_by = None if own.category_scale is None else names.index(own.category_scale)
        scale = None if own.category_scale is None else facts.categories[own.category_scale]
        self.head = TargetHead(own, width, facts.n_outputs, scaled_by=scale)
        fitted = own.wide_weights == "fitted"
        self.wide = WideReads(facts.max_bases + 1, self.head.n_outputs, fitted=fitted) if own.wide else None
        if fitted:
            self.head.begin_at_zero()

    def forward(self, batch: SampleBatch, hidden: Tensor | None = None, *, letters: bool = False) -> Predicted:
        """Predict, and return what the encoder says as well; see :meth:`SequenceEncoder.forward`."""
        encoded: Encoded = self.base(batch, hidden, letters=letters)
        predicted = self.predict(encoded.states, batch)
        predicted.encoded = encoded
        return predicted

    def states(self, batch: SampleBatch) -> Tensor:
        """Return all that is read of the encoder, ``[B, S, D]``."""
        vectors = self.base.asv_encoder(batch.sequences).vectors
        return self.base.sample_states(vectors, batch, batch.asvs >= 0)

    def predict(self, states: Tensor, batch: SampleBatch) -> Predicted:
        """Predict from states ``[B, S, D]`` of the encoder."""
        mask = batch.asvs >= 0
        counts = self.count_head(self.count_transformer(states, mask)).squeeze(-1).sigmoid()
        pooled = self.target_branch(states, mask, batch.categories)
        codes = None if self.scaled_by is None else batch.categories[:, self.scaled_by]
        beside = None if self.wide is None else self.wide(batch)
        return Predicted(self.head(self.norm(pooled.vector), codes, beside), counts, pooled.weights, mask)
