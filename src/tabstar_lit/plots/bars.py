"""Bars of named values, the largest on top."""

from __future__ import annotations

from collections.abc import Mapping

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from tabstar_lit.plots.style import PALETTE

MOST_BARS = 25
LONGEST_NAME = 32


def draw_bars(axes: Axes, values: Mapping[str, tuple[float, float]], *, xlabel: str, most: int = MOST_BARS) -> None:
    """Draw the first values as bars, with their errors, and say how many more there are.

    Parameters
    ----------
    axes : Axes
        Where to.
    values : mapping of str to tuple of float
        Name -> value and error, in the order of the bars from the top.
    xlabel : str
        What the values are.
    most : int
        Number of bars.
    """
    shown = list(values.items())[:most][::-1]
    numbers, errors = [value for _, (value, _) in shown], [error for _, (_, error) in shown]
    axes.barh(range(len(shown)), numbers, xerr=errors, color=PALETTE[0], ecolor="0.5")
    axes.set_yticks(range(len(shown)), [shortened(name) for name, _ in shown])
    axes.grid(visible=False, axis="y")
    axes.minorticks_off()
    axes.xaxis.set_major_locator(MaxNLocator(5))
    rest = len(values) - len(shown)
    axes.set(xlabel=xlabel, ylabel=f"first {len(shown)} of {len(values)} inputs" if rest else "input")


def shortened(name: str, longest: int = LONGEST_NAME) -> str:
    """Return a name that fits beside an axis."""
    return name if len(name) <= longest else f"{name[: longest - 1]}…"
