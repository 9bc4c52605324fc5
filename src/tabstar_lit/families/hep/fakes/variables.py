"""Variables of events by name: a column, or the absolute value of one. Light: configurations are checked by it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tabstar_lit.arrays import Float64

ABSOLUTE = "abs_"
"""In front of a variable: its absolute value, where there is no column of that name."""


def has_variable(name: str, variables: Collection[str]) -> bool:
    """Return whether ``name`` is a variable, or the absolute value of one."""
    return name in variables or (name.startswith(ABSOLUTE) and name.removeprefix(ABSOLUTE) in variables)


def column_of(variables: Mapping[str, Float64], name: str) -> Float64:
    """Return a variable ``[N]``, or the absolute value of the one that ``abs_`` stands in front of."""
    return variables[name] if name in variables else abs(variables[name.removeprefix(ABSOLUTE)])


def standard_variables(variables: Collection[str], pt_variable: str) -> tuple[str, ...]:
    """Return the variables a fake factor is shown against: pt, abs(eta) and MET, as far as there are such.

    Parameters
    ----------
    variables : collection of str
        What there is. ``eta`` and ``met`` may stand at the end of a longer name, as in ``probe_eta``.
    pt_variable : str
        The transverse momentum.
    """
    wanted = [pt_variable]
    for ending in ("abs_eta", "eta", "met"):
        wanted += [name for name in variables if name == ending or name.endswith(f"_{ending}")][:1]
    absolute = [f"{ABSOLUTE}{name}" if name.endswith("eta") and ABSOLUTE not in name else name for name in wanted]
    return tuple(name for name in dict.fromkeys(absolute) if has_variable(name, variables))
