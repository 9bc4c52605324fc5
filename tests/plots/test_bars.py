from __future__ import annotations

from matplotlib.figure import Figure

from tabstar_lit.plots.bars import LONGEST_NAME, draw_bars, shortened


def test_bars_stand_in_their_order_from_the_top_with_their_errors() -> None:
    axes = Figure().subplots()
    draw_bars(axes, {"mass": (0.5, 0.1), "pt": (0.2, 0.05), "eta": (-0.1, 0.0)}, xlabel="rise", most=2)
    assert [label.get_text() for label in axes.get_yticklabels()] == ["pt", "mass"]
    assert [bar.get_width() for bar in axes.patches] == [0.2, 0.5]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("rise", "first 2 of 3 inputs")


def test_names_that_are_too_long_are_cut_and_others_are_not() -> None:
    assert shortened("n" * LONGEST_NAME) == "n" * LONGEST_NAME
    assert shortened("n" * LONGEST_NAME + "x") == "n" * (LONGEST_NAME - 1) + "…"
