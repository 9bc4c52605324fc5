"""What written antibodies are like: valid, different, new, as varied as real ones, and near the known binders.

Uniqueness, novelty and diversity are those of the comparison of language models in bioRxiv 2026.04.18.716776; the
effective vocabulary is that of AgForce (arXiv 2605.21610).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from rapidfuzz.distance import Levenshtein
from rapidfuzz.process import cdist

from tabstar_lit.arrays import Float64
from tabstar_lit.families.antibody.numbering.texts import FLAWS, Numbered
from tabstar_lit.families.antibody.pairs.batch import CDRS, REGION_NAMES
from tabstar_lit.families.antibody.pairs.tokens import AMINO_ACIDS

MOST_COMPARED = 400
"""Antibodies of which all pairs are compared, at most."""

NAMES = (
    "validity",
    *(f"flaw_{name.replace(' ', '_')}" for name in FLAWS),
    "uniqueness",
    "novelty",
    "nearest_identity",
    "diversity",
    "mean_length",
    *(f"vocabulary_{REGION_NAMES[number]}" for number in CDRS),
    "h_cdr3_similarity",
)
"""Measures; they are logged with ``written_`` before them."""


def measure(written: Sequence[Numbered], known: Sequence[str], binders: Sequence[Sequence[str]]) -> dict[str, float]:
    """Return all measures that can be taken.

    Parameters
    ----------
    written : sequence of Numbered
        M antibodies.
    known : sequence of str
        All different antibodies of the training.
    binders : sequence of sequence of str
        ``[M]`` CDR-H3 of the known antibodies of the antigen that each was written for.
    """
    texts = [own.text for own in written]
    lengths = np.array([len(text) for text in texts], dtype=np.float64)
    scores = {
        "validity": float(np.mean([not own.flaws for own in written])),
        **{f"flaw_{name.replace(' ', '_')}": float(np.mean([name in own.flaws for own in written])) for name in FLAWS},
        "uniqueness": len(set(texts)) / len(texts),
        "novelty": float(np.mean([text not in set(known) for text in texts])),
        "nearest_identity": float(_similar(texts, list(known)).max(1).mean()),
        "mean_length": float(lengths.mean()),
    }
    if len(texts) > 1:
        scores["diversity"] = diversity(texts)
    for number in CDRS:
        if letters := loop_letters(written, number):
            scores[f"vocabulary_{REGION_NAMES[number]}"] = effective_vocabulary(letters)
    if (similarity := loop_similarity(written, binders)) is not None:
        scores["h_cdr3_similarity"] = similarity
    return scores


def effective_vocabulary(letters: str) -> float:
    """Return exp of the entropy of the letters: how many of the twenty are used, as if all of these equally often."""
    counts = np.array([letters.count(letter) for letter in AMINO_ACIDS], dtype=np.float64)
    shares = counts[counts > 0] / counts.sum()
    return float(np.exp(-(shares * np.log(shares)).sum()))


def diversity(texts: Sequence[str]) -> float:
    """Return the mean edit distance of two different ones, over the length of the longer."""
    own = list(texts)[:MOST_COMPARED]
    similar = _similar(own, own)
    return float((1 - similar)[~np.eye(len(own), dtype=bool)].mean())


def region_text(own: Numbered, number: int) -> str:
    """Return the residues of a region of an antibody."""
    return "".join(own.text[place] for place in np.flatnonzero(own.regions == number))


def loop_letters(antibodies: Sequence[Numbered], number: int) -> str:
    """Return all residues that antibodies have in a region."""
    return "".join(region_text(own, number) for own in antibodies)


def loop_similarity(written: Sequence[Numbered], binders: Sequence[Sequence[str]]) -> float | None:
    """Return the mean similarity of each CDR-H3 to the nearest of the known binders of its antigen; None for none."""
    third = REGION_NAMES.index("h_cdr3")
    pairs = [(region_text(own, third), known) for own, known in zip(written, binders, strict=True)]
    found = [max(Levenshtein.normalized_similarity(loop, other) for other in known) for loop, known in pairs if known]
    return float(np.mean(found)) if found else None


def _similar(one: list[str], two: list[str]) -> Float64:
    """Return the similarity of each of ``one`` and each of ``two``, 1 for equal ones."""
    return np.asarray(cdist(one, two, scorer=Levenshtein.normalized_similarity, dtype=np.float32), dtype=np.float64)
