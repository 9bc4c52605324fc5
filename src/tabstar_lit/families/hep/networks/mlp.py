"""Multilayer perceptron over event features, on request an ensemble of them (TabM, arXiv 2410.24210)."""

from __future__ import annotations

from torch import Tensor, nn

from tabstar_lit.families.hep.architecture.flat import MLPKeys
from tabstar_lit.families.hep.batch import Features, Inputs
from tabstar_lit.families.hep.networks.features import FlatInput
from tabstar_lit.nn.activations import make_activation
from tabstar_lit.nn.feed_forward import FeedForward, linear


class MLP(nn.Module):
    """Embed or take the features as they are, then hidden layers and one output layer.

    Parameters
    ----------
    config : MLPKeys
        Its options.
    inputs : Inputs
        The features; objects are not read.
    output_dim : int
        Number of logits ``K``.
    """

    def __init__(self, config: MLPKeys, inputs: Inputs, output_dim: int) -> None:
        super().__init__()
        self.members = config.members
        self.features = FlatInput(config, inputs.events, config.embedding_dim or config.widths[0])
        self.layers = FeedForward(
            self.features.n_out,
            config.widths,
            act=config.act,
            act_kwargs=config.act_kwargs,
            batchnorm=config.batchnorm,
            dropout=config.dropout,
            members=self.members,
        )
        self.head = linear(self.layers.n_out, output_dim, self.members)
        self.act_out = make_activation(config.act_out)

    def forward(self, features: Features) -> Tensor:
        """Return logits ``[B, K]``; while an ensemble is trained, those of its members ``[B, M, K]``.

        In evaluation an ensemble returns the mean of its members' logits.
        """
        x = self.features(features)
        if self.members > 1:
            x = x[:, None].expand(-1, self.members, -1)
        logits: Tensor = self.act_out(self.head(self.layers(x)))
        return logits.mean(1) if self.members > 1 and not self.training else logits
