"""The families of models. Adding one means adding its folder and one line here."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tabstar_lit.engine.family import AnyFamily

FAMILIES = {
    "tabstar": "tabstar_lit.families.tabstar.family",
    "signal": "tabstar_lit.families.hep.signal.family",
    "fakes": "tabstar_lit.families.hep.fakes.family",
}
"""Name of each family and the module that holds its ``family`` object."""


def get_family(name: str) -> AnyFamily:
    """Return the family object registered under ``name``.

    Parameters
    ----------
    name : str
        A key of :data:`FAMILIES`.

    Returns
    -------
    Family
        The object that hands the family's parts to the engine.
    """
    family: AnyFamily = import_module(FAMILIES[name]).family
    return family
