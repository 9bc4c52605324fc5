"""The alphabet of 25 tokens that antigens and antibodies are written in."""

from __future__ import annotations

from tabstar_lit.data.tokenizers import LetterTokenizer

PAD, START, END, UNKNOWN, SEPARATOR = range(5)
"""Special tokens; the separator stands between the heavy and the light chain."""

AMINO_ACIDS = "ACDEFGHIKLMNPQRSTVWY"
"""The twenty letters, in the order of their tokens, which begin at :data:`FIRST_LETTER`."""

FIRST_LETTER = 5
VOCABULARY_SIZE = FIRST_LETTER + len(AMINO_ACIDS)

BREAK = "|"
"""How the separator is written between two chains of an antibody."""

TOKENIZER = LetterTokenizer(
    letters={letter: FIRST_LETTER + place for place, letter in enumerate(AMINO_ACIDS)} | {BREAK: SEPARATOR},
    specials={"pad": PAD, "bos": START, "eos": END, "unknown": UNKNOWN},
)
"""Writes START, the letters, END; letters beyond the twenty are :data:`UNKNOWN`."""


def antibody_text(heavy: str, light: str) -> str:
    """Return both chains as one text; a missing chain is empty, and one chain alone has no separator.

    A light chain without a heavy one keeps its separator, since it would else be read as heavy.
    """
    return f"{heavy}{BREAK}{light}" if light else heavy


def chains_of(text: str) -> tuple[str, str]:
    """Return the heavy and the light chain of a text that :func:`antibody_text` made."""
    heavy, _, light = text.partition(BREAK)
    return heavy, light
