"""Sequences as people write them, turned into the alphabet of the networks: what is refused, and what is counted."""

from __future__ import annotations

from typing import NamedTuple

from tabstar_lit.families.antibody.pairs.tokens import AMINO_ACIDS, BREAK

AMBIGUOUS = "BJOUXZ"
"""Letters of IUPAC beyond the twenty: ambiguous ones, selenocysteine and pyrrolysine. The network sees UNKNOWN."""

CHAIN_BREAKS = "|:/"
"""What may stand between the chains of an antigen."""


class Letters(NamedTuple):
    """A cleaned sequence.

    Attributes
    ----------
    text : str
        In upper case, without white space; chains of an antigen with :data:`BREAK` between them.
    unknown : int
        Letters in it that are beyond the twenty.
    """

    text: str
    unknown: int


def cleaned(sequence: str, *, chains: bool = False) -> Letters:
    """Clean one sequence; with ``chains`` it may be of several.

    Raises
    ------
    ValueError
        Saying what is wrong with it; who calls knows where it stands.
    """
    text = "".join(sequence.split()).upper()
    if chains:
        text = text.translate(str.maketrans(CHAIN_BREAKS, BREAK * len(CHAIN_BREAKS)))
        if not all(text.split(BREAK)):
            raise ValueError("a chain is empty")
    if not text:
        raise ValueError("the sequence is empty")
    known = AMINO_ACIDS + AMBIGUOUS + (BREAK if chains else "")
    for place, letter in enumerate(text, 1):
        if letter not in known:
            raise ValueError(f"letter {place} is {letter!r}{_meaning(letter)}")
    return Letters(text, sum(letter in AMBIGUOUS for letter in text))


def _meaning(letter: str) -> str:
    if letter == "*":
        return ", a stop codon"
    if letter in "-.":
        return ", a gap of an alignment"
    return f", no amino acid ({AMINO_ACIDS}, or {AMBIGUOUS} for unknown ones)"
