"""The learned factor in bins, over what is known and what was counted."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tabstar_lit.families.hep.fakes.bins.estimate import binned_factor
from tabstar_lit.families.hep.fakes.bins.profile import CURVE_BINS, Learned, factor_against, profile


def test_a_profile_averages_heads_and_truth_over_the_same_events() -> None:
    values, weights = np.array([0.5, 0.5, 1.5, 1.5, 2.5]), np.array([1.0, 3.0, 1.0, -1.0, -1.0])
    logs = np.log(np.array([[1.0, 1.0], [2.0, 4.0], [3.0, 3.0], [9.0, 9.0], [1.0, 1.0]]))
    truth = np.log(np.array([1.0, 3.0, 3.0, 3.0, 3.0]))
    found = profile(values, Learned(weights, logs, logs.mean(1), truth), np.arange(4.0))
    by_head = np.array([(1 + 3 * 2) / 4, (1 + 3 * 4) / 4])
    assert found.error[0] == pytest.approx(by_head.std(ddof=1))
    assert found.factor[:2] == pytest.approx([(1 + 3 * math.sqrt(8)) / 4, 3])
    assert found.truth is not None
    assert found.truth[:2] == pytest.approx([2.5, 3])
    assert np.isnan(found.factor[2])


def test_a_right_factor_lies_on_the_truth_and_on_what_was_counted() -> None:
    values, tight = np.linspace(0.05, 9.95, 2000), np.arange(2000) % 2 == 0
    counted = binned_factor({"pt": values}, np.ones(2000), tight, {"pt": [0, 5, 10]})
    loose = values[~tight]
    learned = Learned(np.ones(1000), np.zeros((1000, 2)), np.zeros(1000), truth=np.zeros(1000))
    figure = factor_against("pt", np.r_[loose[:-1], np.nan], learned, counted, log=True)
    axes, below = figure.axes
    legend = axes.get_legend()
    assert legend is not None
    assert {text.get_text() for text in legend.get_texts()} == {
        "learned, ±1σ of 2 heads",
        "closed form",
        "binned estimate",
    }
    assert len(axes.patches[0].get_data().values) == CURVE_BINS
    np.testing.assert_allclose(below.patches[0].get_data().values, 1)
    np.testing.assert_allclose(below.containers[0].lines[0].get_ydata(), [1, 1])
    assert (below.get_xlabel(), below.get_xscale(), below.get_ylabel()) == ("pt", "log", "over\nclosed form")
