"""Affinities in one unit: pKd, the negative decimal logarithm of the dissociation constant in mol/l."""

from __future__ import annotations

import math
from typing import NamedTuple

from tabstar_lit.families.antibody.conversion.config import GAS_CONSTANT, MOLAR, Affinity

MISSING = frozenset({"", "nan", "na", "n/a", "null", "none", "-", "n.d."})
"""Texts of cells, in lower case, that hold no number."""

PLAUSIBLE = (-2.0, 18.0)
"""pKd beyond these is a mistake of the unit."""


class Measured(NamedTuple):
    """An affinity.

    Attributes
    ----------
    pkd : float
        NaN where it is not known.
    censored : int
        −1 where ``pkd`` is an upper bound, 1 where it is a lower one, 0 where it was measured.
    """

    pkd: float
    censored: int = 0


def parse_affinity(text: str, affinity: Affinity, reference: float = math.nan, *, binds: bool = True) -> Measured:
    """Return the affinity that the text of a cell means.

    ``pKd = −log10(K_D)``; with energies ``pKd = −ΔG / (R T ln 10)``, and ``pKd = pKd_reference − ΔΔG / (R T ln 10)``.

    Parameters
    ----------
    text : str
        A number, with ``>``, ``<`` or ``~`` before it; or a text of :data:`MISSING`.
    affinity : Affinity
        What it means.
    reference : float
        pKd of the reference, with ``delta_delta_g``.
    binds : bool
        False for a row that is said not to bind: without a number its affinity is at most the assay's limit.

    Raises
    ------
    ValueError
        Saying what is wrong with it; who calls knows where it stands.
    """
    own = text.strip()
    if own.lower() in MISSING:
        known = affinity.non_binders is not None and not binds
        return Measured(affinity.non_binders.pkd_below, -1) if known and affinity.non_binders else Measured(math.nan)
    sign, number = (own[0], own[1:].lstrip("=")) if own[0] in "<>~=" else ("", own)
    try:
        value = float(number)
    except ValueError:
        raise ValueError(f"the affinity '{own}' is no number") from None
    if not math.isfinite(value):
        raise ValueError(f"the affinity '{own}' is not finite")
    pkd = _pkd(value, affinity, reference)
    if not PLAUSIBLE[0] <= pkd <= PLAUSIBLE[1]:
        raise ValueError(f"the affinity '{own}' means a pKd of {pkd:.1f}: kind and unit do not fit")
    stronger = 1 if affinity.kind == "pkd" else -1  # a larger K_D or energy is a weaker binding
    return Measured(pkd, {">": stronger, "<": -stronger}.get(sign, 0))


def _pkd(value: float, affinity: Affinity, reference: float) -> float:
    unit = affinity.unit or ""
    match affinity.kind:
        case "pkd":
            return value
        case "kd":
            if value <= 0:
                raise ValueError(f"a K_D of {value:g} is not above 0")
            return -math.log10(value) - MOLAR[unit]
        case "log10_kd":
            return -value - MOLAR[unit]
        case "delta_g":
            return -value / _energy(affinity)
        case "delta_delta_g":
            return reference - value / _energy(affinity)


def _energy(affinity: Affinity) -> float:
    """Return R T ln 10: the energy of a factor of ten."""
    return GAS_CONSTANT[affinity.unit or ""] * affinity.temperature * math.log(10)
