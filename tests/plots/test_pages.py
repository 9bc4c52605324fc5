"""Pages of small multiples."""

from __future__ import annotations

from matplotlib.axes import Axes

from tabstar_lit.plots.pages import pages


def panel(axes: Axes) -> None:
    axes.plot([0, 1], [0, 1])


def test_a_page_is_turned_after_nine_panels_and_places_without_one_are_blank() -> None:
    titles = [f"table {i}" for i in range(13)]
    first, second = pages(dict.fromkeys(titles, panel))
    assert [axes.get_title() for axes in first.axes] == titles[:9]
    assert [axes.get_title() for axes in second.axes] == [*titles[9:], "", ""]
    assert [axes.axison for axes in second.axes] == [True] * 4 + [False] * 2


def test_a_single_panel_has_a_page_of_its_size_and_nothing_has_none() -> None:
    (page,) = pages({"alone": panel})
    assert len(page.axes) == 1
    assert page.get_figwidth() < 4
    assert list(pages({})) == []
