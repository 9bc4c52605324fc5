"""Particle Transformer (arXiv 2202.03772): attention between objects, steered by the physics of each pair."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tabstar_lit.families.hep.architecture.jagged import ParticleTransformerArchitecture
from tabstar_lit.families.hep.batch import Features, Inputs
from tabstar_lit.families.hep.networks.objects import ObjectEmbedding, attention_of
from tabstar_lit.families.hep.networks.pairwise import PairwiseBias
from tabstar_lit.nn.activations import make_activation


class PointwiseLayers(nn.Sequential):
    """The second half of a block: norm, linear, GELU, norm, linear; the inner norm follows NormFormer (2110.09456)."""

    def __init__(self, config: ParticleTransformerArchitecture) -> None:
        width, hidden = config.embedding_dim, config.embedding_dim * config.ff_hidden_mult
        super().__init__(
            nn.LayerNorm(width),
            nn.Linear(width, hidden),
            nn.GELU(),
            nn.Dropout(config.ff_dropout),
            nn.LayerNorm(hidden),
            nn.Linear(hidden, width),
            nn.Dropout(config.ff_dropout),
        )


class ParticleBlock(nn.Module):
    """Objects attend to each other with a bias for each pair (the paper's figure 3b).

    Parameters
    ----------
    config : ParticleTransformerArchitecture
        Sizes.
    residual : bool
        Whether there is a skip around the attention.
    """

    def __init__(self, config: ParticleTransformerArchitecture, *, residual: bool = True) -> None:
        super().__init__()
        self.residual = residual
        self.norm_before, self.norm_after = nn.LayerNorm(config.embedding_dim), nn.LayerNorm(config.embedding_dim)
        self.attention = attention_of(config)
        self.layers = PointwiseLayers(config)

    def forward(self, vectors: Tensor, mask: Tensor | None, bias: Tensor | None) -> Tensor:
        """Map ``[B, P, E]`` to the same shape; ``mask`` ``[B, P]`` is None where ``bias`` ``[B, H, P, P]`` has it."""
        attended = self.norm_after(self.attention(self.norm_before(vectors), mask=mask, bias=bias))
        vectors = vectors + attended if self.residual else attended
        mapped: Tensor = vectors + self.layers(vectors)
        return mapped


class ClassBlock(nn.Module):
    """The class token reads the objects and itself; the objects stay as they are (the paper's figure 3c)."""

    def __init__(self, config: ParticleTransformerArchitecture) -> None:
        super().__init__()
        self.norm_before, self.norm_after = nn.LayerNorm(config.embedding_dim), nn.LayerNorm(config.embedding_dim)
        self.attention = attention_of(config)
        self.layers = PointwiseLayers(config)

    def forward(self, token: Tensor, vectors: Tensor, mask: Tensor) -> Tensor:
        """Update the token ``[B, 1, E]`` from objects ``[B, P, E]``; ``mask`` ``[B, 1 + P]`` begins with itself."""
        context = self.norm_before(torch.cat([token, vectors], dim=1))
        token = token + self.norm_after(self.attention(context[:, :1], context, mask=mask))
        mapped: Tensor = token + self.layers(token)
        return mapped


class ParticleTransformer(nn.Module):
    """Particle blocks with pairwise bias, class blocks, and a head on the class token.

    The bias is computed once per forward pass and serves all particle blocks. An event without objects leaves the
    class token alone with itself.

    Parameters
    ----------
    config : ParticleTransformerArchitecture
        Its options.
    inputs : Inputs
        The features of objects and events.
    output_dim : int
        Number of logits ``K``.
    """

    def __init__(self, config: ParticleTransformerArchitecture, inputs: Inputs, output_dim: int) -> None:
        super().__init__()
        width = config.embedding_dim
        self.objects = ObjectEmbedding(config, inputs, width)
        attention = config.particle_attention
        self.bias = None if attention is None else PairwiseBias(attention, tuple(inputs.objects), config.heads)
        self.particle_blocks = nn.ModuleList(
            ParticleBlock(config, residual=index > 0 or not config.first_attn_no_residual)
            for index in range(config.particle_blocks)
        )
        self.class_token = nn.Parameter(torch.empty(1, 1, width))
        nn.init.trunc_normal_(self.class_token, std=0.02)
        self.class_blocks = nn.ModuleList(ClassBlock(config) for _ in range(config.class_blocks))
        self.head = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width), nn.GELU(), nn.Linear(width, output_dim))
        self.act_out = make_activation(config.act_out)

    def forward(self, features: Features) -> Tensor:
        """Return logits ``[B, K]``."""
        vectors, mask = self.objects(features)
        bias = self._bias(features, mask)
        for block in self.particle_blocks:
            vectors = block(vectors, mask if bias is None else None, bias)
        token = self.class_token.expand(vectors.shape[0], -1, -1)
        readable = torch.cat([torch.ones_like(mask[:, :1]), mask], dim=1)
        for block in self.class_blocks:
            token = block(token, vectors, readable)
        logits: Tensor = self.act_out(self.head(token.squeeze(1)))
        return logits

    def _bias(self, features: Features, mask: Tensor) -> Tensor | None:
        """Pairwise bias ``[B, H, P, P]`` with the mask in it, so that blocks need not apply it one by one.

        It is 0 for the slot of the event, if there is one in front of the objects. In an event without anything, slots
        may attend to each other: nothing reads them.
        """
        if self.bias is None:
            return None
        extra = self.objects.extra_slots
        bias: Tensor = self.bias(features.objects, mask[:, extra:])
        bias = nn.functional.pad(bias, (extra, 0, extra, 0)) if extra else bias
        allowed = mask | ~mask.any(dim=1, keepdim=True)
        return bias.masked_fill(~allowed[:, None, None, :], float("-inf"))
