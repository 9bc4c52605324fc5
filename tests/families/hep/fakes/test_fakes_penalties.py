"""Penalties on learned ratios, the weights of data minus simulation, and their errors."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from tabstar_lit.families.hep.fakes.architecture import Spread
from tabstar_lit.families.hep.fakes.ensemble import (
    PLAIN,
    Ensemble,
    displaced,
    over_heads,
    student_deviation,
    uncertainty,
)
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


def drawn(samples: int, twins: int, *, balanced: bool = False) -> tuple[Tensor, Tensor]:
    """The truth, and heads of so many samples: both are as far from the whole sample, and its twins are equal."""
    rng = torch.Generator().manual_seed(samples)
    truth, own = (torch.randn(n, 200_000, generator=rng, dtype=torch.float64) for n in (1, samples))
    own -= own.mean(0) if balanced else 0.0
    return truth[0], torch.cat([own, own[:twins]]).T


@pytest.mark.parametrize("balanced", [False, True])
@pytest.mark.parametrize(("samples", "twins"), [(2, 0), (3, 0), (3, 1), (4, 0), (8, 0), (8, 8), (16, 4), (20, 0)])
def test_uncertainty_covers_the_truth_as_often_as_students_t(samples: int, twins: int, *, balanced: bool) -> None:
    truth, heads = drawn(samples, twins, balanced=balanced)
    known = over_heads(heads, Ensemble(spread="student", twins=twins, balanced=balanced))
    student = stats.t(samples - 1)
    deviation = student.std() if samples > 3 else student.ppf(stats.norm.cdf(1))
    for n in (1, 2):
        covered = ((truth - known.mean).abs() <= n * known.std).double().mean()
        exactly = 2 * student.cdf(n * deviation) - 1
        assert covered.item() == pytest.approx(exactly, abs=4e-3 if twins in (0, samples) else 8e-3)


def test_the_shipped_number_of_heads_covers_what_a_normal_distribution_does() -> None:
    student = stats.t(15)
    one, two = (2 * student.cdf(n * student_deviation(16)) - 1 for n in (1, 2))
    assert (one, two) == (pytest.approx(0.700, abs=5e-4), pytest.approx(0.9515, abs=5e-4))


def test_twins_of_one_sample_differ_by_what_training_adds_alone() -> None:
    samples = drawn(6, 0)[1]
    assert uncertainty(samples[:, [0, 0]], Ensemble(spread="student", twins=1)).max() == 0


@pytest.mark.parametrize("spread", ["std", "student"])
def test_a_single_head_knows_no_uncertainty(spread: Spread) -> None:
    assert uncertainty(torch.ones(3, 1), Ensemble(spread=spread)).tolist() == [0, 0, 0]


# -- Uncertainty around an event --------------------------------------------------------------------------------------


@pytest.mark.parametrize("n_features", [1, 2, 3, 4, 9])
def test_points_around_an_event_are_as_far_to_either_side_along_directions_of_their_own(n_features: int) -> None:
    numbers = torch.randn(5, n_features, dtype=torch.float64)
    steps = torch.stack(displaced(numbers, 0.3)) - numbers
    assert len(steps) == 2 * min(n_features, 4)
    torch.testing.assert_close(steps, steps[:, :1].expand(-1, 5, -1))
    torch.testing.assert_close(steps[0::2], -steps[1::2])
    own = steps[1::2, 0]
    torch.testing.assert_close(own @ own.T, 0.09 * torch.eye(len(own), dtype=torch.float64), atol=1e-12, rtol=0)
    assert (own != 0).any(0).all()
    assert displaced(numbers, 0.0) == displaced(numbers[:, :0], 0.3) == []


def test_where_heads_cross_their_spread_around_counts() -> None:
    """Straight lines through the origin, of slopes that scatter by 2: no spread at 0, and 2 times 0.3 beside it."""
    slopes = torch.randn(50, dtype=torch.float64)
    slopes = 2 * (slopes - slopes.mean()) / slopes.std()
    here = torch.tensor([[0.0], [10.0]], dtype=torch.float64)
    around = [numbers * slopes for numbers in displaced(here, 0.3)]
    alone, known = (over_heads(here * slopes, PLAIN, own) for own in ((), around))
    assert alone.std.tolist() == pytest.approx([0, 20])
    assert known.std.tolist() == pytest.approx([0.6 * (2 / 3) ** 0.5, (20**2 + 2 / 3 * 0.6**2) ** 0.5])
    torch.testing.assert_close(known.mean, alone.mean)
