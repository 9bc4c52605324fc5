"""Embeddings of tabular features, vectorised over features: numbers, categories, and their reduction to one vector.

Numbers follow "On Embeddings for Numerical Features in Tabular Deep Learning" (arXiv 2203.05556): feature ``f`` is
encoded as ``z_f`` with ``K`` entries (itself, or its place among bins) and becomes the vector ``z_f W_f + b_f``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from tabstar_lit.nn.activations import make_activation
from tabstar_lit.nn.feed_forward import BatchNorm
from tabstar_lit.nn.pooling import LinearReduction, make_reduction

INITIAL_STD = 0.02
LinearStart = Literal["normal", "uniform"]


class Identity(nn.Module):
    """Leaves numbers as they are: ``[..., F]`` to ``[..., F, 1]``."""

    n_bins = 1

    def forward(self, x: Tensor) -> Tensor:
        """Add the axis of the encoding."""
        return x[..., None]


class PiecewiseLinearEncoding(nn.Module):
    """Where a number lies among its feature's bins (arXiv 2203.05556): ``[..., F]`` to ``[..., F, K]``.

    Entry ``k`` is ``clip((x - e_k) / (e_{k+1} - e_k), 0, 1)``: numbers below all edges give zeros, numbers above ones.
    Edges that coincide are taken once; a feature without two different edges gives zeros. Features with fewer bins than
    ``K`` have zeros at the end.

    Parameters
    ----------
    edges : sequence of sequence of float
        Rising edges of each feature, on the values the network sees.
    uniform : bool
        Whether to put the inner edges at equal distances between the outermost.
    learned : bool
        Whether the widths of the bins and their start are trained; widths stay positive.
    """

    def __init__(self, edges: Sequence[Sequence[float]], *, uniform: bool = False, learned: bool = False) -> None:
        super().__init__()
        distinct = [torch.tensor(sorted(set(feature)), dtype=torch.float64) for feature in edges]
        if uniform:
            distinct = [e if len(e) < 2 else _equidistant(e) for e in distinct]
        self.n_bins = max(1, *(len(e) - 1 for e in distinct)) if distinct else 1
        start = torch.zeros(len(distinct))
        widths = torch.zeros(len(distinct), self.n_bins)
        for feature, e in enumerate(distinct):
            start[feature] = e[0] if len(e) else 0.0
            widths[feature, : max(len(e) - 1, 0)] = e.diff()
        self.register_buffer("is_bin", widths > 0)
        self.learned = learned
        if learned:
            self.start = nn.Parameter(start)
            self.log_widths = nn.Parameter(torch.where(widths > 0, widths, 1.0).log())
        else:
            lower = start[:, None] + functional.pad(widths, (1, 0)).cumsum(-1)[:, :-1]
            scale = torch.where(widths > 0, 1.0 / widths, 0.0)
            self.register_buffer("scale", scale)
            self.register_buffer("shift", -lower * scale)

    def forward(self, x: Tensor) -> Tensor:
        """Encode scaled numbers."""
        if self.learned:
            is_bin: Tensor = self.get_buffer("is_bin")
            widths = torch.where(is_bin, self.log_widths.exp(), 0.0)
            lower = self.start[:, None] + widths.cumsum(-1) - widths
            scale = torch.where(is_bin, torch.exp(-self.log_widths), 0.0)
            shift = -lower * scale
        else:
            scale, shift = self.get_buffer("scale"), self.get_buffer("shift")
        return torch.addcmul(shift, x[..., None], scale).clamp(0.0, 1.0)


class NumericalEmbedding(nn.Module):
    """A vector ``act(z_f W_f + b_f)`` for each number: ``[..., F]`` to ``[..., F, E]``, in one product.

    Parameters
    ----------
    n_features : int
        Number of features ``F``.
    width : int
        Length ``E`` of a vector.
    encoding : nn.Module or None
        Makes ``z``, such as :class:`PiecewiseLinearEncoding`; None: the number itself.
    start : {"normal", "uniform"}
        Initial weights: small and normal, or as ``nn.Linear(K, E)`` has them.
    shared : bool
        Whether all features have the same weight and bias.
    activation : nn.Module or None
        What follows; None leaves the embedding linear.
    """

    def __init__(
        self,
        n_features: int,
        width: int,
        *,
        encoding: Identity | PiecewiseLinearEncoding | None = None,
        start: LinearStart = "normal",
        shared: bool = False,
        activation: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.n_features = n_features
        self.encoding = encoding or Identity()
        n_bins = self.encoding.n_bins
        self.weight = nn.Parameter(torch.empty(1 if shared else n_features, n_bins, width))
        self.bias = nn.Parameter(torch.empty(1 if shared else n_features, width))
        self.activation = activation
        for parameter in (self.weight, self.bias):
            if start == "normal":
                nn.init.normal_(parameter, std=INITIAL_STD)
            else:
                nn.init.uniform_(parameter, -1.0 / math.sqrt(n_bins), 1.0 / math.sqrt(n_bins))

    def affine(self) -> tuple[Tensor, Tensor]:
        """Return ``W`` ``[F, K, E]`` and ``b`` ``[F, E]``."""
        return self.weight.expand(self.n_features, -1, -1), self.bias.expand(self.n_features, -1)

    def forward(self, x: Tensor) -> Tensor:
        """Embed scaled numbers."""
        weight, bias = self.affine()
        encoded = self.encoding(x)
        if self.encoding.n_bins == 1:  # an outer product: no matrix to multiply by
            tokens = torch.addcmul(bias, encoded, weight.squeeze(1))
        else:
            tokens = torch.einsum("...fk,fke->...fe", encoded, weight) + bias
        return tokens if self.activation is None else self.activation(tokens)


class CategoricalEmbedding(nn.Module):
    """One table with the vectors of all codes of all categorical features: ``[..., C]`` to ``[..., C, E]``."""

    def __init__(self, cardinalities: Sequence[int], width: int, *, start: LinearStart = "normal") -> None:
        super().__init__()
        sizes = torch.tensor(list(cardinalities), dtype=torch.long)
        self.register_buffer("offsets", sizes.cumsum(0) - sizes, persistent=False)
        self.table = nn.Embedding(sum(cardinalities), width)
        nn.init.normal_(self.table.weight, std=INITIAL_STD) if start == "normal" else nn.init.uniform_(
            self.table.weight, -1.0, 1.0
        )

    def forward(self, codes: Tensor) -> Tensor:
        """Look the codes up; those of each feature start at 0."""
        embedded: Tensor = self.table(codes + self.get_buffer("offsets"))
        return embedded


class TokenBatchNorm(BatchNorm):
    """BatchNorm of the entries of vectors ``[..., E]`` over all other axes."""

    def forward(self, x: Tensor) -> Tensor:
        """Normalise, same shape."""
        return super().forward(x.flatten(0, -2)).view_as(x)


class FeatureEmbedding(nn.Module):
    """Numbers and categories as vectors, what follows them, and their reduction.

    Where everything from number to reduced vector is linear, it is computed as one matrix product; the ``F`` vectors of
    an event are never made. This is exact up to rounding.

    Parameters
    ----------
    numerical : NumericalEmbedding or None
        None when there are no numbers.
    categorical : CategoricalEmbedding or None
        None when there are no categories.
    post : nn.Module or None
        Applied to all vectors ``[..., F + C, E]`` before the reduction.
    width : int
        Length ``E`` of a vector.
    reduction : str
        See :func:`tabstar_lit.nn.pooling.make_reduction`; ``none`` keeps the vectors.

    Attributes
    ----------
    n_tokens : int
        Number of features ``F + C``.
    width : int
        Length of a vector.
    fused : bool
        Whether numbers take the short way.
    """

    def __init__(
        self,
        numerical: NumericalEmbedding | None,
        categorical: CategoricalEmbedding | None,
        *,
        width: int,
        reduction: str = "mean",
        post: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.numerical, self.categorical, self.post = numerical, categorical, post
        n_categorical = 0 if categorical is None else len(categorical.get_buffer("offsets"))
        self.n_tokens = (0 if numerical is None else numerical.n_features) + n_categorical
        self.width = width
        self.reduction = make_reduction(reduction, self.n_tokens, width)
        linear = numerical is not None and numerical.activation is None and post is None
        self.fused = linear and isinstance(self.reduction, LinearReduction)

    def forward(self, numerical: Tensor, categorical: Tensor) -> Tensor:
        """Map numbers ``[..., F]`` and codes ``[..., C]`` to ``[..., E]``, or ``[..., F + C, E]`` unreduced."""
        if self.fused:
            return self._fused(numerical, categorical)
        reduced: Tensor = self.reduction(self.tokens(numerical, categorical))
        return reduced

    def tokens(self, numerical: Tensor, categorical: Tensor) -> Tensor:
        """Return the vectors before the reduction, ``[..., F + C, E]``."""
        parts = [] if self.numerical is None else [self.numerical(numerical)]
        parts += [] if self.categorical is None else [self.categorical(categorical)]
        tokens = torch.cat(parts, dim=-2) if len(parts) > 1 else parts[0]
        return tokens if self.post is None else self.post(tokens)

    def _fused(self, numerical: Tensor, categorical: Tensor) -> Tensor:
        """Multiply the encoded numbers by weights that hold the reduction already."""
        if self.numerical is None or not isinstance(self.reduction, LinearReduction):
            raise TypeError("only numbers under a linear reduction can be fused")
        weight, bias = self.numerical.affine()
        rows = self.reduction.fold(torch.cat([weight, bias[:, None]], dim=1))
        matrix, constant = rows[:, :-1].flatten(0, 1), rows[:, -1].sum(0)
        extra = self.reduction.constant()
        constant = constant if extra is None else constant + extra
        reduced = functional.linear(self.numerical.encoding(numerical).flatten(-2), matrix.T, constant)
        if self.categorical is None:
            return reduced
        tokens = self.categorical(categorical)
        return reduced + self.reduction.contract(tokens, self.numerical.n_features)


def post_embedding(
    width: int, *, act: str | None = None, layernorm: bool = False, batchnorm: bool = False, dropout: float = 0.0
) -> nn.Module | None:
    """Build what follows the vectors ``[..., T, width]``: a normalisation, an activation, dropout; None for nothing."""
    layers: list[nn.Module] = []
    if layernorm:
        layers.append(nn.LayerNorm(width))
    if batchnorm:
        layers.append(TokenBatchNorm(width))
    if act is not None:
        layers.append(make_activation(act))
    if dropout > 0:
        layers.append(nn.Dropout(dropout))
    return nn.Sequential(*layers) if layers else None


def _equidistant(edges: Tensor) -> Tensor:
    return torch.linspace(float(edges[0]), float(edges[-1]), len(edges), dtype=edges.dtype)
