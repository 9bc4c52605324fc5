"""Pairs that are met several times made one, with the mean of their affinities."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from tabstar_lit.arrays import Float32, Int8
from tabstar_lit.families.antibody.conversion.affinity import Measured
from tabstar_lit.families.antibody.conversion.chains import Antibody
from tabstar_lit.families.antibody.conversion.rows import PairRow


class Merged(NamedTuple):
    """Pairs, each different from all others.

    Attributes
    ----------
    rows : list of PairRow
        The first row of each pair.
    antibodies : list of Antibody
        Their antibodies.
    pkd, censored : NDArray
        ``[N]`` affinities.
    merged : int
        Rows that became part of another one's pair.
    """

    rows: list[PairRow]
    antibodies: list[Antibody]
    pkd: Float32
    censored: Int8
    merged: int


def merge(pairs: Sequence[tuple[PairRow, Antibody]]) -> Merged:
    """Make pairs of equal antigen and antibody one: see :func:`joint_affinity`."""
    groups: dict[tuple[str, str], list[tuple[PairRow, Antibody]]] = {}
    for row, antibody in pairs:
        groups.setdefault((row.antigen, antibody.text), []).append((row, antibody))
    firsts = [own[0] for own in groups.values()]
    affinities = [joint_affinity([row.affinity for row, _ in own]) for own in groups.values()]
    return Merged(
        rows=[row for row, _ in firsts],
        antibodies=[antibody for _, antibody in firsts],
        pkd=np.array([own.pkd for own in affinities], dtype=np.float32),
        censored=np.array([own.censored for own in affinities], dtype=np.int8),
        merged=len(pairs) - len(firsts),
    )


def joint_affinity(affinities: Sequence[Measured]) -> Measured:
    """Return the mean of what was measured; without any, the mean of bounds of the more frequent kind."""
    known = [own for own in affinities if not np.isnan(own.pkd)]
    if not known:
        return affinities[0]
    measured = [own.pkd for own in known if not own.censored]
    if measured:
        return Measured(float(np.mean(measured)))
    side = 1 if sum(own.censored for own in known) > 0 else -1
    bounds = [own.pkd for own in known if own.censored == side] or [own.pkd for own in known]
    return Measured(float(np.mean(bounds)), side)
