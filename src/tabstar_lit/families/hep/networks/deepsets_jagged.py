"""Deep Sets over objects (arXiv 1703.06114): the same layers for each object, the mean of each type, then layers."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

from tabstar_lit.families.hep.architecture.jagged import DeepSetsArchitecture
from tabstar_lit.families.hep.batch import Features, Inputs
from tabstar_lit.families.hep.networks.objects import ObjectEmbedding
from tabstar_lit.nn.activations import is_gated, make_activation
from tabstar_lit.nn.feed_forward import FeedForward
from tabstar_lit.nn.masking import masked_mean
from tabstar_lit.nn.norms import MaskedBatchNorm


class ObjectLayer(nn.Module):
    """Linear, batch norm over the valid objects, activation, dropout: ``[B, P, n_in]`` to ``[B, P, n_out]``."""

    def __init__(self, config: DeepSetsArchitecture, n_in: int, n_out: int) -> None:
        super().__init__()
        inner = 2 * n_out if is_gated(config.act) else n_out
        self.linear = nn.Linear(n_in, inner)
        self.norm = MaskedBatchNorm(inner) if config.batchnorm else None
        self.after = nn.Sequential(make_activation(config.act, config.act_kwargs), nn.Dropout(config.dropout))

    def forward(self, vectors: Tensor, mask: Tensor) -> Tensor:
        """Apply it to each object; ``mask`` ``[B, P]`` says which count for the statistics."""
        values = self.linear(vectors)
        mapped: Tensor = self.after(values if self.norm is None else self.norm(values, mask))
        return mapped


class DeepSets(nn.Module):
    """Layers over each object, a masked mean for each type of object, layers over the event.

    A type without objects has a learned vector for its mean.

    Parameters
    ----------
    config : DeepSetsArchitecture
        Its options.
    inputs : Inputs
        The features of objects and events.
    output_dim : int
        Number of logits ``K``.
    """

    def __init__(self, config: DeepSetsArchitecture, inputs: Inputs, output_dim: int) -> None:
        super().__init__()
        widths = [config.embedding_dim or config.encoder_widths[0], *config.encoder_widths]
        self.objects = ObjectEmbedding(config, inputs, widths[0])
        self.encoder = nn.ModuleList(ObjectLayer(config, a, b) for a, b in pairwise(widths))
        groups = len(inputs.objects) + self.objects.extra_slots
        self.empty = nn.Parameter(torch.zeros(groups, widths[-1]))
        self.mean_pooling = config.mean_pooling
        pooled = widths[-1] * (1 if config.mean_pooling else groups)
        self.decoder = FeedForward(
            pooled,
            config.decoder_widths,
            act=config.act,
            act_kwargs=config.act_kwargs,
            batchnorm=config.batchnorm,
            dropout=config.dropout,
        )
        self.head = nn.Linear(self.decoder.n_out, output_dim)
        self.act_out = make_activation(config.act_out)

    def forward(self, features: Features) -> Tensor:
        """Return logits ``[B, K]``."""
        vectors, mask = self.objects(features)
        for layer in self.encoder:
            vectors = layer(vectors, mask)
        logits: Tensor = self.act_out(self.head(self.decoder(self._pool(features, vectors, mask))))
        return logits

    def _pool(self, features: Features, vectors: Tensor, mask: Tensor) -> Tensor:
        """Mean of each type, then of these or side by side; the event's slot, where it has one, is a type."""
        slots = [1] * self.objects.extra_slots + [features.objects[name].mask.shape[1] for name in self.objects.types]
        masks = torch.split(mask, slots, dim=1)
        means = torch.stack(list(map(masked_mean, torch.split(vectors, slots, dim=1), masks)), dim=1)
        there = torch.stack([part.any(dim=1) for part in masks], dim=1)
        pooled = torch.where(there[..., None], means, self.empty)
        return pooled.mean(dim=1) if self.mean_pooling else pooled.flatten(1)
