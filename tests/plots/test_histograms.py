"""Weighted histograms, their errors and ratios, against numpy and by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tabstar_lit.plots.histograms import (
    Bins,
    Sample,
    binned,
    draw_band,
    draw_points,
    draw_ratio,
    overlay_figure,
    range_edges,
    sample_figure,
    scale_to,
    with_ratio_panel,
)
from tabstar_lit.plots.style import new_figure

EDGES = np.array([0.0, 1.0, 2.0])


def test_sums_of_weights_and_their_errors_count_what_is_outside_at_the_ends() -> None:
    values, weights = np.array([-5.0, 0.5, 1.5, 7.0, 1.0]), np.array([1.0, 2.0, -1.0, 3.0, 0.5])
    found = binned(values, weights, EDGES)
    assert found.heights.tolist() == [3.0, 2.5]
    assert found.errors == pytest.approx([math.sqrt(1 + 4), math.sqrt(1 + 9 + 0.25)])
    assert found.middles.tolist() == [0.5, 1.5]
    shares = binned(values, weights, EDGES, normalize=True)
    assert shares.heights.sum() == pytest.approx(1)
    np.testing.assert_allclose(shares.errors, found.errors / 5.5)
    negative = binned(values, -weights, EDGES, normalize=True)
    np.testing.assert_array_equal(negative.heights, -found.heights)


def test_a_ratio_to_nothing_is_none() -> None:
    ratio = Bins(np.array([1.0, 2.0]), np.array([0.1, 0.2]), EDGES).over(np.array([2.0, 0.0]))
    np.testing.assert_array_equal(ratio.heights, [0.5, np.nan])
    np.testing.assert_array_equal(ratio.errors, [0.05, np.nan])


def test_bins_reach_over_the_bulk_or_as_far_as_asked() -> None:
    values = np.r_[np.linspace(0, 1, 10_001), 1e9]
    assert range_edges(values, 4)[-1] < 1.01
    assert range_edges(values, 2, (0.0, 4.0)).tolist() == [0, 2, 4]
    assert range_edges(np.full(3, 2.0), 1).tolist() == [1.5, 2.5]
    assert range_edges(np.array([]), 1).tolist() == [0, 1]


def test_points_have_errors_and_bands_have_a_line() -> None:
    _, (axes,) = new_figure()
    bins = Bins(np.array([1.0, 3.0]), np.array([0.5, 1.0]), EDGES)
    draw_points(axes, bins, label="counted", widths=True)
    draw_band(axes, bins, color="C1", label="learned")
    (bars,) = axes.containers
    assert bars.lines[0].get_ydata().tolist() == [1.0, 3.0]
    segments = [segment.tolist() for lines in bars.lines[2] for segment in lines.get_segments()]
    assert [[0.0, 1.0], [1.0, 1.0]] in segments, "as wide as the bin"
    assert [[0.5, 0.5], [0.5, 1.5]] in segments, "as high as the error"
    assert axes.patches[0].get_label() == "learned"


def test_a_ratio_has_the_errors_of_both() -> None:
    _, _, below = with_ratio_panel("pt [GeV]", log=True)
    reference, sample = (
        Bins(np.array(h), np.array(e), EDGES) for h, e in (([2.0, 1.0], [1.0, 1.0]), ([4.0, 0.0], [0.4, 0.0]))
    )
    draw_ratio(below, reference, sample, color="C1")
    (bars,) = below.containers
    np.testing.assert_array_equal(bars.lines[0].get_ydata(), [0.5, np.nan])
    band = below.collections[0].get_paths()[0].vertices[:, 1]
    assert (band.min(), band.max()) == pytest.approx((0.9, 1.1))
    assert (below.get_xlabel(), below.get_xscale()) == ("pt [GeV]", "log")


def test_a_spectrum_that_falls_steeply_is_logarithmic_and_no_other() -> None:
    for heights, scale in (
        (np.geomspace(1e4, 1, 20), "log"),
        (np.linspace(2, 1, 20), "linear"),
        (-np.ones(20), "linear"),
    ):
        _, (axes,) = new_figure()
        scale_to(axes, Bins(heights, np.zeros(20), np.arange(21.0)))
        assert axes.get_yscale() == scale


def test_samples_are_drawn_as_weighted_and_each_normalized() -> None:
    samples = [
        Sample(name, color, np.full(n, 0.5), np.full(n, 2.0)) for name, color, n in (("a", "C0", 3), ("b", "C1", 30))
    ]
    left, right = sample_figure(samples, EDGES, xlabel="score", title="Score").axes
    assert [patch.get_data().values[0] for patch in left.patches] == [6.0, 60.0]
    assert [patch.get_data().values[0] for patch in right.patches] == [1.0, 1.0]
    assert (left.get_yscale(), right.get_yscale()) == ("log", "linear")
    assert left.get_ylabel() == "sum of weights / bin"
    assert right.get_title() == "Score, each normalized to 1"


def test_samples_of_two_origins_lie_over_each_other_with_their_ratio() -> None:
    first, second = (
        [Sample(name, "C0", np.array(values), np.ones(len(values))) for name, values in samples]
        for samples in ([("a", [0.5, 1.5])], [("a", [0.5, 0.5, 0.5, 1.5]), ("b", [0.5])])
    )
    figure = overlay_figure(first, second, EDGES, names=("training", "test"), xlabel="score", title="Score")
    axes, below = figure.axes
    legend = axes.get_legend()
    assert legend is not None
    assert {text.get_text() for text in legend.get_texts()} == {"a, training", "a, test", "b, test"}
    (ratio,) = below.containers
    np.testing.assert_allclose(ratio.lines[0].get_ydata(), [0.75 / 0.5, 0.25 / 0.5])
    ends = [segment[:, 1] for lines in ratio.lines[2] for segment in lines.get_segments()]
    # Relative errors: 1 of 1 event of the first, 3 ** -0.5 of 3 and 1 of 1 of the second.
    expected = [1.5 * math.sqrt(1 / 3 + 1), 0.5 * math.sqrt(1 + 1)]
    np.testing.assert_allclose([(high - low) / 2 for low, high in ends], expected)
    assert (below.get_xlabel(), below.get_ylabel()) == ("score", "test /\ntraining")
