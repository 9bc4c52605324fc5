"""Ragged attention is plain attention, sequence by sequence."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from tabstar_lit.nn import ragged_attention as module
from tabstar_lit.nn.ragged_attention import Spans, has_kernel, ragged_attention

LENGTHS = [3, 1, 7, 7, 2]


def spans(lengths: list[int]) -> Spans:
    return Spans(torch.tensor([0, *lengths]).cumsum(0).int(), max(lengths))


def one_by_one(q: Tensor, k: Tensor, v: Tensor, asking: list[int]) -> Tensor:
    parts = zip(q.split(asking), k.split(LENGTHS), v.split(LENGTHS), strict=True)
    return torch.cat([scaled_dot_product_attention(*(x.transpose(0, 1) for x in p)).transpose(0, 1) for p in parts])


@pytest.mark.parametrize("asking", [LENGTHS, [1] * 5, [2, 1, 1, 4, 3]])
def test_values_and_gradients_are_those_of_each_sequence_alone(asking: list[int]) -> None:
    torch.manual_seed(0)
    q, k, v = (torch.randn(n, 2, 4, dtype=torch.float64, requires_grad=True) for n in (sum(asking), 20, 20))
    seen = ragged_attention(q, k, v, spans(asking), spans(LENGTHS))
    expected = one_by_one(q, k, v, asking)
    torch.testing.assert_close(seen, expected, rtol=0, atol=1e-12)
    seeds = torch.randn_like(seen)
    grads = zip(
        torch.autograd.grad(seen, (q, k, v), seeds), torch.autograd.grad(expected, (q, k, v), seeds), strict=True
    )
    for one, other in grads:
        torch.testing.assert_close(one, other, rtol=0, atol=1e-12)


def test_rows_and_positions_of_a_stream() -> None:
    own = spans([2, 1, 3])
    assert own.rows(6).tolist() == [0, 0, 1, 2, 2, 2]
    assert own.positions(6).tolist() == [0, 1, 0, 0, 1, 2]


def test_kernels_are_for_half_precision_on_cuda() -> None:
    assert has_kernel(torch.device("cuda"), torch.bfloat16)
    assert not has_kernel(torch.device("cuda"), torch.float32)
    assert not has_kernel(torch.device("cpu"), torch.bfloat16)


def test_the_kernel_is_asked_for_what_the_padded_way_computes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stand-in computes from the kernel's own arguments, so that their order and their meaning are tested."""
    torch.manual_seed(0)
    asking = [2, 1, 1, 4, 3]
    q, k, v = (torch.randn(n, 2, 4, dtype=torch.float64) for n in (sum(asking), 20, 20))
    expected = ragged_attention(q, k, v, spans(asking), spans(LENGTHS))

    def kernel(
        q: Tensor, k: Tensor, v: Tensor, queries: Tensor, keys: Tensor, longest_query: int, longest_key: int
    ) -> Tensor:
        assert (longest_query, longest_key) == (max(asking), max(LENGTHS))
        assert (queries.dtype, keys.dtype) == (torch.int32, torch.int32)
        parts = zip(q.split(queries.diff().tolist()), *(x.split(keys.diff().tolist()) for x in (k, v)), strict=True)
        return torch.cat([scaled_dot_product_attention(*(x.transpose(0, 1) for x in p)).transpose(0, 1) for p in parts])

    monkeypatch.setattr(module, "has_kernel", lambda *_: True)
    monkeypatch.setattr(module.varlen, "varlen_attn", kernel)
    torch.testing.assert_close(ragged_attention(q, k, v, spans(asking), spans(LENGTHS)), expected, rtol=0, atol=1e-12)
