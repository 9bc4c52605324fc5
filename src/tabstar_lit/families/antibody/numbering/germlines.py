"""A small set of germline genes, aligned to the 128 positions of the IMGT numbering (Lefranc et al. 2003).

It comes from IMGT, the international ImMunoGeneTics information system (https://www.imgt.org, CC BY 4.0): common V and
J genes of human, mouse and alpaca. Domains of other genes are aligned as well, to the nearest of these.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Literal

import numpy as np

from tabstar_lit.arrays import Int8
from tabstar_lit.families.antibody.pairs.batch import REGIONS

Chain = Literal["H", "K", "L"]
CHAINS: tuple[Chain, ...] = ("H", "K", "L")
"""Heavy, kappa and lambda."""

POSITIONS = 128
V_END = 108
"""V genes give positions 1 to this one, J genes those after it."""

FIRST_CYSTEINE, TRYPTOPHAN, SECOND_CYSTEINE = 23, 41, 104
"""Positions of the conserved residues."""

REGION_ENDS = dict(zip(REGIONS, (26, 38, 55, 65, 104, 117, POSITIONS), strict=True))
"""Last position of each region."""

GAP = "-"


@dataclass(frozen=True)
class Gene:
    """A germline gene.

    Attributes
    ----------
    name, species : str
        Of the gene, such as ``IGHV3-23*01``.
    chain : str
        H, K or L.
    segment : str
        V or J.
    letters : str
        ``[128]`` aligned letters, ``-`` where there is none.
    """

    name: str
    species: str
    chain: Chain
    segment: Literal["V", "J"]
    letters: str


@cache
def germline_genes(chain: Chain, segment: Literal["V", "J"]) -> tuple[Gene, ...]:
    """Return the genes of a kind of chain."""
    text = files(__package__).joinpath("germlines.tsv").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    return tuple(
        Gene(row["gene"], row["species"], chain, segment, _whole(row["sequence"], segment))
        for row in csv.DictReader(lines, delimiter="\t")
        if (row["chain"], row["segment"]) == (chain, segment)
    )


@cache
def position_regions() -> Int8:
    """Return the region of each position: ``[129]`` numbers 1 to 7, 0 for the position 0 that is none."""
    regions = np.zeros(POSITIONS + 1, dtype=np.int8)
    start = 1
    for number, end in enumerate(REGION_ENDS.values(), start=1):
        regions[start : end + 1] = number
        start = end + 1
    return regions


def _whole(letters: str, segment: str) -> str:
    rest = GAP * (POSITIONS - len(letters))
    return letters + rest if segment == "V" else rest + letters
