"""The letters behind the ids of a table: the ids themselves, or those of a FASTA file."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from tabstar_lit.errors import DataError
from tabstar_lit.families.microbes.tables.payload import read_payload

OtherLetters = Literal["refuse", "n"]

ALLOWED = "ACGTN"
AMBIGUOUS = "RYSWKMBDHV"
"""IUPAC letters for one of several bases."""
_SEQUENCE = re.compile(rf"[{ALLOWED}U{AMBIGUOUS}]+", re.IGNORECASE)
_OTHER = re.compile(rf"[^{ALLOWED}]")
MEMBERS = ("dna-sequences.fasta",)
SHORTEST = 20
"""An id with fewer letters is a name."""


def sequences_of_ids(ids: Sequence[str], source: str, other_letters: OtherLetters = "refuse") -> tuple[str, ...]:
    """Return the sequences that the ids of a table are; none where they are names or hashes.

    Raises
    ------
    DataError
        Most are sequences, but one is not or has another letter than A, C, G, T and N.
    """
    looks = [len(name) >= SHORTEST and _SEQUENCE.fullmatch(name) is not None for name in ids]
    if 2 * sum(looks) <= len(ids):
        return ()
    if not all(looks):
        odd = ids[looks.index(False)]
        raise DataError(
            f"{source}: {sum(looks)} of {len(ids)} ids are sequences, but {odd!r} is not. Rename it, leave it out, or "
            "give the sequences of all ids in a FASTA file."
        )
    return tuple(
        _clean(name, f"{source}: feature {number + 1} of {len(ids)}", other_letters) for number, name in enumerate(ids)
    )


def sequences_of_fasta(ids: Sequence[str], path: Path, other_letters: OtherLetters = "refuse") -> tuple[str, ...]:
    """Return the sequence of each id, from a FASTA file.

    Raises
    ------
    DataError
        The file is no FASTA, lacks an id, or holds another letter than A, C, G, T and N.
    """
    found = read_fasta(path, other_letters)
    if absent := [name for name in ids if name not in found]:
        example = next(iter(found), "none")
        raise DataError(
            f"{path}: {len(absent)} of {len(ids)} features of the table have no sequence, such as {absent[0]!r}; the "
            f"file's ids look like {example!r}. Give the FASTA file that the table was made with."
        )
    return tuple(found[name] for name in ids)


def read_fasta(path: Path, other_letters: OtherLetters = "refuse") -> Mapping[str, str]:
    """Read a FASTA file: the id is the first word after ``>``.

    Raises
    ------
    DataError
        It is no FASTA, an id is there twice, or a letter is no base: says at which line.
    """
    payload = read_payload(path, members=MEMBERS)
    found: dict[str, str] = {}
    name, begun, lines = "", 0, list[str]()

    def finish() -> None:
        if name:
            found[name] = _clean("".join(lines), f"{payload.source}:{begun}: '{name}'", other_letters)

    for number, line in enumerate(payload.text().splitlines(), start=1):
        if line.startswith(">"):
            finish()
            name, begun, lines = (line[1:].split() or [""])[0], number, []
            if not name or name in found:
                raise DataError(f"{payload.source}:{number}: {'an id that is there twice' if name else 'no id'}")
        elif not name and line.strip():
            raise DataError(f"{payload.source}:{number}: no FASTA file: the first line begins with '>'")
        else:
            lines.append(line.strip())
    finish()
    return found


def _clean(text: str, place: str, other_letters: OtherLetters) -> str:
    """Return bases in capitals, a U as the T it was copied from.

    Raises
    ------
    DataError
        A letter is no base.
    """
    letters = text.upper().replace("U", "T")
    odd = _OTHER.search(letters)
    if odd is None and letters:
        return letters
    if odd is None:
        raise DataError(f"{place}: an empty sequence")
    if other_letters == "n" and odd[0] in AMBIGUOUS and not (set(letters) - set(ALLOWED) - set(AMBIGUOUS)):
        return _OTHER.sub("N", letters)
    remedy = "set other_letters: n to read it as N" if odd[0] in AMBIGUOUS else "remove gaps and other signs"
    raise DataError(
        f"{place}: {text[odd.start()]!r} at position {odd.start() + 1}; sequences are written in {ALLOWED}: {remedy}, "
        "or leave the sequence out."
    )
