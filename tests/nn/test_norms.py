"""Masked statistics against PyTorch's own over the valid entries alone; RMSNorm against Llama's."""

from __future__ import annotations

import warnings

import pytest
import torch
from torch import nn
from transformers.models.llama.modeling_llama import LlamaRMSNorm

from tabstar_lit.nn.norms import MaskedBatchNorm, PointNorm, RMSNorm, SetNorm


def ragged(dtype: torch.dtype = torch.float32) -> tuple[torch.Tensor, torch.Tensor]:
    """Values ``[5, 7, 3]`` with wild padding, and the mask of 0 to 7 objects."""
    random = torch.Generator().manual_seed(1)
    values = torch.randn(5, 7, 3, generator=random, dtype=dtype) * 2 + 3
    mask = torch.arange(7) < torch.tensor([0, 1, 3, 7, 2])[:, None]
    values[~mask] = 1e6
    return values, mask


def test_masked_batch_norm_is_batch_norm_over_the_valid_entries() -> None:
    values, mask = ragged(torch.float64)
    ours, reference = MaskedBatchNorm(3).double(), nn.BatchNorm1d(3).double()
    valid = values[mask].clone().requires_grad_()
    padded = values.clone().requires_grad_()
    for _ in range(2):
        got, expected = ours(padded, mask)[mask], reference(valid)
    torch.testing.assert_close(got, expected)
    torch.testing.assert_close(ours.running_mean, reference.running_mean)
    torch.testing.assert_close(ours.running_var, reference.running_var)
    got.pow(3).sum().backward()
    expected.pow(3).sum().backward()
    assert padded.grad is not None
    torch.testing.assert_close(padded.grad[mask], valid.grad)
    assert padded.grad[~mask].eq(0).all()
    torch.testing.assert_close(ours.eval()(values, mask)[mask], reference.eval()(values[mask]))


def test_masked_batch_norm_learns_nothing_from_nothing() -> None:
    values, mask = ragged()
    norm = MaskedBatchNorm(3)
    output = norm(values, torch.zeros_like(mask))
    assert torch.isfinite(output).all()
    assert norm.running_mean.eq(0).all()
    assert norm.running_var.eq(1).all()


def test_set_norm_is_layer_norm_over_all_valid_features_of_an_event() -> None:
    values, mask = ragged(torch.float64)
    norm = SetNorm(3).double()
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    got = norm(values, mask)
    for event, there, output in zip(values, mask, got, strict=True):
        objects = event[there]
        expected = nn.functional.layer_norm(objects, objects.shape) if len(objects) else objects
        torch.testing.assert_close(output[there], expected * norm.weight + norm.bias)
        torch.testing.assert_close(output[~there], norm.bias.expand_as(output[~there]))


def test_set_norm_has_finite_gradients_for_equal_and_for_no_objects() -> None:
    values = torch.ones(2, 4, 3, requires_grad=True)
    mask = torch.tensor([[True] * 4, [False] * 4])
    SetNorm(3)(values, mask).sum().backward()
    assert values.grad is not None
    assert torch.isfinite(values.grad).all()


def test_point_norm_is_layer_norm() -> None:
    values, mask = ragged()
    torch.testing.assert_close(PointNorm(3)(values, mask), nn.functional.layer_norm(values, (3,)))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_rms_norm_is_llamas(dtype: torch.dtype) -> None:
    ours, theirs = RMSNorm(16).to(dtype), LlamaRMSNorm(16, eps=1e-6).to(dtype)
    nn.init.normal_(ours.weight)
    theirs.weight = ours.weight
    x = (torch.randn(5, 16) * 200).to(dtype)  # squares that half precision cannot hold
    assert ours(x).dtype == dtype
    torch.testing.assert_close(ours(x), theirs.float()(x.float()).to(dtype))


def test_rms_norm_under_mixed_precision_takes_the_fused_kernel() -> None:
    norm, x = RMSNorm(16), torch.randn(5, 16)
    with torch.autocast("cpu", torch.bfloat16), warnings.catch_warnings():
        warnings.simplefilter("error")
        assert norm(x.bfloat16()).dtype == torch.bfloat16
    torch.testing.assert_close(norm(x.bfloat16()).float(), norm(x), atol=2e-2, rtol=2e-2)
