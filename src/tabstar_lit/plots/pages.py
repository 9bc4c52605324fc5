"""Small multiples: one panel for each of many sources, on as many pages as they need."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tabstar_lit.plots.style import new_figure

COLUMNS = 3
PANELS_PER_PAGE = 9
"""A page is as wide as other figures: text stays readable where it is shown small."""


def pages(panels: Mapping[str, Callable[[Axes], None]], *, width: float = 3.2, note: str = "") -> Iterator[Figure]:
    """Draw panels in their order, nine to a page.

    Parameters
    ----------
    panels : mapping of str to callable
        Title -> what draws into the axes.
    width : float
        Of a panel, in inches.
    note : str
        Stands below the panels of each page.
    """
    titles = list(panels)
    for start in range(0, len(titles), PANELS_PER_PAGE):
        own = titles[start : start + PANELS_PER_PAGE]
        columns = min(COLUMNS, len(own))
        rows = -(-len(own) // columns)
        figure, all_axes = new_figure(rows, columns, width=width * columns, height=3.0 * rows)
        for axes, title in zip(all_axes, own, strict=False):
            panels[title](axes)
            axes.set_title(title, fontsize=9)
        for axes in all_axes[len(own) :]:
            axes.set_axis_off()
        if note:
            figure.supxlabel(note, fontsize=9)
        yield figure
