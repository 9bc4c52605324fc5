"""Multi-head attention with masks that are exact: padding changes nothing, and nothing is never NaN."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from torch import Tensor, nn, where
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel

from tabstar_lit.errors import ConfigError
from tabstar_lit.nn.cache import KeyValue, KeyValueCache
from tabstar_lit.nn.masking import causal_mask
from tabstar_lit.nn.norms import RMSNorm
from tabstar_lit.nn.positions import Rotation

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
    projection_bias : bool
        Whether the four linear maps have biases.
    qk_norm : bool
        Whether queries and keys are normalised head by head, which keeps scores small (arXiv 2010.04245).

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
        projection_bias: bool = True,
        qk_norm: bool = False,
    ) -> None:
        super().__init__()
        if dim_head is None and width % heads:
            raise ConfigError(f"{heads} attention heads do not divide a width of {width}; change one of them.")
        self.heads, self.dim_head, self.dropout = heads, dim_head or width // heads, dropout
        inner = heads * self.dim_head
        self.kernels = [KERNELS[name] for name in kernels]
        self.query = nn.Linear(width, inner, bias=projection_bias)
        self.key_value = nn.Linear(width, 2 * inner, bias=projection_bias)
        self.out = nn.Linear(inner, width, bias=projection_bias)
        self.query_norm = RMSNorm(self.dim_head) if qk_norm else nn.Identity()
        self.key_norm = RMSNorm(self.dim_head) if qk_norm else nn.Identity()

    def forward(
        self,
        queries: Tensor,
        context: Tensor | KeyValue | None = None,
        *,
        mask: Tensor | None = None,
        bias: Tensor | None = None,
        causal: bool = False,
        rotation: Rotation | None = None,
        cache: KeyValueCache | None = None,
    ) -> Tensor:
        """Attend.

        Parameters
        ----------
        queries : Tensor
            ``[B, Q, E]``.
        context : Tensor or KeyValue or None
            ``[B, P, E]``, or what :meth:`keys_values` made of that; None: the queries.
        mask : Tensor or None
            ``[B, P]`` or ``[B, Q, P]`` bool, True where there is something to attend to.
        bias : Tensor or None
            ``[B, H, Q, P]`` or broadcastable, added to the scores.
        causal : bool
            Whether a token sees itself and those before it only; the queries are the last ``Q`` of the ``P`` tokens.
        rotation : Rotation or None
            Of the queries' positions, for tokens that attend to themselves.
        cache : KeyValueCache or None
            Keys and values of the tokens before the queries, to which the queries' own are added; ``P`` counts both.

        Returns
        -------
        Tensor
            ``[B, Q, E]``. Where a query has nothing to attend to, the heads give zeros, so the bias of the last layer
            is what comes out.
        """
        query: Tensor = self.query_norm(self._split(self.query(queries)))
        known = context if isinstance(context, KeyValue) else self.keys_values(queries if context is None else context)
        if rotation is not None:
            query, known = rotation(query), known._replace(key=rotation(known.key))
        key, value = known if cache is None else cache.extend(known)
        dropout = self.dropout if self.training else 0.0
        with chosen_kernels(self.kernels):
            attended = masked_attention(query, key, value, mask=mask, bias=bias, causal=causal, dropout=dropout)
        out: Tensor = self.out(attended.transpose(1, 2).flatten(2))
        return out

    def keys_values(self, context: Tensor) -> KeyValue:
        """Project ``[B, P, E]`` once, where it is attended to more than once."""
        key, value = (self._split(part) for part in self.key_value(context).chunk(2, dim=-1))
        return KeyValue(self.key_norm(key), value)

    def _split(self, x: Tensor) -> Tensor:
        """Turn ``[B, N, H D]`` into ``[B, H, N, D]``."""
        return x.reshape(*x.shape[:2], self.heads, -1).transpose(1, 2)


def masked_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    *,
    mask: Tensor | None = None,
    bias: Tensor | None = None,
    causal: bool = False,
    dropout: float = 0.0,
) -> Tensor:
    """Run ``scaled_dot_product_attention`` with a mask, a bias, an order, or some of these.

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
    causal : bool
        Whether the last query sees all keys, and each one before it one key less.
    dropout : float
        Probability that a weight is dropped.

    Returns
    -------
    Tensor
        ``[B, H, Q, D]``.
    """
    if bias is not None:
        bias = bias.to(query.dtype)
    if mask is not None and mask.ndim == 2:
        mask = mask[:, None]
    queries, keys = query.shape[2], key.shape[2]
    if causal and queries > 1:  # a single query is the last and sees all
        if mask is None and bias is None and queries == keys:
            return functional.scaled_dot_product_attention(query, key, value, dropout_p=dropout, is_causal=True)
        order = causal_mask(queries, keys, query.device)
        mask = order if mask is None else mask & order
    if mask is None:
        return functional.scaled_dot_product_attention(query, key, value, attn_mask=bias, dropout_p=dropout)
    mask = mask[:, None]
    something = mask.any(dim=-1, keepdim=True)
    allowed = mask | ~something
    scores = allowed if bias is None else where(allowed, bias, float("-inf"))
    attended = functional.scaled_dot_product_attention(query, key, value, attn_mask=scores, dropout_p=dropout)
    return where(something, attended, 0.0)


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
            raise ConfigError(no_kernel_message(kernels)) from error


def no_kernel_message(kernels: Sequence[SDPBackend] = ()) -> str:
    """Say that none of the kernels that may be used can do an attention, by name where they are known."""
    names = ", ".join(name for name, kernel in KERNELS.items() if kernel in kernels)
    return (
        f"architecture_config.sdp_backend allows {names or 'some kernels'} only, and none of these can do this "
        "attention on this device, with its mask and precision. Enable another kernel (enable_math: true works "
        "everywhere), or leave sdp_backend out: then torch chooses."
    )
