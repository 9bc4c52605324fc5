"""Attention within sequences that lie end to end in one stream: no padding, one call for all of them."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention import varlen


class Spans(NamedTuple):
    """Where ``N`` sequences begin in a stream of ``T`` tokens.

    Attributes
    ----------
    starts : Tensor of int32
        ``[N + 1]``, the last one ``T``, on the device of the stream.
    longest : int
        Tokens of the longest sequence.
    """

    starts: Tensor
    longest: int

    def rows(self, tokens: int) -> Tensor:
        """Return the sequence of each of ``T`` tokens: ``[T]`` int64."""
        lengths = self.starts.diff()
        rows = torch.arange(len(lengths), device=lengths.device)
        return torch.repeat_interleave(rows, lengths, output_size=tokens)

    def positions(self, tokens: int) -> Tensor:
        """Return the place of each of ``T`` tokens in its sequence: ``[T]`` int64."""
        return torch.arange(tokens, device=self.starts.device) - self.starts.long()[self.rows(tokens)]


def has_kernel(device: torch.device, dtype: torch.dtype) -> bool:
    """Tell whether there is a kernel that needs no padding: on CUDA, in half precision."""
    return device.type == "cuda" and dtype in (torch.bfloat16, torch.float16)


def ragged_attention(
    query: Tensor, key: Tensor, value: Tensor, queries: Spans, keys: Spans, *, dropout: float = 0.0
) -> Tensor:
    """Let the queries of each sequence attend to its keys.

    FlashAttention's kernel for sequences of any length (arXiv 2307.08691) where there is one, else padded attention.

    Parameters
    ----------
    query : Tensor
        ``[Q, H, D]``.
    key, value : Tensor
        ``[T, H, D]``.
    queries, keys : Spans
        Of the same ``N`` sequences, each with one key at least.
    dropout : float
        Probability that a weight is dropped.

    Returns
    -------
    Tensor
        ``[Q, H, D]``.
    """
    if not has_kernel(query.device, query.dtype):
        mask = torch.arange(keys.longest, device=key.device) < keys.starts.diff()[:, None]
        q, k, v = (_spread(x, spans) for x, spans in ((query, queries), (key, keys), (value, keys)))
        padded = F.scaled_dot_product_attention(q, k, v, attn_mask=mask[:, None, None], dropout_p=dropout)
        return padded.transpose(1, 2)[queries.rows(len(query)), queries.positions(len(query))]
    if dropout:  # the public function knows none; this is what it calls
        ends = (queries.starts, keys.starts, queries.longest, keys.longest)
        kernel: Any = torch.ops.aten._flash_attention_forward
        attended: Tensor = kernel(query, key, value, *ends, dropout, is_causal=False, return_debug_mask=False)[0]
        return attended
    return varlen.varlen_attn(  # type: ignore[return-value]  # a tensor where nothing else is asked for
        query, key, value, queries.starts, keys.starts, queries.longest, keys.longest
    )


def _spread(stream: Tensor, spans: Spans) -> Tensor:
    """Turn ``[T, H, D]`` into ``[N, H, L, D]``; behind a sequence's end stand tokens of others."""
    places = spans.starts[:-1, None].long() + torch.arange(spans.longest, device=stream.device)
    return stream[places.clamp(max=len(stream) - 1)].transpose(1, 2)
