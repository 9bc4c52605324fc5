"""Profiles of variable domains: what each IMGT position scores for each letter, and what gaps cost there.

Scores are log-odds in nats against the background of proteins, as in profile hidden Markov models (Eddy 1998),
estimated from the germline genes with pseudocounts. CDR3, whose length and letters are not in the germline, scores
nothing and costs little.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

from tabstar_lit.arrays import Float32, Float64
from tabstar_lit.families.antibody.numbering.germlines import (
    FIRST_CYSTEINE,
    POSITIONS,
    SECOND_CYSTEINE,
    TRYPTOPHAN,
    V_END,
    Chain,
    germline_genes,
)
from tabstar_lit.families.antibody.pairs.tokens import AMINO_ACIDS

OTHER = len(AMINO_ACIDS)
"""Column of letters beyond the twenty; the next one, :data:`OUTSIDE`, is no letter at all."""
OUTSIDE = OTHER + 1

BACKGROUND = (7.9, 1.5, 5.4, 6.3, 4.0, 7.0, 2.2, 5.7, 5.8, 9.6, 2.4, 4.1, 4.8, 3.9, 5.2, 6.8, 5.5, 6.7, 1.2, 3.2)
"""Percent of each letter in proteins (UniProt), in the order of :data:`AMINO_ACIDS`."""

PSEUDOCOUNT = 0.15
"""Share of the background in what a position is taken to hold."""

IMPOSSIBLE = -1e4
CONSERVED_BONUS = 1.0
"""Added to the score of the two cysteines and the tryptophan, which evolution keeps better than a gene pool shows."""

LOOP_CENTRES = {32: (28, 38), 60: (56, 65), 111: (107, 116)}
"""Where each loop grows, and the positions that it can lack."""

UNUSED = -3.0
"""Score of any letter at a position that all genes of the chain lack, as light chains do the last one."""

RARE_GAP = 4.0
"""Cost of a gap at a position that no germline gene lacks."""

END_COST = 0.25
"""Cost of each position missing at either end."""


@dataclass(frozen=True, eq=False)
class Profile:
    """Scores of one kind of chain at ``P`` = 128 positions.

    Attributes
    ----------
    chain : str
        H, K or L.
    emission : NDArray of float32
        ``[P, 22]`` by letter, :data:`OTHER` and :data:`OUTSIDE`.
    deletion : NDArray of float32
        ``[P]`` cost of lacking a position.
    opening, extension : NDArray of float32
        ``[P]`` cost of the first and of each further letter between a position and the next.
    """

    chain: Chain
    emission: Float32
    deletion: Float32
    opening: Float32
    extension: Float32


@cache
def profile_of(chain: Chain) -> Profile:
    """Return the profile of a kind of chain."""
    emission, lacking = np.zeros((POSITIONS, OUTSIDE + 1)), np.zeros(POSITIONS)
    for segment, places in (("V", range(V_END)), ("J", range(V_END, POSITIONS))):
        letters = [gene.letters for gene in germline_genes(chain, "V" if segment == "V" else "J")]
        for place in places:
            column = "".join(own[place] for own in letters)
            emission[place, :OTHER] = _log_odds(column)
            lacking[place] = column.count("-") / len(column)
    for position in (FIRST_CYSTEINE, TRYPTOPHAN, SECOND_CYSTEINE):
        place = position - 1
        emission[place, emission[place, :OTHER].argmax()] += CONSERVED_BONUS
    emission[:, OTHER] = -0.5
    emission[:, OUTSIDE] = IMPOSSIBLE
    deletion = np.clip(-np.log(np.maximum(lacking, 1e-9)), 0.05, RARE_GAP)
    opening, extension = np.full(POSITIONS, 6.0), np.full(POSITIONS, 1.5)
    for centre, (first, last) in LOOP_CENTRES.items():
        third = centre == 111
        deletion[first - 1 : last] = np.minimum(deletion[first - 1 : last], 0.3 if third else 1.0)
        opening[centre - 1], extension[centre - 1] = (0.5, 0.15) if third else (2.5, 0.5)
    emission[LOOP_CENTRES[111][0] - 1 : LOOP_CENTRES[111][1], :OTHER] = 0.0
    return Profile(chain, *(part.astype(np.float32) for part in (emission, deletion, opening, extension)))


def _log_odds(column: str) -> Float64:
    """Return the score of each letter at a position, given the letters that genes have there."""
    background = np.array(BACKGROUND) / sum(BACKGROUND)
    counts = np.array([column.count(letter) for letter in AMINO_ACIDS], dtype=np.float64)
    if not counts.sum():
        return np.full(OTHER, UNUSED)
    return np.asarray(np.log((1 - PSEUDOCOUNT) * counts / counts.sum() / background + PSEUDOCOUNT))
