"""Multi-head attention with masks that are exact: padding changes nothing, and nothing is never NaN."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel

from tabstar_lit.errors import ConfigError

KERNELS = {
    "math": SDPBackend.MATH,
    "flash": SDPBackend.FLASH_ATTENTION,
    "mem_efficient": SDPBackend.EFFICIENT_ATTENTION,
    "cudnn": SDPBackend.CUDNN_ATTENTION,
}
"""Name in a configuration -> kernel of ``scaled_dot_product_attention``."""

NO_KERNEL = ("No available kernel", "No viable backend")
"""What torch says when no kernel that may be used can do what is asked for."""


class MultiHeadAttention(nn.Module):
    """Attention of queries to a context, or of tokens to themselves ("Attention Is All You Need", arXiv 1706.03762).

    Parameters
    ----------
    width : int
        Length ``E`` of a token.
    heads : int
        Number of heads ``H``.
    dim_head : int or None
        Length of a head; None: ``width / heads``.
    dropout : float
        Probability that an attention weight is dropped.
    kernels : sequence of str
        Kernels that may be used, see :data:`KERNELS`; empty: torch chooses.

    Raises
    ------
    ConfigError
        When ``heads`` does not divide ``width`` and ``dim_head`` is not given.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        *,
        dim_head: int | None = None,
        dropout: float = 0.0,
        kernels: Sequence[str] = (),
    ) -> None:
        super().__init__()
        if dim_head is None and width % heads:
            raise ConfigError(f"{heads} attention heads do not divide a width of {width}; change one of them.")
        inner = heads * (dim_head or width // heads)
        self.heads, self.dropout = heads, dropout
        self.kernels = [KERNELS[name] for name in kernels]
        self.query = nn.Linear(width, inner)
        self.key_value = nn.Linear(width, 2 * inner)
        self.out = nn.Linear(inner, width)

    def forward(
        self, queries: Tensor, context: Tensor | None = None, *, mask: Tensor | None = None, bias: Tensor | None = None
    ) -> Tensor:
        """Attend.

        Parameters
        ----------
        queries : Tensor
            ``[B, Q, E]``.
        context : Tensor or None
            ``[B, P, E]``; None: the queries.
        mask : Tensor or None
            ``[B, P]`` or ``[B, Q, P]`` bool, True where there is something to attend to.
        bias : Tensor or None
            ``[B, H, Q, P]`` or broadcastable, added to the scores.

        Returns
        -------
        Tensor
            ``[B, Q, E]``. Where a query has nothing to attend to, the heads give zeros, so the bias of the last layer
            is what comes out.
        """
        context = queries if context is None else context
        query = self._split(self.query(queries))
        key, value = (self._split(part) for part in self.key_value(context).chunk(2, dim=-1))
        dropout = self.dropout if self.training else 0.0
        with chosen_kernels(self.kernels):
            attended = masked_attention(query, key, value, mask=mask, bias=bias, dropout=dropout)
        out: Tensor = self.out(attended.transpose(1, 2).flatten(2))
        return out

    def _split(self, x: Tensor) -> Tensor:
        """Turn ``[B, N, H D]`` into ``[B, H, N, D]``."""
        return x.reshape(*x.shape[:2], self.heads, -1).transpose(1, 2)


class AttentionBlock(nn.Module):
    """A pre-norm transformer block: ``x + attention(norm(x))``, then ``x + feed_forward(norm(x))``.

    Parameters
    ----------
    attention : MultiHeadAttention
        Its attention.
    feed_forward : nn.Module
        ``[..., E]`` to ``[..., E]``.
    width : int
        Length ``E`` of a token.
    dropout : float
        Probability, at the end of both branches.
    residual : bool
        Whether there is a skip around the attention.
    layernorm : bool
        Whether there is a LayerNorm before the attention.
    """

    def __init__(
        self,
        attention: MultiHeadAttention,
        feed_forward: nn.Module,
        width: int,
        *,
        dropout: float = 0.0,
        residual: bool = True,
        layernorm: bool = True,
    ) -> None:
        super().__init__()
        self.attention, self.feed_forward, self.residual = attention, feed_forward, residual
        self.attention_norm = nn.LayerNorm(width) if layernorm else nn.Identity()
        self.feed_forward_norm = nn.LayerNorm(width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, *, mask: Tensor | None = None, bias: Tensor | None = None) -> Tensor:
        """Map ``[B, P, E]`` to ``[B, P, E]``; see :meth:`MultiHeadAttention.forward` for ``mask`` and ``bias``."""
        attended = self.dropout(self.attention(self.attention_norm(x), mask=mask, bias=bias))
        x = x + attended if self.residual else attended
        changed: Tensor = x + self.dropout(self.feed_forward(self.feed_forward_norm(x)))
        return changed


def masked_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    *,
    mask: Tensor | None = None,
    bias: Tensor | None = None,
    dropout: float = 0.0,
) -> Tensor:
    """Run ``scaled_dot_product_attention`` with a mask, a bias, both or neither.

    A row without anything to attend to attends to everything and is then set to zero, so that neither its value nor
    any gradient can be NaN. Values under the mask must be finite.

    Parameters
    ----------
    query, key, value : Tensor
        ``[B, H, Q, D]``, ``[B, H, P, D]``, ``[B, H, P, D]``.
    mask : Tensor or None
        ``[B, P]`` or ``[B, Q, P]`` bool, True where there is something.
    bias : Tensor or None
        Added to the scores, broadcastable to ``[B, H, Q, P]``.
    dropout : float
        Probability that a weight is dropped.

    Returns
    -------
    Tensor
        ``[B, H, Q, D]``.
    """
    if bias is not None:
        bias = bias.to(query.dtype)
    if mask is None:
        return functional.scaled_dot_product_attention(query, key, value, attn_mask=bias, dropout_p=dropout)
    mask = mask[:, None, None, :] if mask.ndim == 2 else mask[:, None]
    something = mask.any(dim=-1, keepdim=True)
    allowed = mask | ~something
    scores = allowed if bias is None else torch.where(allowed, bias, float("-inf"))
    attended = functional.scaled_dot_product_attention(query, key, value, attn_mask=scores, dropout_p=dropout)
    return torch.where(something, attended, 0.0)


@contextmanager
def chosen_kernels(kernels: Sequence[SDPBackend]) -> Iterator[None]:
    """Restrict attention to some kernels; none given leaves the choice to torch.

    Raises
    ------
    ConfigError
        None of them can do what is asked for here.
    """
    if not kernels:
        yield
        return
    with sdpa_kernel(list(kernels)):
        try:
            yield
        except RuntimeError as error:
            if not any(text in str(error) for text in NO_KERNEL):
                raise
            names = [name for name, kernel in KERNELS.items() if kernel in kernels]
            raise ConfigError(
                f"architecture_config.sdp_backend allows {', '.join(names)} only, and none of these can do this "
                "attention on this device, with its mask and precision. Enable another kernel (enable_math: true works "
                "everywhere), or leave sdp_backend out: then torch chooses."
            ) from error
