"""Curves and maps by epoch: what of a history is drawn, and what stands on the axes."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tabstar_lit.plots.curves import epoch_figure, loss_panels, mean_curve, series, source_curves, source_map
from tabstar_lit.plots.style import PALETTE

HISTORY = [
    {"epoch": 0, "val_score": 0.5, "val_score/coin": 0.6, "val_score/price": 0.4, "val_loss": 9.0},
    {"epoch": 2, "val_score": 0.7, "val_score/coin": 0.7},
]


def test_curves_come_from_the_history_by_name_or_prefix() -> None:
    assert series(HISTORY, "val_score/") == {"coin": {0: 0.6, 2: 0.7}, "price": {0: 0.4}}
    assert series(HISTORY, "val_score") == {"val_score": {0: 0.5, 2: 0.7}}
    assert series(HISTORY, "val_sco") == {}


@given(st.lists(st.dictionaries(st.integers(0, 5), st.floats(-1, 1)), max_size=4))
def test_the_mean_curve_is_over_what_there_is_at_an_epoch(curves: list[dict[int, float]]) -> None:
    grid = np.array([[curve.get(epoch, math.nan) for epoch in range(6)] for curve in curves]).reshape(-1, 6)
    known = {epoch for curve in curves for epoch in curve}
    expected = {epoch: float(np.nanmean(grid[:, epoch])) for epoch in sorted(known)}
    assert mean_curve(curves) == pytest.approx(expected)
    assert list(mean_curve(curves)) == sorted(known)


def test_metrics_that_the_history_has_are_drawn_under_the_names_they_are_logged_by() -> None:
    figure = epoch_figure(
        HISTORY, ["val_score", "val_loss", "val_nothing"], title="Scores", ylabel="score [1]", log=True
    )
    assert figure is not None
    (axes,) = figure.axes
    assert (axes.get_xlabel(), axes.get_ylabel(), axes.get_title()) == ("epoch", "score [1]", "Scores")
    assert axes.get_yscale() == "log"
    drawn = {line.get_label(): np.asarray(line.get_xydata()).tolist() for line in axes.lines}
    assert drawn == {"val_score": [[0.0, 0.5], [2.0, 0.7]], "val_loss": [[0.0, 9.0]]}
    assert epoch_figure(HISTORY, ["val_nothing"], title="", ylabel="") is None


def test_more_metrics_than_colours_differ_by_their_lines() -> None:
    names = [f"val_chi2_{i}" for i in range(2 * len(PALETTE))]
    figure = epoch_figure([{"epoch": 0, **dict.fromkeys(names, 1.0)}], names, title="", ylabel="")
    assert figure is not None
    looks = {(str(line.get_color()), str(line.get_linestyle())) for line in figure.axes[0].lines}
    assert len(looks) == len(names)


def test_the_map_sorts_by_the_last_value_and_leaves_gaps_open() -> None:
    curves = {"bad": {0: 0.9, 1: 0.1}, "good": {0: 0.2, 1: 0.8}, "late": {1: 0.5}}
    figure = source_map(curves, title="", label="R²", rows="table")
    axes = figure.axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["good", "late", "bad"]
    shown = axes.images[0].get_array()
    assert shown is not None
    np.testing.assert_array_equal(np.ma.filled(shown, np.nan), [[0.2, 0.8], [np.nan, 0.5], [0.9, 0.1]])
    assert axes.images[0].get_clim() == (0.0, 1.0)
    assert figure.axes[1].get_ylabel() == "R²"


def test_many_epochs_have_twelve_labels_that_name_the_right_ones() -> None:
    axes = source_map({"t": {10 * epoch: 0.5 for epoch in range(100)}}, title="", label="", rows="").axes[0]
    assert len(axes.get_xticks()) == 12
    for tick, label in zip(axes.get_xticks(), axes.get_xticklabels(), strict=True):
        assert label.get_text() == str(int(10 * tick))


@pytest.mark.parametrize(("sources", "named"), [(8, 8), (9, 0)])
def test_more_sources_than_colours_are_grey_around_their_mean(sources: int, named: int) -> None:
    curves = {f"t{i}": {0: 0.1 * i} for i in range(sources)}
    legend = source_curves(curves, {0: 0.4}, title="", ylabel="", sources="tables").axes[0].get_legend()
    assert legend is not None
    labels = [text.get_text() for text in legend.get_texts()]
    assert labels == [f"t{i}" for i in range(named)] + [f"mean of {sources} tables"]


def test_sources_without_a_mean_are_drawn_alone() -> None:
    (axes,) = source_curves({"a": {0: 0.1}}, {}, title="", ylabel="score", sources="tables").axes
    assert [line.get_label() for line in axes.lines] == ["a"]


def test_losses_have_a_panel_and_an_axis_for_each_kind() -> None:
    losses = {"train": {"a": {0: 1.0}, "b": {0: 2.0}}, "val": {"b": {0: 3.0}}}
    one, two = loss_panels(losses, {"a": "nats", "b": "mm²"}).axes
    assert (one.get_ylabel(), two.get_ylabel()) == ("nats", "mm²")
    assert [line.get_label() for line in one.lines] == ["train"]
    assert [line.get_label() for line in two.lines] == ["train", "val"]


def view(curves: dict[str, dict[int, float]]) -> tuple[float, float, list[str]]:
    history = [{"epoch": epoch, **{name: own[epoch] for name, own in curves.items()}} for epoch in range(10)]
    figure = epoch_figure(history, list(curves), title="", ylabel="score", late=True)
    assert figure is not None
    (axes,) = figure.axes
    return *axes.get_ylim(), [text.get_text() for text in axes.texts]


def test_scores_that_begin_far_away_leave_the_view_and_are_counted() -> None:
    rising = {epoch: -12.0 / (1 + epoch) ** 3 + 0.6 for epoch in range(10)}
    low, high, texts = view({"r2": rising, "accuracy": dict.fromkeys(range(10), 0.4)})
    assert -0.2 < low < 0.4 < 0.6 < high < 1.0
    assert texts == ["3 earlier values out of view, from -11.4 to 0.156"]


def test_every_late_value_stays_in_view_however_far_the_curves_are_apart() -> None:
    low, high, texts = view({"bad": dict.fromkeys(range(10), -8.0), "good": dict.fromkeys(range(10), 0.9)})
    assert low <= -8.0
    assert high >= 0.9
    assert texts == []


def test_one_epoch_stands_on_whole_numbers() -> None:
    figure = epoch_figure([{"epoch": 3, "val_score": 0.5}], ["val_score"], title="", ylabel="")
    assert figure is not None
    (axes,) = figure.axes
    assert {float(tick) for tick in axes.get_xticks()} <= {2.0, 3.0, 4.0}
    assert axes.get_xlim() == (2.0, 4.0)
