"""The chunked scan against the recurrence written down token by token."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from tabstar_lit.families.experts.networks import scan
from tabstar_lit.families.experts.networks.scan import Selection, continue_scan, selective_scan, sequential_scan

Inputs = tuple[Tensor, Tensor, Tensor, Tensor, Tensor]


def made_up(rows: int = 2, length: int = 37, channels: int = 5, numbers: int = 3) -> Inputs:
    """Return inputs in double precision, with gradients."""
    torch.manual_seed(0)
    shape = (rows, length)
    inputs = (
        torch.randn(*shape, channels, dtype=torch.float64),
        torch.rand(*shape, channels, dtype=torch.float64),
        -4 * torch.rand(channels, numbers, dtype=torch.float64),
        torch.randn(*shape, numbers, dtype=torch.float64),
        torch.randn(*shape, numbers, dtype=torch.float64),
    )
    for x in inputs:
        x.requires_grad_(True)
    return inputs


@pytest.mark.parametrize("begins_anew", [False, True])
@pytest.mark.parametrize("chunk", [1, 7, 37, 1000])
def test_values_and_gradients_are_those_of_the_recurrence(
    chunk: int, begins_anew: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scan, "CHUNK_NUMBERS", chunk * 2 * 5 * 3)
    inputs = made_up()
    keep = torch.rand(2, 37) > 0.2 if begins_anew else None
    ours, theirs = selective_scan(Selection(*inputs, keep)), sequential_scan(Selection(*inputs, keep))
    torch.testing.assert_close(ours, theirs, atol=1e-12, rtol=0)
    weights = torch.randn_like(ours)
    for own, other in zip(
        torch.autograd.grad(ours, inputs, weights), torch.autograd.grad(theirs, inputs, weights), strict=True
    ):
        torch.testing.assert_close(own, other, atol=1e-12, rtol=0)


def test_the_gradient_is_that_of_finite_differences() -> None:
    inputs = made_up(1, 6, 2, 2)
    keep = torch.tensor([[True, True, False, True, True, True]])
    assert torch.autograd.gradcheck(lambda *x: selective_scan(Selection(*x, keep)), inputs)


def test_a_scan_goes_on_from_a_state() -> None:
    inputs = tuple(x.detach() for x in made_up())
    whole = sequential_scan(Selection(*inputs))
    state, parts = torch.zeros(2, 3, 5, dtype=torch.float64), []
    for at in (slice(0, 20), slice(20, 21), slice(21, 37)):
        part, state = continue_scan(state, Selection(*(x[:, at] if x.ndim == 3 else x for x in inputs)))
        parts.append(part)
    torch.testing.assert_close(torch.cat(parts, 1), whole, atol=1e-12, rtol=0)


def test_nothing_is_lost_in_mixed_precision() -> None:
    inputs = tuple(x.detach().float() for x in made_up())
    with torch.autocast("cpu", torch.bfloat16):
        scanned = selective_scan(Selection(*inputs))
    assert scanned.dtype == torch.float32
    torch.testing.assert_close(scanned, sequential_scan(Selection(*inputs)), atol=1e-5, rtol=0)


def test_large_steps_forget_everything_and_stay_finite() -> None:
    u, delta, rates, write, read = (x.detach() for x in made_up())
    inputs = [u, (delta + 1e4).requires_grad_(), rates - 1.0, write, read]
    scanned = selective_scan(Selection(*inputs))
    (gradient,) = torch.autograd.grad(scanned.sum(), inputs[1])
    assert gradient.isfinite().all()
    alone = (inputs[1] * u * (write * read).sum(-1, keepdim=True)).detach()
    torch.testing.assert_close(scanned.detach(), alone)
