"""FT-Transformer, from "Revisiting Deep Learning Models for Tabular Data" (arXiv 2106.11959): features are tokens."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tabstar_lit.families.hep.architecture.flat import EventTransformerArchitecture
from tabstar_lit.families.hep.batch import Features, Inputs
from tabstar_lit.families.hep.networks.features import build_embedding
from tabstar_lit.nn.activations import make_activation
from tabstar_lit.nn.attention import MultiHeadAttention
from tabstar_lit.nn.embeddings import INITIAL_STD
from tabstar_lit.nn.feed_forward import PointwiseFeedForward
from tabstar_lit.nn.transformer import TransformerBlock


class EventTransformer(nn.Module):
    """Pre-norm transformer blocks over the features' tokens and a learned one, from which the answer is read.

    Parameters
    ----------
    config : EventTransformerArchitecture
        Its options.
    inputs : Inputs
        The features; objects are not read.
    output_dim : int
        Number of logits ``K``.
    """

    def __init__(self, config: EventTransformerArchitecture, inputs: Inputs, output_dim: int) -> None:
        super().__init__()
        width = config.embedding_dim
        self.embed = build_embedding(config.embeddings, config.post_embeddings, inputs.events, width, reduction="none")
        self.cls = nn.Parameter(torch.randn(1, width) * INITIAL_STD) if config.use_cls_token else None
        self.blocks = nn.ModuleList(_block(config, first=index == 0) for index in range(config.transformer_depth))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, output_dim)
        self.act_out = make_activation(config.act_out)

    def forward(self, features: Features) -> Tensor:
        """Return logits ``[B, K]``."""
        tokens: Tensor = self.embed(features.numerical, features.categorical)
        if self.cls is not None:
            tokens = torch.cat([self.cls.expand(tokens.shape[0], 1, -1), tokens], dim=1)
        for block in self.blocks:
            tokens = block(tokens)
        answer = tokens.mean(1) if self.cls is None else tokens[:, 0]
        logits: Tensor = self.act_out(self.head(self.norm(answer).relu()))
        return logits


def _block(config: EventTransformerArchitecture, *, first: bool) -> TransformerBlock:
    width = config.embedding_dim
    attention = MultiHeadAttention(
        width,
        config.heads,
        dim_head=config.dim_head,
        dropout=config.attn_dropout,
        kernels=config.sdp_backend.names if config.sdp_backend else (),
    )
    return TransformerBlock(
        attention,
        PointwiseFeedForward(width, width * config.ff_hidden_mult, act="GeGLU", dropout=config.ff_dropout),
        width,
        residual=not (first and config.remove_first_attn_residual),
        attention_norm=not (first and config.remove_first_attn_layernorm),
    )
