"""Set Transformer (arXiv 1810.00825) with the norms and clean skips of Set Transformer++ (arXiv 2206.11925)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tabstar_lit.families.hep.architecture.jagged import SetPredictor, SetTransformerArchitecture
from tabstar_lit.families.hep.batch import Features, Inputs
from tabstar_lit.families.hep.networks.objects import ObjectEmbedding, attention_of
from tabstar_lit.nn.activations import make_activation
from tabstar_lit.nn.feed_forward import FeedForward, PointwiseFeedForward
from tabstar_lit.nn.norms import PointNorm, SetNorm


def make_norm(config: SetTransformerArchitecture) -> SetNorm | PointNorm:
    """Build the norm of a set that the configuration asks for."""
    return SetNorm(config.embedding_dim) if config.use_setnorm else PointNorm(config.embedding_dim)


def make_feed_forward(config: SetTransformerArchitecture) -> PointwiseFeedForward:
    """Build the two layers that act on each vector by itself."""
    width = config.embedding_dim
    return PointwiseFeedForward(width, width * config.ff_hidden_mult, dropout=config.ff_dropout)


class SetAttentionBlock(nn.Module):
    """Vectors of a set attend to each other: ``h = x + attention(norm(x))``, then ``h + layers(norm(h))``.

    It is :class:`tabstar_lit.nn.transformer.TransformerBlock` under the names, and in the order, that its weights have
    in checkpoints.

    Parameters
    ----------
    config : SetTransformerArchitecture
        Sizes and norm.
    residual : bool
        Whether there is a skip around the attention.
    """

    def __init__(self, config: SetTransformerArchitecture, *, residual: bool = True) -> None:
        super().__init__()
        self.residual = residual
        self.norm_attention, self.norm_layers = make_norm(config), make_norm(config)
        self.attention = attention_of(config)
        self.layers = make_feed_forward(config)

    def forward(self, vectors: Tensor, mask: Tensor) -> Tensor:
        """Map ``[B, P, E]``, of which ``mask`` ``[B, P]`` says which are there, to the same shape."""
        attended = self.attention(self.norm_attention(vectors, mask), mask=mask)
        vectors = vectors + attended if self.residual else attended
        mapped: Tensor = vectors + self.layers(self.norm_layers(vectors, mask))
        return mapped


class PoolingByAttention(nn.Module):
    """Learned seeds attend to the set: ``k`` vectors from any number, and from none the seeds alone.

    Parameters
    ----------
    config : SetTransformerArchitecture
        Sizes and norm.
    seeds : int
        Number of vectors ``k``.
    """

    def __init__(self, config: SetTransformerArchitecture, seeds: int) -> None:
        super().__init__()
        self.seeds = nn.Parameter(torch.empty(seeds, config.embedding_dim))
        nn.init.xavier_uniform_(self.seeds)
        self.norm_objects, self.norm_layers = make_norm(config), nn.LayerNorm(config.embedding_dim)
        self.attention = attention_of(config)
        self.layers = make_feed_forward(config)

    def forward(self, vectors: Tensor, mask: Tensor) -> Tensor:
        """Pool ``[B, P, E]`` to ``[B, k, E]``."""
        seeds = self.seeds.expand(vectors.shape[0], -1, -1)
        pooled = seeds + self.attention(seeds, self.norm_objects(vectors, mask), mask=mask)
        mapped: Tensor = pooled + self.layers(self.norm_layers(pooled))
        return mapped


class SeedPredictor(nn.Module):
    """From the seeds ``[B, k, E]`` to the logits ``[B, K]``."""

    def __init__(self, config: SetPredictor, seeds: int, width: int, output_dim: int) -> None:
        super().__init__()
        self.mean_pooling = config.mean_pooling
        self.norm = nn.LayerNorm(width)
        self.hidden = FeedForward(
            width if config.mean_pooling else seeds * width, (width,) * config.depth, act=config.act
        )
        self.head = nn.Linear(self.hidden.n_out, output_dim)

    def forward(self, seeds: Tensor) -> Tensor:
        """Take their mean or put them side by side, then hidden layers and one output layer."""
        normed = self.norm(seeds)
        logits: Tensor = self.head(self.hidden(normed.mean(dim=1) if self.mean_pooling else normed.flatten(1)))
        return logits


class SetTransformer(nn.Module):
    """Attention among the objects, pooling by attention, attention among the pooled vectors, prediction.

    Parameters
    ----------
    config : SetTransformerArchitecture
        Its options.
    inputs : Inputs
        The features of objects and events.
    output_dim : int
        Number of logits ``K``.
    """

    def __init__(self, config: SetTransformerArchitecture, inputs: Inputs, output_dim: int) -> None:
        super().__init__()
        slots = sum(columns.max_objects for columns in inputs.objects.values())
        seeds = {"pooling": 1, "objects": len(inputs.objects), "particles": slots}[config.seed_strategy]
        self.objects = ObjectEmbedding(config, inputs, config.embedding_dim)
        self.encoder = nn.ModuleList(
            SetAttentionBlock(config, residual=index > 0 or not config.first_attn_no_residual)
            for index in range(config.encoder_depth)
        )
        self.pooling = PoolingByAttention(config, seeds)
        self.decoder = nn.ModuleList(SetAttentionBlock(config) for _ in range(config.decoder_depth))
        self.predictor = SeedPredictor(config.set_predictor, seeds, config.embedding_dim, output_dim)
        self.act_out = make_activation(config.act_out)

    def forward(self, features: Features) -> Tensor:
        """Return logits ``[B, K]``."""
        vectors, mask = self.objects(features)
        for block in self.encoder:
            vectors = block(vectors, mask)
        seeds = self.pooling(vectors, mask)
        everything = torch.ones_like(seeds[..., 0], dtype=torch.bool)
        for block in self.decoder:
            seeds = block(seeds, everything)
        logits: Tensor = self.act_out(self.predictor(seeds))
        return logits
