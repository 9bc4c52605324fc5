"""Regions of antibodies that were written, and what is wrong with them, counted honestly."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import NamedTuple

import numpy as np

from tabstar_lit.arrays import Int8
from tabstar_lit.errors import ConfigError, DataError
from tabstar_lit.families.antibody.numbering.domains import Domain, find_domains
from tabstar_lit.families.antibody.numbering.germlines import FIRST_CYSTEINE, SECOND_CYSTEINE, TRYPTOPHAN
from tabstar_lit.families.antibody.pairs.batch import REGION_NAMES, REGIONS
from tabstar_lit.families.antibody.pairs.tokens import AMINO_ACIDS, BREAK, chains_of
from tabstar_lit.families.antibody.pairs.toy import GENERATED, toy_regions

FLAWS = {
    "no end": "cut at the greatest length, END was never written",
    "empty": "no letter at all",
    "foreign letters": "letters beyond the twenty, or a separator too many",
    "no domain": "a chain in which no variable domain is recognised, or the wrong kind of it",
    "no cysteine": "one of the two conserved cysteines of a domain is missing",
    "no tryptophan": "the conserved tryptophan of a domain is missing",
    "homopolymer": "a run of one letter that is longer than allowed",
}
"""What can be wrong with an antibody."""

MAX_RUN = 6
"""Longest run of one letter; of the antibodies of SAbDab hardly any has a longer one."""


class Numbered(NamedTuple):
    """An antibody that was written.

    Attributes
    ----------
    text : str
        Its chains.
    regions : NDArray of int8
        Of each letter of the text; 0 where nothing is recognised.
    flaws : tuple of str
        Names of :data:`FLAWS`; it is valid where there is none.
    """

    text: str
    regions: Int8
    flaws: tuple[str, ...]


def number_texts(
    texts: Sequence[str], numbering: str, *, ended: Sequence[bool] | None = None, max_run: int = MAX_RUN
) -> list[Numbered]:
    """Return the regions of antibodies, and their flaws.

    Parameters
    ----------
    texts : sequence of str
        As :func:`~tabstar_lit.families.antibody.pairs.tokens.antibody_text` writes them.
    numbering : str
        What the training pairs were numbered by; those of a generated task have rules of their own.
    ended : sequence of bool, optional
        Whether each came to its END.
    max_run : int
        Longest run of one letter that is no flaw.
    """
    domains = _toy_domains if numbering == GENERATED else _real_domains
    found = []
    for own, text, complete in zip(domains(texts), texts, ended or [True] * len(texts), strict=True):
        regions, flaws = own
        found.append(Numbered(text, regions, (*_letter_flaws(text, complete, max_run), *(flaws if text else ()))))
    return found


def hidden_regions(text: str, names: Sequence[str], numbering: str) -> str:
    """Return an antibody with X in place of each residue of some regions, such as ``h_cdr3``.

    Raises
    ------
    ConfigError
        There is no region of that name.
    DataError
        The antibody does not have one of them.
    """
    if unknown := [name for name in names if name not in REGION_NAMES[1:]]:
        raise ConfigError(f"there is no region {unknown[0]!r}; there are {', '.join(REGION_NAMES[1:])}.")
    (own,) = number_texts([text], numbering)
    for name in names:
        if not (own.regions == REGION_NAMES.index(name)).any():
            found = ", ".join(REGION_NAMES[number] for number in np.unique(own.regions[own.regions > 0]))
            raise DataError(f"the template has no {name}; recognised are {found or 'none'}. Write X yourself instead.")
    chosen = np.isin(own.regions, [REGION_NAMES.index(name) for name in names])
    return "".join("X" if hidden else letter for letter, hidden in zip(text, chosen, strict=True))


def longest_run(text: str) -> int:
    """Return the length of the longest run of one letter."""
    return max((len(list(run)) for _, run in groupby(text)), default=0)


def _letter_flaws(text: str, ended: bool, max_run: int) -> list[str]:
    own = [] if ended else ["no end"]
    if not text.replace(BREAK, ""):
        return [*own, "empty"]
    if set(text) - {*AMINO_ACIDS, BREAK} or text.count(BREAK) > 1:
        own.append("foreign letters")
    return own if longest_run(text) <= max_run else [*own, "homopolymer"]


Judged = list[tuple[Int8, list[str]]]


def _real_domains(texts: Sequence[str]) -> Judged:
    """Return regions and flaws of antibodies that are numbered by alignment."""
    chains = sorted({chain for text in texts for chain in chains_of(text) if chain})
    domains = dict(zip(chains, find_domains(chains), strict=True))
    return [_judged(text, domains) for text in texts]


def _judged(text: str, domains: dict[str, list[Domain]]) -> tuple[Int8, list[str]]:
    regions, flaws = np.zeros(len(text), np.int8), list[str]()
    heavy, light = chains_of(text)
    for chain, kinds, start, first in (
        (heavy, "H", 0, 0),
        (light, "KL", len(heavy) + len(BREAK), len(REGIONS)),
    ):
        own = [domain for domain in domains.get(chain, []) if domain.chain in kinds]
        if not chain:
            continue
        if not own:
            flaws.append("no domain")
            continue
        domain = own[0]
        regions[start + domain.start : start + domain.end] = domain.regions + first
        if domain.at(FIRST_CYSTEINE) != "C" or domain.at(SECOND_CYSTEINE) != "C":
            flaws.append("no cysteine")
        if domain.at(TRYPTOPHAN) != "W":
            flaws.append("no tryptophan")
    return regions, list(dict.fromkeys(flaws))


def _toy_domains(texts: Sequence[str]) -> Judged:
    """Return the same for those of a generated task, whose frameworks have fixed lengths."""
    return [_toy_judged(text, toy_regions(text)) for text in texts]


def _toy_judged(text: str, regions: Int8) -> tuple[Int8, list[str]]:
    if not regions.any():
        return regions, ["no domain"]
    flaws = []
    for first, chain in zip((0, len(REGIONS)), chains_of(text), strict=True):
        if not chain:
            continue
        ends = [text[np.flatnonzero(regions == first + number)[-1]] for number in (1, 5)]
        starts = text[np.flatnonzero(regions == first + 3)[0]]
        flaws += [*(["no cysteine"] if ends != ["C", "C"] else []), *(["no tryptophan"] if starts != "W" else [])]
    return regions, list(dict.fromkeys(flaws))
