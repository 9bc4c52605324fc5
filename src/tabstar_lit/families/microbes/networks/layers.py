"""What all networks of the family are made of: pre-norm transformers, and pooling by attention."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from tabstar_lit.nn.attention import MultiHeadAttention
from tabstar_lit.nn.feed_forward import PointwiseFeedForward
from tabstar_lit.nn.pooling import AttentionPooling
from tabstar_lit.nn.transformer import TransformerBlock

FEED_FORWARD = 4
"""Width inside a layer, in widths of a token."""
EPS = 1e-6
"""Of the norms that stand after a transformer and after a pooling."""


class Sizes(NamedTuple):
    """What all transformers of one network have in common.

    Attributes
    ----------
    width : int
        Length ``D`` of a vector.
    heads : int
        Heads of the attention.
    dropout : float
        Probability, in every layer.
    checkpointing : bool
        Whether layers are computed again in the backward pass.
    """

    width: int
    heads: int
    dropout: float = 0.0
    checkpointing: bool = False

    def transformer(self, layers: int) -> Transformer:
        """Return a transformer of so many layers."""
        return Transformer(self, layers)


class Transformer(nn.Module):
    """Pre-norm blocks with GELU and a norm at the end, as ``torch.nn.TransformerEncoder`` with ``norm_first``.

    Parameters
    ----------
    sizes : Sizes
        Width, heads, dropout.
    layers : int
        Number of blocks.
    """

    def __init__(self, sizes: Sizes, layers: int) -> None:
        super().__init__()
        width, dropout = sizes.width, sizes.dropout
        self.layers = nn.ModuleList(
            TransformerBlock(
                MultiHeadAttention(width, sizes.heads, dropout=dropout),
                PointwiseFeedForward(width, FEED_FORWARD * width, dropout=dropout),
                width,
                dropout=dropout,
            )
            for _ in range(layers)
        )
        self.norm = nn.LayerNorm(width, eps=EPS)
        self.checkpointing = sizes.checkpointing

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Map ``[B, T, D]`` to the same; ``mask`` ``[B, T]`` bool is True where there is a token."""
        for layer in self.layers:
            x = recompute(layer, x, mask) if self.checkpointing and self.training else layer(x, mask=mask)
        normed: Tensor = self.norm(x)
        return normed


def recompute(layer: Callable[..., Tensor], x: Tensor, mask: Tensor) -> Tensor:
    """Call ``layer(x, mask=mask)`` and keep nothing of what is inside (arXiv 1604.06174)."""
    result: Tensor = checkpoint(layer, x, mask=mask, use_reentrant=False)
    return result


class Pooled(NamedTuple):
    """The vector ``[B, D]`` of a set, and the weight ``[B, T]`` that each of its members had."""

    vector: Tensor
    weights: Tensor


class Pooling(nn.Module):
    """A weighted mean, with weights from a softmax over learned scores, and a norm."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.attention = AttentionPooling(width, scaled=True)
        self.norm = nn.LayerNorm(width, eps=EPS)

    def forward(self, tokens: Tensor, mask: Tensor) -> Pooled:
        """Pool ``[B, T, D]`` where ``mask`` ``[B, T]`` is True; of nothing comes the norm of zeros."""
        weights = self.attention.weights(tokens, mask)
        return Pooled(self.norm(self.attention.mean(tokens, weights, mask)), weights)
