"""Operations that a training step on samples of microbes asks for: those of its transformers and of letters' scores."""

from __future__ import annotations

from torch import nn

from tabstar_lit.families.microbes.networks.layers import Transformer
from tabstar_lit.families.microbes.networks.sequence_encoder import EncoderNetwork
from tabstar_lit.families.microbes.networks.sequence_predictor import SequencePredictor
from tabstar_lit.families.microbes.study.batch import PAD, SampleBatch
from tabstar_lit.nn.flops import TRAINED, Cost, Number, attention_cost, linear_cost


class StepFlops:
    """Counts the operations of a network's training steps.

    Parameters
    ----------
    network : EncoderNetwork or SequencePredictor
        What is trained.
    frozen : bool
        Whether only what a predictor adds is trained, on states of the encoder that are remembered.
    """

    def __init__(self, network: EncoderNetwork | SequencePredictor, *, frozen: bool = False) -> None:
        base, encoder = network.base, network.base.asv_encoder
        self.per_token, self.frozen = encoder.per_token, frozen
        self.letters, self.scores = _cost(encoder.transformer), linear_cost(encoder.letter_scores)
        self.asvs = Cost() if frozen else _cost(base.sample_encoder.transformer) + _cost(base.encoder)
        if isinstance(network, SequencePredictor):
            self.asvs += _cost(network.count_transformer)
            # A perceiver's transformer meets few latents, and no ASV.
            self.asvs += _cost(getattr(network.target_branch, "transformer", None))

    def of(self, batch: SampleBatch, *, letters: bool = False) -> Number:
        """Return the operations of a step; ``letters``: hidden ones are told."""
        richness = (batch.asvs >= 0).sum(1)
        found = self.asvs.of(richness.sum(), richness.square().sum())
        if not self.frozen:
            lengths = ((batch.sequences != PAD).sum(1) + self.per_token - 1) // self.per_token
            read = self.letters + self.scores if letters else self.letters
            found += read.of(lengths.sum(), lengths.square().sum())
        return TRAINED * found


def _cost(transformer: nn.Module | None) -> Cost:
    """Return the cost of a forward pass through a transformer all of whose tokens see each other."""
    if not isinstance(transformer, Transformer):
        return Cost()
    (width,) = transformer.norm.normalized_shape
    return linear_cost(transformer) + attention_cost(width, len(transformer.layers))
