"""Predictions against targets."""

from __future__ import annotations

import numpy as np
import pytest

from tabstar_lit.plots.regression import MOST_POINTS, draw_predicted_against_true
from tabstar_lit.plots.style import new_figure


@pytest.mark.parametrize("rows", [3, MOST_POINTS])
def test_every_row_is_a_point_that_can_be_seen(rows: int) -> None:
    _, (axes,) = new_figure()
    true = np.linspace(-2, 2, rows)
    draw_predicted_against_true(axes, true, 2 * true, "mass [GeV]")
    points, equality = axes.lines
    assert len(points.get_xdata()) == rows
    assert points.get_markersize() >= 3
    assert np.asarray(equality.get_xydata()).tolist() == [[-4, -4], [4, 4]]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("true mass [GeV]", "predicted mass [GeV]")


def test_more_rows_are_a_density_that_counts_them_all() -> None:
    figure, (axes,) = new_figure()
    true = np.random.default_rng(0).normal(size=MOST_POINTS + 1)
    draw_predicted_against_true(axes, true, true, "z-score")
    (cells,) = axes.collections
    counts = cells.get_array()
    assert counts is not None
    assert counts.sum() == MOST_POINTS + 1
    assert figure.axes[1].get_ylabel() == "rows / cell"
