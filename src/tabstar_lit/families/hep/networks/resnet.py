"""ResNet for tables, from "Revisiting Deep Learning Models for Tabular Data" (arXiv 2106.11959)."""

from __future__ import annotations

from torch import Tensor, nn

from tabstar_lit.families.hep.architecture.flat import ResNetArchitecture
from tabstar_lit.families.hep.batch import Features, Inputs
from tabstar_lit.families.hep.networks.features import FlatInput
from tabstar_lit.nn.activations import make_activation
from tabstar_lit.nn.feed_forward import BatchNorm, ResidualBlock


class ResNet(nn.Module):
    """Bring the features to the blocks' width, then residual blocks, then BatchNorm, activation and output layer.

    Parameters
    ----------
    config : ResNetArchitecture
        Its options.
    inputs : Inputs
        The features; objects are not read.
    output_dim : int
        Number of logits ``K``.
    """

    def __init__(self, config: ResNetArchitecture, inputs: Inputs, output_dim: int) -> None:
        super().__init__()
        width = config.n_hidden
        self.features = FlatInput(config, inputs.events, config.embedding_dim or width)
        # An embedding that was reduced to one vector of this width has been through a linear layer already.
        embedded = not config.disable_embeddings and self.features.n_out == width
        self.first = nn.Identity() if embedded else nn.Linear(self.features.n_out, width)
        self.blocks = nn.Sequential(
            *(
                ResidualBlock(
                    width,
                    hidden,
                    size=config.block_size,
                    act=config.act,
                    act_kwargs=config.act_kwargs,
                    batchnorm=config.batchnorm,
                    dropout=config.dropout,
                )
                for hidden in config.block_widths
            )
        )
        self.norm = BatchNorm(width) if config.batchnorm else nn.Identity()
        self.act = make_activation(config.act, config.act_kwargs)
        self.head = nn.Linear(width, output_dim)
        self.act_out = make_activation(config.act_out)

    def forward(self, features: Features) -> Tensor:
        """Return logits ``[B, K]``."""
        x = self.blocks(self.first(self.features(features)))
        logits: Tensor = self.act_out(self.head(self.act(self.norm(x))))
        return logits
