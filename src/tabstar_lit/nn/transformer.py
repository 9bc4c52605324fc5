"""Pre-norm blocks of transformers (arXiv 2002.04745): of tokens, and of tokens that also read a source."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from tabstar_lit.nn.attention import MultiHeadAttention
from tabstar_lit.nn.cache import KeyValue, KeyValueCache
from tabstar_lit.nn.norms import SetNorm
from tabstar_lit.nn.positions import Rotation


class TransformerBlock(nn.Module):
    """``x + attention(norm(x))``, then ``x + feed_forward(norm(x))``.

    Parameters
    ----------
    attention : MultiHeadAttention
        Its attention.
    feed_forward : nn.Module
        ``[..., E]`` to ``[..., E]``, such as :class:`tabstar_lit.nn.feed_forward.PointwiseFeedForward`.
    width : int
        Length ``E`` of a token.
    norm : callable
        Makes a norm of the width: ``nn.LayerNorm``, or another of :mod:`tabstar_lit.nn.norms`.
    dropout : float
        Probability, at the end of both branches.
    residual : bool
        Whether there is a skip around the attention.
    attention_norm : bool
        Whether there is a norm before the attention.
    zero_output : bool
        Whether the last layer of each branch starts at zero, so that the block starts as the identity.
    """

    def __init__(
        self,
        attention: MultiHeadAttention,
        feed_forward: nn.Module,
        width: int,
        *,
        norm: Callable[[int], nn.Module] = nn.LayerNorm,
        dropout: float = 0.0,
        residual: bool = True,
        attention_norm: bool = True,
        zero_output: bool = False,
    ) -> None:
        super().__init__()
        self.attention, self.feed_forward, self.residual = attention, feed_forward, residual
        self.attention_norm = norm(width) if attention_norm else nn.Identity()
        self.feed_forward_norm = norm(width)
        self.dropout = nn.Dropout(dropout)
        if zero_output:
            start_at_zero(attention)
            start_at_zero(feed_forward)

    def forward(
        self,
        x: Tensor,
        *,
        mask: Tensor | None = None,
        bias: Tensor | None = None,
        causal: bool = False,
        rotation: Rotation | None = None,
        cache: KeyValueCache | None = None,
    ) -> Tensor:
        """Map ``[B, T, E]`` to the same shape; see :meth:`MultiHeadAttention.forward` for the rest.

        With :class:`tabstar_lit.nn.norms.SetNorm` the mask is ``[B, T]``, and neither order nor cache make sense.
        """
        normed = _normed(self.attention_norm, x, mask)
        attended = self.dropout(
            self.attention(normed, mask=mask, bias=bias, causal=causal, rotation=rotation, cache=cache)
        )
        x = x + attended if self.residual else attended
        changed: Tensor = x + self.dropout(self.feed_forward(_normed(self.feed_forward_norm, x, mask)))
        return changed


class DecoderBlock(nn.Module):
    """A block that also reads a source: attention to the tokens before, to the source, then the feed-forward part.

    Parameters
    ----------
    attention, cross_attention : MultiHeadAttention
        To the tokens and to the source.
    feed_forward, width, norm, dropout, zero_output
        As of :class:`TransformerBlock`.
    """

    def __init__(
        self,
        attention: MultiHeadAttention,
        cross_attention: MultiHeadAttention,
        feed_forward: nn.Module,
        width: int,
        *,
        norm: Callable[[int], nn.Module] = nn.LayerNorm,
        dropout: float = 0.0,
        zero_output: bool = False,
    ) -> None:
        super().__init__()
        self.attention, self.cross_attention, self.feed_forward = attention, cross_attention, feed_forward
        self.attention_norm, self.cross_attention_norm, self.feed_forward_norm = norm(width), norm(width), norm(width)
        self.dropout = nn.Dropout(dropout)
        if zero_output:
            for branch in (attention, cross_attention, feed_forward):
                start_at_zero(branch)

    def forward(
        self,
        x: Tensor,
        source: Tensor | KeyValue,
        *,
        mask: Tensor | None = None,
        source_mask: Tensor | None = None,
        rotation: Rotation | None = None,
        cache: KeyValueCache | None = None,
    ) -> Tensor:
        """Map tokens ``[B, T, E]`` to the same shape.

        Parameters
        ----------
        x : Tensor
            The tokens; each sees itself and those before it.
        source : Tensor or KeyValue
            ``[B, S, E]``, or what ``cross_attention.keys_values`` made of that.
        mask, rotation, cache
            For the attention among tokens, see :meth:`MultiHeadAttention.forward`.
        source_mask : Tensor or None
            ``[B, S]`` bool, True where the source has something.
        """
        normed = self.attention_norm(x)
        x = x + self.dropout(self.attention(normed, mask=mask, causal=True, rotation=rotation, cache=cache))
        x = x + self.dropout(self.cross_attention(self.cross_attention_norm(x), source, mask=source_mask))
        changed: Tensor = x + self.dropout(self.feed_forward(self.feed_forward_norm(x)))
        return changed


def start_at_zero(branch: nn.Module) -> None:
    """Set the last linear layer of a branch to zero (arXiv 1901.09321): it adds nothing until it has learned."""
    *_, last = (module for module in branch.modules() if isinstance(module, nn.Linear))
    for parameter in last.parameters():
        nn.init.zeros_(parameter)


def _normed(norm: nn.Module, x: Tensor, mask: Tensor | None) -> Tensor:
    """Normalise, by what is there where the norm asks for it."""
    normed: Tensor = norm(x, mask) if isinstance(norm, SetNorm) else norm(x)
    return normed
