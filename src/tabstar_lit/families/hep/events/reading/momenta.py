"""``lepton.pt`` where a file spells it otherwise: the components of momenta from those that it has."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import product
from typing import NamedTuple

import numpy as np

from tabstar_lit.arrays import Array
from tabstar_lit.families.hep.events.arithmetic import signed_root
from tabstar_lit.families.hep.events.jagged import Jagged

Value = Array | Jagged
Stored = Callable[[str], str | None]

POLAR = (
    *(("pt", "eta", "phi"), ("Pt", "Eta", "Phi"), ("PT", "Eta", "Phi"), ("pT", "eta", "phi")),
    ("fCoordinates.fPt", "fCoordinates.fEta", "fCoordinates.fPhi"),
)
"""How transverse momentum, pseudorapidity and azimuth are called together."""
CARTESIAN = (
    *(("px", "py", "pz"), ("Px", "Py", "Pz"), ("PX", "PY", "PZ"), ("fX", "fY", "fZ")),
    *(("fP.fX", "fP.fY", "fP.fZ"), ("fP.fP.fX", "fP.fP.fY", "fP.fP.fZ")),
    ("fCoordinates.fX", "fCoordinates.fY", "fCoordinates.fZ"),
)
"""How the components along the axes are called together."""
ENERGY = ("energy", "e", "E", "Energy", "fE", "fCoordinates.fE", "fCoordinates.fT")
MASS = ("mass", "m", "M", "Mass", "fM", "fCoordinates.fM")
SEPARATORS = (".", "_", "/")
"""What stands between the name of an object and that of a component: ``jets.pt``, ``Jet_pt``."""

Way = tuple[tuple[str, ...], Callable[..., Array] | None]
"""What a component is computed from, and how."""


class Component(NamedTuple):
    """What a column is computed from, and how; None: it is the one input itself."""

    inputs: tuple[str, ...]
    compute: Callable[..., Array] | None = None

    def __call__(self, columns: Mapping[str, Value]) -> Value:
        """Return the values, one an event or one an object as the inputs are."""
        values = [columns[name] for name in self.inputs]
        if self.compute is None:
            return values[0]
        first = values[0]
        numbers = [np.asarray(value.values if isinstance(value, Jagged) else value, np.float64) for value in values]
        with np.errstate(all="ignore"):  # what is not finite is reported with its row
            result = self.compute(*numbers)
        return Jagged(result, first.counts) if isinstance(first, Jagged) else result


def component(name: str, stored: Stored) -> Component | None:
    """Find ``object.pt``, ``.eta``, ``.phi``, ``.mass`` or ``.energy`` in what a file stores of the object's momentum.

    Parameters
    ----------
    name : str
        What is asked for.
    stored : callable
        Returns what the file calls a column, None for one that it has not.

    Returns
    -------
    Component or None
        None where the file has no such momentum.
    """
    front, _, what = name.rpartition(".")
    if not front or what not in _WAYS:
        return None
    for (spelled, compute), separator in product(_WAYS[what](), SEPARATORS):
        inputs = [stored(front + separator + part) for part in spelled]
        if None not in inputs:
            return Component(tuple(own for own in inputs if own is not None), compute)
    return None


def _pt() -> Iterator[Way]:
    yield from (((spelled[0],), None) for spelled in POLAR)
    yield from ((spelled[:2], np.hypot) for spelled in CARTESIAN)


def _eta() -> Iterator[Way]:
    yield from (((spelled[1],), None) for spelled in POLAR)
    yield from ((spelled, lambda x, y, z: np.arcsinh(z / np.hypot(x, y))) for spelled in CARTESIAN)


def _phi() -> Iterator[Way]:
    yield from (((spelled[2],), None) for spelled in POLAR)
    yield from ((spelled[:2], lambda x, y: np.arctan2(y, x)) for spelled in CARTESIAN)


def _energy() -> Iterator[Way]:
    yield from (((own,), None) for own in ENERGY)
    for spelled, own in product(POLAR, MASS):
        yield (spelled[0], spelled[1], own), lambda pt, eta, mass: np.hypot(pt * np.cosh(eta), mass)
    for spelled, own in product(CARTESIAN, MASS):
        yield (*spelled, own), lambda x, y, z, mass: np.sqrt(x**2 + y**2 + z**2 + mass**2)


def _mass() -> Iterator[Way]:
    yield from (((own,), None) for own in MASS)
    for spelled, own in product(CARTESIAN, ENERGY):
        yield (*spelled, own), lambda x, y, z, energy: signed_root(energy**2 - x**2 - y**2 - z**2)
    for spelled, own in product(POLAR, ENERGY):
        yield (spelled[0], spelled[1], own), lambda pt, eta, energy: signed_root(energy**2 - (pt * np.cosh(eta)) ** 2)


_WAYS = {"pt": _pt, "eta": _eta, "phi": _phi, "energy": _energy, "mass": _mass}
