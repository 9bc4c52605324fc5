"""How categories of a sample (its site, sex, season) meet its ASVs."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from tabstar_lit.families.microbes.architecture import PredictorArchitecture
from tabstar_lit.families.microbes.networks.layers import EPS, Pooled, Pooling, Sizes
from tabstar_lit.nn.attention import MultiHeadAttention
from tabstar_lit.nn.masking import masked_mean

INITIAL_STD = 0.02
"""Of latents, and of the vector that stands for no category."""


class CategoryEmbedding(nn.Module):
    """A vector for each category of ``C`` columns; code 0, a category that is not known, has zeros.

    Parameters
    ----------
    sizes : sequence of int
        Known categories of each column.
    width : int
        Length ``W`` of a vector.
    """

    def __init__(self, sizes: Sequence[int], width: int) -> None:
        super().__init__()
        self.columns = nn.ModuleList(nn.Embedding(size + 1, width, padding_idx=0) for size in sizes)

    def forward(self, codes: Tensor) -> Tensor:
        """Map codes ``[B, C]`` to ``[B, C, W]``."""
        return torch.stack([own(code) for own, code in zip(self.columns, codes.unbind(1), strict=True)], dim=1)


class CategoryAttention(nn.Module):
    """ASVs attend to the categories of their sample, and to a learned vector that stands for none of them.

    With one key alone every weight would be 1, whatever the query: the further vector is what lets an ASV leave a
    category out.
    """

    def __init__(self, sizes: Sizes, category_dim: int) -> None:
        super().__init__()
        self.project = nn.Linear(category_dim, sizes.width)
        self.nothing = nn.Parameter(torch.randn(sizes.width) * INITIAL_STD)
        self.norm = nn.LayerNorm(sizes.width)
        self.attention = MultiHeadAttention(sizes.width, sizes.heads, dropout=sizes.dropout)

    def forward(self, states: Tensor, categories: Tensor) -> Tensor:
        """Map ``[B, S, D]`` and ``[B, C, W]`` to ``[B, S, D]``."""
        known = self.project(categories)
        keys = torch.cat([known, self.nothing.expand(len(known), 1, -1)], dim=1)
        attended: Tensor = self.attention(self.norm(states), keys)
        return states + attended


class GatedUnit(nn.Module):
    """``h + sigmoid(W [h, c]) tanh(V c)``: what categories add, as far as a gate lets them (GMU, arXiv 1702.01992)."""

    def __init__(self, width: int, category_width: int) -> None:
        super().__init__()
        self.gate = nn.Linear(width + category_width, width)
        self.value = nn.Linear(category_width, width)

    def forward(self, pooled: Tensor, categories: Tensor) -> Tensor:
        """Map ``[B, D]`` and ``[B, C W]`` to ``[B, D]``."""
        gate = self.gate(torch.cat([pooled, categories], dim=-1)).sigmoid()
        gated: Tensor = pooled + gate * self.value(categories).tanh()
        return gated


class Perceiver(nn.Module):
    """Latents that attend to the ASVs of a sample and to its categories (arXiv 2107.14795), and their mean.

    Padding is masked; the weight of an ASV is that of its attention, as a mean over latents and heads.
    """

    def __init__(self, sizes: Sizes, config: PredictorArchitecture, *, categories: bool) -> None:
        super().__init__()
        width = sizes.width
        self.latents = nn.Parameter(torch.randn(config.latents, width) * INITIAL_STD)
        self.project = nn.Linear(config.category_dim, width) if categories else None
        self.norm = nn.LayerNorm(width)
        self.attention = MultiHeadAttention(width, sizes.heads, dropout=sizes.dropout)
        self.transformer = sizes.transformer(config.latent_layers)
        self.out_norm = nn.LayerNorm(width, eps=EPS)

    def forward(self, states: Tensor, mask: Tensor, categories: Tensor | None) -> Pooled:
        """Pool ``[B, S, D]`` where ``mask`` ``[B, S]`` is True, with ``[B, C, W]`` of categories."""
        context, there = states, mask
        if self.project is not None and categories is not None:
            context = torch.cat([states, self.project(categories)], dim=1)
            there = torch.cat([mask, mask.new_ones(categories.shape[:2])], dim=1)
        latents = self.latents.expand(len(states), -1, -1)
        context = self.norm(context)
        latents = latents + self.attention(latents, context, mask=there)
        every = torch.ones(latents.shape[:2], dtype=torch.bool, device=latents.device)
        pooled = masked_mean(self.transformer(latents, every), every)
        return Pooled(self.out_norm(pooled), self._weights(context, there)[:, : states.shape[1]])

    @torch.no_grad()
    def _weights(self, context: Tensor, mask: Tensor) -> Tensor:
        """Return how much the latents attend to each token ``[B, P]``."""
        attention = self.attention
        query: Tensor = attention.query(self.latents[None]).unflatten(-1, (attention.heads, -1)).transpose(1, 2)
        key = attention.keys_values(context).key
        scores = (query @ key.transpose(-1, -2) / attention.dim_head**0.5).masked_fill(~mask[:, None, None], -torch.inf)
        weights: Tensor = scores.softmax(-1).nan_to_num().mean((1, 2))
        return weights


class TargetBranch(nn.Module):
    """From ASVs in their sample, with categories, to one vector.

    Parameters
    ----------
    sizes : Sizes
        Width, heads, dropout.
    config : PredictorArchitecture
        Layers and ``fusion``.
    categories : sequence of int
        Known categories of each column; without any there is no fusion.
    """

    def __init__(self, sizes: Sizes, config: PredictorArchitecture, categories: Sequence[int]) -> None:
        super().__init__()
        width, joined = sizes.width, config.category_dim * len(categories)
        self.fusion = config.fusion if categories or config.fusion == "perceiver" else "none"
        self.categories = CategoryEmbedding(categories, config.category_dim) if self._reads(categories) else None
        if self.fusion == "perceiver":
            self.perceiver = Perceiver(sizes, config, categories=bool(categories))
            return
        if self.fusion == "concat":
            self.join: nn.Module = nn.Linear(width + joined, width)
        elif self.fusion == "add":
            self.join = nn.Linear(joined, width)
        elif self.fusion == "cross_attention":
            self.join = CategoryAttention(sizes, config.category_dim)
        elif self.fusion == "gmu":
            self.join = GatedUnit(width, joined)
        self.transformer = sizes.transformer(config.target_layers)
        self.pooling = Pooling(width)

    def forward(self, states: Tensor, mask: Tensor, codes: Tensor) -> Pooled:
        """Pool ``[B, S, D]`` of a sample whose categories have ``codes`` ``[B, C]``."""
        categories = None if self.categories is None else self.categories(codes)
        if self.fusion == "perceiver":
            found: Pooled = self.perceiver(states, mask, categories)
            return found
        if categories is not None and self.fusion != "gmu":
            states = self._joined(states, categories)
        pooled: Pooled = self.pooling(self.transformer(states, mask), mask)
        if categories is None or self.fusion != "gmu":
            return pooled
        return pooled._replace(vector=self.join(pooled.vector, categories.flatten(1)))

    def _reads(self, categories: Sequence[int]) -> bool:
        return bool(categories) and self.fusion != "none"

    def _joined(self, states: Tensor, categories: Tensor) -> Tensor:
        """Bring categories ``[B, C, W]`` to every ASV."""
        joined: Tensor
        if self.fusion == "cross_attention":
            joined = self.join(states, categories)
            return joined
        flat = categories.flatten(1)[:, None]
        if self.fusion == "add":
            joined = states + self.join(flat)
            return joined
        joined = self.join(torch.cat([states, flat.expand(-1, states.shape[1], -1)], dim=-1))
        return joined
