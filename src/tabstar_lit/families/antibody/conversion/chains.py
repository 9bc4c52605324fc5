"""Which chains an antibody has: heavy, light, both in one chain with a linker (scFv), or a heavy one alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np

from tabstar_lit.arrays import Int8
from tabstar_lit.families.antibody.numbering.domains import Domain
from tabstar_lit.families.antibody.pairs.batch import GERMLINE_UNKNOWN, REGIONS
from tabstar_lit.families.antibody.pairs.tokens import antibody_text

Form = Literal["heavy and light", "single chain Fv", "heavy alone", "light alone"]
"""What an antibody is made of; heavy chains alone are those of nanobodies, or of pairs whose other half is unknown."""


class Chain(NamedTuple):
    """One chain of an antibody, as it is written.

    Attributes
    ----------
    letters : str
        Its residues.
    regions, germline : NDArray of int8
        Of each residue.
    """

    letters: str
    regions: Int8
    germline: Int8


class Antibody(NamedTuple):
    """An antibody that was recognised.

    Attributes
    ----------
    form : str
        See :data:`Form`.
    text : str
        Its chains, as :func:`~tabstar_lit.families.antibody.pairs.tokens.antibody_text` joins them.
    regions, germline : NDArray of int8
        Of each letter of the text.
    linker : str
        Residues between the domains of a single chain.
    """

    form: Form
    text: str
    regions: Int8
    germline: Int8
    linker: str = ""


def recognise(chains: Sequence[str], domains: Mapping[str, Sequence[Domain]], *, whole: bool) -> Antibody:
    """Recognise the chains of an antibody.

    Parameters
    ----------
    chains : sequence of str
        Its sequences in any order, none of them empty; a chain that is given twice counts once.
    domains : mapping of str to sequence of Domain
        Variable domains of each sequence.
    whole : bool
        Keep what lies beyond the variable domains; a single chain is cut in the middle of its linker.

    Raises
    ------
    ValueError
        Saying what it is instead of an antibody; who calls knows where it stands.
    """
    heavy: dict[str, Chain] = {}
    light: dict[str, Chain] = {}
    linker = ""
    for text in dict.fromkeys(chains):
        found = domains[text]
        if len(found) > 1:
            linker = text[found[0].end : found[1].start]
        for number, domain in enumerate(found):
            own = _chain(text, found, number) if whole else _chain(domain.letters, [domain], 0, domain.start)
            (heavy if domain.chain == "H" else light)[domain.letters] = own
    if not heavy and not light:
        raise ValueError("no variable domain of an antibody is found")
    for name, chains_of_kind in (("heavy", heavy), ("light", light)):
        if len(chains_of_kind) > 1:
            raise ValueError(f"{len(chains_of_kind)} different {name} chains are found")
    return _joined(next(iter(heavy.values()), None), next(iter(light.values()), None), linker)


def _chain(text: str, found: Sequence[Domain], number: int, shift: int = 0) -> Chain:
    """Return the part of a sequence that belongs to one of its domains, up to the middle of a linker."""
    start = 0 if number == 0 else (found[number - 1].end + found[number].start) // 2
    end = len(text) if number == len(found) - 1 else (found[number].end + found[number + 1].start) // 2
    domain = found[number]
    regions, germline = np.zeros(end - start, np.int8), np.full(end - start, GERMLINE_UNKNOWN, np.int8)
    own = slice(domain.start - start - shift, domain.end - start - shift)
    regions[own], germline[own] = domain.regions, domain.germline
    return Chain(text[start:end], regions, germline)


def _joined(heavy: Chain | None, light: Chain | None, linker: str) -> Antibody:
    nothing = Chain("", np.zeros(0, np.int8), np.zeros(0, np.int8))
    one, two = heavy or nothing, light or nothing
    regions, germline = [one.regions], [one.germline]
    if light is not None:
        regions += [np.zeros(1, np.int8), np.where(two.regions > 0, two.regions + len(REGIONS), 0).astype(np.int8)]
        germline += [np.full(1, GERMLINE_UNKNOWN, np.int8), two.germline]
    return Antibody(
        _form(heavy, light, linker),
        antibody_text(one.letters, two.letters),
        np.concatenate(regions),
        np.concatenate(germline),
        linker,
    )


def _form(heavy: Chain | None, light: Chain | None, linker: str) -> Form:
    if heavy is None:
        return "light alone"
    if light is None:
        return "heavy alone"
    return "single chain Fv" if linker else "heavy and light"
