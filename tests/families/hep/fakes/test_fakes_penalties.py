"""Penalties on learned ratios, the weights of data minus simulation, and their errors."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import stats

from tabstar_lit.families.hep.fakes.architecture import Spread
from tabstar_lit.families.hep.fakes.ensemble import Ensemble, over_heads, uncertainty
from tabstar_lit.families.hep.fakes.regularisers import effective_sample_size, ess_penalty, shrinkage
from tabstar_lit.families.hep.fakes.subtraction import subtraction


def log_ratios(n: int, *shape: int, seed: int = 0) -> torch.Tensor:
    return 0.8 * torch.randn(n, *shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_the_effective_sample_size_equals_kishs_formula() -> None:
    logs = log_ratios(50, 3)
    ratios = logs.exp()
    expected = ratios.sum(0) ** 2 / (ratios**2).sum(0)
    torch.testing.assert_close(effective_sample_size(logs), expected)
    torch.testing.assert_close(effective_sample_size(torch.full((50,), 7.0)), torch.tensor(50.0))


def test_the_normalised_penalty_does_not_depend_on_the_batch_size() -> None:
    """For a log-normal ratio ``n / B`` tends to ``exp(-s^2)``; the original falls as ``1 / B``."""
    small, large = log_ratios(2_000), log_ratios(64_000, seed=1)
    assert ess_penalty(small).item() == pytest.approx(1 - np.exp(-0.64), abs=0.06)
    assert ess_penalty(large).item() == pytest.approx(1 - np.exp(-0.64), abs=0.02)
    original = [ess_penalty(logs, "original").item() for logs in (small, large)]
    assert original[0] / original[1] == pytest.approx(32, rel=0.2)


def test_the_original_penalty_equals_the_original_formula() -> None:
    logs = log_ratios(50)
    ratios = logs.exp()
    size = ratios.sum() ** 2 / ((ratios**2).sum() + 1e-8)
    torch.testing.assert_close(ess_penalty(logs, "original"), 1 / (size + 1e-8))


@pytest.mark.parametrize("form", ["normalised", "original"])
def test_penalties_are_finite_for_extreme_ratios_and_favour_equal_ones(form: str) -> None:
    logs = torch.tensor([-80.0, 0.0, 80.0], requires_grad=True)
    penalty = ess_penalty(logs, form)
    penalty.backward()
    assert penalty.isfinite()
    assert logs.grad is not None
    assert logs.grad.isfinite().all()
    assert ess_penalty(torch.zeros(3), form) < penalty


def test_penalties_are_averaged_over_heads() -> None:
    logs = log_ratios(40, 3)
    alone = torch.stack([ess_penalty(logs[:, head]) for head in range(3)])
    torch.testing.assert_close(ess_penalty(logs), alone.mean())
    torch.testing.assert_close(shrinkage(logs), (logs**2).mean())


def test_both_samples_reweighted_are_data_minus_simulation() -> None:
    """In bins of known yields, with the ratio of each bin, either sample gives the difference."""
    data, mc = torch.tensor([100.0, 40.0, 9.0]), torch.tensor([20.0, 39.0, 12.0])
    logs = (data / mc).log()
    of_data = subtraction(logs, torch.zeros(3), torch.ones(3, dtype=torch.bool)).factors
    of_mc = subtraction(logs, torch.zeros(3), torch.zeros(3, dtype=torch.bool)).factors
    torch.testing.assert_close(data * of_data, data - mc)
    torch.testing.assert_close(mc * of_mc, data - mc)
    assert of_data[2] < 0


def test_errors_equal_the_slope_of_the_factor() -> None:
    logs = log_ratios(20, 2).requires_grad_(True)
    is_data = torch.arange(20) % 2 == 0
    result = subtraction(logs, torch.full((20, 2), 0.3, dtype=torch.float64), is_data)
    (slopes,) = torch.autograd.grad(result.factors.sum(), logs)
    torch.testing.assert_close(result.errors, 0.3 * slopes)
    ratios = logs.exp()
    expected = torch.where(is_data[:, None], 0.3 / ratios, 0.3 * ratios)  # sigma_r / r^2, and sigma_r
    torch.testing.assert_close(result.errors, expected)


def test_small_differences_keep_their_digits() -> None:
    logs = torch.tensor([1e-6])
    for is_data in (True, False):
        result = subtraction(logs, torch.zeros(1), torch.tensor([is_data]))
        assert result.factors.item() == pytest.approx(1e-6, rel=1e-4)


def test_heads_give_mean_and_standard_deviation_of_the_logarithm() -> None:
    logs = log_ratios(10, 5)
    result = over_heads(logs, Ensemble())
    np.testing.assert_allclose(result.mean, logs.numpy().mean(1))
    np.testing.assert_allclose(result.std, logs.numpy().std(1, ddof=1))
    torch.testing.assert_close(result.ratio_error(), result.mean.exp() * result.std)
    by_ratio = over_heads(logs, Ensemble("ratio"))
    np.testing.assert_allclose(by_ratio.ratio(), np.exp(logs.numpy()).mean(1))
    assert torch.equal(by_ratio.std, result.std)
    single = over_heads(logs[:, :1], Ensemble())
    assert torch.equal(single.ratio(), logs[:, 0].exp())
    assert single.std.abs().max() == 0


@pytest.mark.parametrize("heads", [2, 3, 8, 20])
def test_uncertainty_covers_what_one_standard_deviation_of_a_normal_distribution_does(heads: int) -> None:
    """The truth is as far from the whole sample as bootstrap samples are, and heads are drawn around that."""
    draws = torch.randn(200_000, heads, generator=torch.Generator().manual_seed(heads), dtype=torch.float64)
    truth = torch.randn(200_000, generator=torch.Generator().manual_seed(99), dtype=torch.float64)
    covered = (truth.abs() <= uncertainty(draws, Ensemble(spread="student"))).double().mean()
    assert covered.item() == pytest.approx(math.erf(math.sqrt(0.5)), abs=4e-3)


def test_twins_lower_no_uncertainty() -> None:
    """Of twins that are equal the variance is as large as that of their samples."""
    rng = torch.Generator().manual_seed(0)
    samples = torch.randn(400_000, 6, generator=rng, dtype=torch.float64)
    twins = torch.cat([samples, samples[:, :3]], dim=1)
    student = float(stats.t.ppf(stats.norm.cdf(1), 5))
    variance = (uncertainty(twins, Ensemble(spread="student", twins=3)) / student).square().mean()
    assert variance.item() == pytest.approx(1, abs=5e-3)
    assert uncertainty(twins[:, [0, 0]], Ensemble(spread="student", twins=1)).max() == 0


@pytest.mark.parametrize("spread", ["std", "student"])
def test_a_single_head_knows_no_uncertainty(spread: Spread) -> None:
    assert uncertainty(torch.ones(3, 1), Ensemble(spread=spread)).tolist() == [0, 0, 0]
