"""Distance correlation against dcor, another implementation, and where nothing varies."""

from __future__ import annotations

import dcor
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tabstar_lit.losses.disco import DisCo, distance_correlation


def sample(rows: int = 60, seed: int = 0, scale: float = 1.0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(rows, dtype=torch.float64, generator=generator)
    y = x.square() + 0.3 * torch.randn(rows, dtype=torch.float64, generator=generator)
    return scale * x, y


@settings(max_examples=40)
@given(st.integers(2, 50), st.integers(0, 10**6), st.sampled_from([1e-6, 1.0, 1e8]))
def test_equals_dcor(rows: int, seed: int, scale: float) -> None:
    x, y = sample(rows, seed, scale)
    expected = dcor.distance_correlation_sqr(x.numpy() / scale, y.numpy())
    assert distance_correlation(x, y).item() == pytest.approx(expected, abs=1e-10)
    assert distance_correlation(x, y, power=0.5).item() == pytest.approx(np.sqrt(expected), abs=1e-10)


def test_vectors_equal_dcor() -> None:
    torch.manual_seed(1)
    x, y = torch.randn(40, dtype=torch.float64), torch.randn(40, 3, dtype=torch.float64)
    y[:, 0] += x
    expected = dcor.distance_correlation_sqr(x.numpy(), y.numpy())
    assert distance_correlation(x, y).item() == pytest.approx(expected, abs=1e-10)


def test_integer_weights_are_repeated_rows() -> None:
    x, y = sample()
    times = torch.randint(0, 4, (60,), generator=torch.Generator().manual_seed(2))
    rows = torch.repeat_interleave(torch.arange(60), times).numpy()
    expected = dcor.distance_correlation_sqr(x.numpy()[rows], y.numpy()[rows])
    assert distance_correlation(x, y, times.double()).item() == pytest.approx(expected, abs=1e-10)
    assert distance_correlation(x, y, 1e-5 * times).item() == pytest.approx(expected, abs=1e-7)


def test_gradient_is_that_of_finite_differences() -> None:
    x, y = sample(12)
    weights = torch.rand(12, dtype=torch.float64)
    for power in (0.5, 1.0, 2.0):
        score = y.clone().requires_grad_(True)
        assert torch.autograd.gradcheck(lambda s, p=power: distance_correlation(x, s, weights, p), (score,))


@pytest.mark.parametrize("power", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("rows", [0, 1, 2, 20])
def test_no_variance_gives_zero_and_no_gradient(rows: int, power: float) -> None:
    x = torch.linspace(0, 1, rows)
    score = torch.full((rows,), 0.1, requires_grad=True)
    value = distance_correlation(x, score, power=power)
    value.backward()
    assert value.item() == 0.0
    assert score.grad is not None
    assert (score.grad == 0).all()
    assert distance_correlation(torch.full((rows,), 1e6), x).item() == 0.0


def test_no_weight_gives_zero() -> None:
    x, y = sample()
    y.requires_grad_(True)
    value = distance_correlation(x, y, torch.zeros(60))
    value.backward()
    assert value.item() == 0.0
    assert y.grad is not None
    assert (y.grad == 0).all()


def test_single_precision_holds_far_from_zero() -> None:
    x, y = sample(500)
    expected = distance_correlation(x, y).item()
    assert distance_correlation(1e4 * x.float() + 1e5, y.float()).item() == pytest.approx(expected, abs=1e-4)


def test_only_background_counts() -> None:
    x, y = sample()
    background = torch.arange(60) % 3 > 0
    changed = torch.where(background, y, 100.0)
    seen = DisCo()(changed[:, None], torch.stack([x, 2 * x], 1), background)
    torch.testing.assert_close(seen, distance_correlation(x[background], y[background]).expand(2))


def test_an_event_without_its_variable_is_left_out() -> None:
    x, y = sample()
    holes = x.clone()
    holes[:5] = torch.nan
    y.requires_grad_(True)
    seen = DisCo()(y[:, None], holes[:, None], torch.ones(60, dtype=torch.bool))
    torch.testing.assert_close(seen[0], distance_correlation(x[5:], y[5:]))
    seen.sum().backward()
    assert y.grad is not None
    assert y.grad.isfinite().all()


def test_weights_count_when_asked_for() -> None:
    x, y = sample()
    everything, weights = torch.ones(60, dtype=torch.bool), torch.rand(60, dtype=torch.float64)
    unweighted = DisCo()(y[:, None], x[:, None], everything, weights)
    torch.testing.assert_close(unweighted[0], distance_correlation(x, y))
    weighted = DisCo(weighted=True)(y[:, None], x[:, None], everything, weights)
    torch.testing.assert_close(weighted[0], distance_correlation(x, y, weights))


def test_many_classes_by_logits_or_entropy() -> None:
    x, _ = sample()
    logits = torch.randn(60, 3, dtype=torch.float64)
    everything = torch.ones(60, dtype=torch.bool)
    summed = DisCo(multiclass_reduction="logits")(logits, x[:, None], everything)[0].item()
    expected = sum(dcor.distance_correlation_sqr(x.numpy(), logits[:, k].numpy()) for k in range(3))
    assert summed == pytest.approx(expected, abs=1e-10)
    by_entropy = DisCo(multiclass_reduction="entropy")(logits, x[:, None], everything)[0].item()
    entropy = torch.distributions.Categorical(logits=logits).entropy().numpy()
    assert by_entropy == pytest.approx(dcor.distance_correlation_sqr(x.numpy(), entropy), abs=1e-10)


def test_a_batch_without_background_costs_nothing() -> None:
    x, y = sample()
    y.requires_grad_(True)
    value = DisCo()(y[:, None], x[:, None], torch.zeros(60, dtype=torch.bool))
    value.sum().backward()
    assert value.tolist() == [0.0]
    assert y.grad is not None
    assert (y.grad == 0).all()
