"""Deep Sets (arXiv 1703.06114) over the set of an event's features."""

from __future__ import annotations

from torch import Tensor, nn

from tabstar_lit.families.hep.architecture.flat import DeepSetsKeys
from tabstar_lit.families.hep.batch import Features, Inputs
from tabstar_lit.families.hep.networks.features import build_embedding
from tabstar_lit.nn.activations import make_activation
from tabstar_lit.nn.feed_forward import FeedForward


class FlatDeepSets(nn.Module):
    """The same layers over the vector of each feature, their mean, and layers over that.

    Parameters
    ----------
    config : DeepSetsKeys
        Its options; embeddings are not reduced, whatever they say.
    inputs : Inputs
        The features; objects are not read.
    output_dim : int
        Number of logits ``K``.
    """

    def __init__(self, config: DeepSetsKeys, inputs: Inputs, output_dim: int) -> None:
        super().__init__()
        width = config.embedding_dim or config.encoder_widths[0]
        self.embed = build_embedding(config.embeddings, config.post_embeddings, inputs.events, width, reduction="none")
        self.encoder = _layers(config, width, config.encoder_widths)
        self.decoder = _layers(config, self.encoder.n_out, config.decoder_widths)
        self.head = nn.Linear(self.decoder.n_out, output_dim)
        self.act_out = make_activation(config.act_out)

    def forward(self, features: Features) -> Tensor:
        """Return logits ``[B, K]``."""
        tokens: Tensor = self.embed(features.numerical, features.categorical)
        encoded = self.encoder(tokens.flatten(0, 1)).view(*tokens.shape[:2], -1)
        logits: Tensor = self.act_out(self.head(self.decoder(encoded.mean(1))))
        return logits


def _layers(config: DeepSetsKeys, n_in: int, widths: tuple[int, ...]) -> FeedForward:
    return FeedForward(
        n_in,
        widths,
        act=config.act,
        act_kwargs=config.act_kwargs,
        batchnorm=config.batchnorm,
        dropout=config.dropout,
    )
