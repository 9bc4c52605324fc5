"""What figures of event families have in common beside :mod:`tabstar_lit.plots`: the units of columns."""

from __future__ import annotations

from collections.abc import Mapping

from matplotlib.figure import Figure


def name_units(figure: Figure, units: Mapping[str, str]) -> Figure:
    """Add the unit to each horizontal axis that is named after a column, or after its absolute value.

    Parameters
    ----------
    figure : Figure
        Is changed, and returned.
    units : mapping of str to str
        Column -> unit.
    """
    for axes in figure.axes:
        unit = units.get(axes.get_xlabel().removeprefix("abs_"), units.get(axes.get_xlabel()))
        if unit:
            axes.set_xlabel(f"{axes.get_xlabel()} [{unit}]")
    return figure
