"""The classical estimate in cells: by hand, against a simulation of its errors, and where there is none."""

from __future__ import annotations

import numpy as np
import pytest

from tabstar_lit.errors import ConfigError
from tabstar_lit.families.hep.fakes.bins.estimate import binned_factor


def test_one_cell_by_hand() -> None:
    # tight: 5 data and 1 simulated of weight 2; loose: 10 data and 4 simulated of weight 0.5.
    signed = np.r_[np.ones(5), [-2.0], np.ones(10), np.full(4, -0.5)]
    tight = np.arange(20) < 6
    found = binned_factor({"pt": np.full(20, 30.0)}, signed, tight, {"pt": [20, 40]})
    above, below, var_above, var_below = 3.0, 8.0, 5 + 4.0, 10 + 1.0
    assert found.factor == pytest.approx([above / below])
    assert found.error == pytest.approx([np.sqrt(var_above / below**2 + above**2 * var_below / below**4)])
    assert found.undefined == 0


def test_errors_are_those_of_repeated_experiments() -> None:
    rng = np.random.default_rng(0)
    factors, errors = [], []
    for _ in range(400):
        counts = rng.poisson([300, 100, 900, 200])
        signed = np.repeat([1.0, -0.7, 1.0, -0.4], counts)
        tight = np.arange(len(signed)) < counts[:2].sum()
        found = binned_factor({"x": np.zeros(len(signed))}, signed, tight, {"x": [-1, 1]})
        factors.append(found.factor[0])
        errors.append(found.error[0])
    assert np.mean(factors) == pytest.approx(230 / 820, rel=0.01)
    assert np.mean(errors) == pytest.approx(np.std(factors), rel=0.1)


def test_cells_of_three_variables_hold_their_own_events() -> None:
    rng = np.random.default_rng(1)
    columns = {"pt": rng.uniform(0, 3, 9000), "eta": rng.uniform(-2, 2, 9000), "met": rng.uniform(0, 2, 9000)}
    edges = {"pt": [0, 1, 2, 3], "abs_eta": [0, 1, 2], "met": [0, 1, 2]}
    tight = rng.random(9000) < 0.3
    found = binned_factor(columns, np.ones(9000), tight, edges)
    assert found.factor.shape == (3, 2, 2)
    cell = (columns["pt"] >= 1) & (columns["pt"] < 2) & (abs(columns["eta"]) >= 1) & (columns["met"] < 1)
    assert found.factor[1, 1, 0] == pytest.approx((cell & tight).sum() / (cell & ~tight).sum())
    assert found.at(columns).factor[cell] == pytest.approx(np.full(cell.sum(), found.factor[1, 1, 0]))


def test_empty_and_negative_denominators_have_no_factor() -> None:
    columns = {"x": np.array([0.5, 0.5, 1.5, 1.5, 2.5, 2.5, 3.5])}
    signed = np.array([1.0, 2.0, 1.0, -1.0, -1.0, 2.0, 1.0])
    tight = np.array([True, False, True, False, True, False, True])
    found = binned_factor(columns, signed, tight, {"x": [0, 1, 2, 3, 4]})
    assert found.factor == pytest.approx([0.5, np.nan, -0.5, np.nan], nan_ok=True)
    assert np.isnan(found.error).tolist() == [False, True, False, True]
    assert found.undefined == 2
    assert np.isnan(found.at({"x": np.array([1.5, 3.5])}).factor).all()


def test_events_beyond_the_bins_and_without_a_value() -> None:
    columns = {"x": np.array([-5.0, 0.5, 9.0, np.nan])}
    found = binned_factor(columns, np.ones(4), np.array([True, False, False, True]), {"x": [0, 1, 2]})
    assert found.factor == pytest.approx([1, 0])
    assert found.at(columns).factor == pytest.approx([1, 1, 0, np.nan], nan_ok=True)


@pytest.mark.parametrize("edges", [{}, {key: [0, 1] for key in "abcd"}])
def test_too_few_and_too_many_variables(edges: dict[str, list[float]]) -> None:
    with pytest.raises(ConfigError, match="1 to 3 variables"):
        binned_factor({}, np.ones(1), np.ones(1, dtype=bool), edges)
