"""Variable domains as other programs number them (IMGT), where these are installed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np

from tabstar_lit.errors import DataError
from tabstar_lit.families.antibody.numbering.domains import Domain, find_domains
from tabstar_lit.families.antibody.numbering.germlines import CHAINS

Finder = Callable[[Sequence[str]], list[list[Domain]]]


def finder(name: str) -> tuple[Finder, str]:
    """Return what finds domains, and the words that say which program it is.

    Parameters
    ----------
    name : str
        own, anarci, abnumber or anarcism.

    Raises
    ------
    DataError
        The program is not installed.
    """
    if name == "own":
        return find_domains, "own profile alignment"
    try:
        import_module(name)
        words = f"{name} {version(name)}"
    except (ImportError, PackageNotFoundError) as error:
        raise DataError(
            f"numbering: {name} is not installed ({error}). Install it, or leave numbering: own."
        ) from error
    return FINDERS[name], words


def _anarcism(sequences: Sequence[str]) -> list[list[Domain]]:
    """Return what anarcism finds."""
    import anarcism

    named = [(str(number), text) for number, text in enumerate(sequences)]
    return [
        [
            _domain(text, own.chain_type, ((r.sequence_index, r.position, r.insertion_code) for r in own.numbering))
            for own in result.domains
            if own.chain_type in CHAINS
        ]
        for text, result in zip(sequences, anarcism.number_sequences(named), strict=True)
    ]


def _anarci(sequences: Sequence[str]) -> list[list[Domain]]:
    """Return what ANARCI finds (Dunbar and Deane 2016)."""
    from anarci import anarci

    named = [(str(number), text) for number, text in enumerate(sequences)]
    numbered, details, _ = anarci(named, scheme="imgt", allow={*CHAINS})
    found: list[list[Domain]] = []
    for text, domains, about in zip(sequences, numbered, details, strict=True):
        own = []
        for (places, start, _end), detail in zip(domains or [], about or [], strict=True):
            residues = [(position, code) for (position, code), letter in places if letter != "-"]
            indices = range(start, start + len(residues))
            rows = ((index, position, code) for index, (position, code) in zip(indices, residues, strict=True))
            own.append(_domain(text, detail["chain_type"], rows))
        found.append(own)
    return found


def _abnumber(sequences: Sequence[str]) -> list[list[Domain]]:
    """Return what AbNumber finds, which runs ANARCI."""
    from abnumber import Chain, ChainParseError

    found = []
    for text in sequences:
        try:
            chains = Chain.multiple_domains(text, scheme="imgt")
        except ChainParseError:
            chains = []
        own = []
        for chain in chains:
            start = text.index(chain.seq)
            rows = ((start + i, place.number, place.letter) for i, place in enumerate(chain.positions))
            own.append(_domain(text, chain.chain_type, rows))
        found.append(own)
    return found


FINDERS: dict[str, Finder] = {"anarcism": _anarcism, "anarci": _anarci, "abnumber": _abnumber}


def _domain(text: str, chain: Any, residues: Iterable[tuple[int, int, str]]) -> Domain:
    rows = list(residues)
    start, end = rows[0][0], rows[-1][0] + 1
    positions = np.zeros(end - start, dtype=np.int64)
    for index, position, code in rows:
        positions[index - start] = -position if code.strip() else position
    return Domain(chain, start, end, positions, 0.0, text[start:end])
