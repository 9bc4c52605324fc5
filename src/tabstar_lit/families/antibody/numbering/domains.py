"""Variable domains of a sequence: which chain, where, which region each residue is in, and what its germline was."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from tabstar_lit.arrays import Array, Bool, Float32, Int8, Int64
from tabstar_lit.families.antibody.numbering.alignment import align
from tabstar_lit.families.antibody.numbering.germlines import (
    CHAINS,
    POSITIONS,
    REGION_ENDS,
    SECOND_CYSTEINE,
    V_END,
    Chain,
    Gene,
    germline_genes,
    position_regions,
)
from tabstar_lit.families.antibody.numbering.profile import OTHER, OUTSIDE, profile_of
from tabstar_lit.families.antibody.pairs.batch import GERMLINE, GERMLINE_UNKNOWN, MUTATED
from tabstar_lit.families.antibody.pairs.tokens import AMINO_ACIDS

MIN_SCORE = 60.0
"""Least score of a variable domain, in nats; unrelated proteins stay far below, whole domains are above 120."""

MIN_POSITIONS = 70
"""Least matched positions of one."""

MIN_IDENTITY = 0.55
"""Least identity with the nearest gene for which germline residues are told."""

CHUNK = 256
"""Sequences that are aligned at once."""

LOOPS = (2, 4, 6)
"""Regions that are CDRs."""

_COLUMN = np.full(256, OTHER, dtype=np.int64)
for _number, _letter in enumerate(AMINO_ACIDS):
    _COLUMN[ord(_letter)] = _number


@dataclass(frozen=True, eq=False)
class Domain:
    """A variable domain inside a sequence.

    Attributes
    ----------
    chain : str
        H, K or L.
    start, end : int
        Its place in the sequence.
    positions : NDArray of int64
        ``[end - start]`` IMGT position of each residue; −p for one inserted after position p.
    score : float
        In nats; 0 where another program numbered it.
    letters : str
        Its residues.
    gene : str
        The nearest germline V gene of :mod:`.germlines`; empty where none is near.
    identity : float
        Share of its residues before CDR3 that are those of that gene.
    germline : NDArray of int8
        Of each residue, whether it is the gene's; filled by :func:`with_germline`.
    """

    chain: Chain
    start: int
    end: int
    positions: Int64
    score: float
    letters: str
    gene: str = ""
    identity: float = 0.0
    germline: Int8 = field(default_factory=lambda: np.zeros(0, np.int8))

    @property
    def regions(self) -> Int8:
        """Region of each residue, 1 (FR1) to 7 (FR4); an inserted one is in that of the position before it."""
        own: Int8 = position_regions()[np.abs(self.positions)]
        return own

    def moved(self, start: int) -> Domain:
        """Return the same domain at another place."""
        return replace(self, start=start, end=start + len(self.letters))

    def at(self, position: int) -> str:
        """Return the residue at an IMGT position; empty where there is none."""
        found = np.flatnonzero(self.positions == position)
        return self.letters[found[0]] if len(found) else ""

    def region_text(self, number: int) -> str:
        """Return the residues of a region, 1 to 7."""
        return "".join(letter for letter, own in zip(self.letters, self.regions, strict=True) if own == number)


def find_domains(sequences: Sequence[str]) -> list[list[Domain]]:
    """Return the variable domains of each sequence in their order, at most one heavy and one light of each."""
    found: list[list[Domain]] = [[] for _ in sequences]
    order = np.argsort([len(text) for text in sequences], kind="stable")
    for start in range(0, len(order), CHUNK):
        rows = order[start : start + CHUNK]
        for row, domains in zip(rows, _chunk_domains([sequences[row] for row in rows]), strict=True):
            found[row] = domains
    return found


def with_germline(domain: Domain) -> Domain:
    """Return the domain with its nearest germline gene, and which of its residues differ from it.

    Of CDR3, where genes are joined by chance, that is not known; nor of inserted residues.
    """
    aligned = np.zeros(POSITIONS + 1, dtype="<U1")
    matched = domain.positions > 0
    aligned[domain.positions[matched]] = np.array(list(domain.letters), dtype="<U1")[matched]
    places = np.arange(POSITIONS + 1)
    v_gene, identity = _nearest(aligned, germline_genes(domain.chain, "V"), places <= SECOND_CYSTEINE)
    flags = np.full(len(domain.letters), GERMLINE_UNKNOWN, dtype=np.int8)
    if identity < MIN_IDENTITY:
        return replace(domain, identity=identity, germline=flags)
    j_gene, _ = _nearest(aligned, germline_genes(domain.chain, "J"), places > V_END)
    known = np.array(["", *(v if place < SECOND_CYSTEINE else j for place, (v, j) in _paired(v_gene, j_gene))])
    for place in np.flatnonzero(matched):
        germline = known[domain.positions[place]]
        if germline != "-" and position_regions()[domain.positions[place]] != LOOPS[-1]:
            flags[place] = GERMLINE if germline == domain.letters[place] else MUTATED
    return replace(domain, gene=v_gene.name, identity=identity, germline=flags)


def _paired(v_gene: Gene, j_gene: Gene) -> list[tuple[int, tuple[str, str]]]:
    return list(enumerate(zip(v_gene.letters, j_gene.letters, strict=True)))


def _nearest(aligned: Array, genes: Sequence[Gene], where: Bool) -> tuple[Gene, float]:
    """Return the gene with most letters in common, and the share of them among those that both have."""
    table = np.array([["", *gene.letters] for gene in genes])
    both = where & (aligned != "") & (table != "-")
    same = (both & (table == aligned)).sum(1)
    best = int(same.argmax())
    return genes[best], float(same[best] / max(1, both[best].sum()))


def _chunk_domains(sequences: Sequence[str]) -> list[list[Domain]]:
    letters = np.full((len(sequences), max(map(len, sequences), default=0)), OUTSIDE, dtype=np.int64)
    for row, text in enumerate(sequences):
        letters[row, : len(text)] = _COLUMN[np.frombuffer(text.encode("ascii", "replace"), dtype=np.uint8)]
    hits = {chain: align(letters, profile_of(chain)) for chain in CHAINS}
    return [
        _chosen([_domain(text, chain, hit.scores, hit.positions, row) for chain, hit in hits.items()])
        for row, text in enumerate(sequences)
    ]


def _domain(text: str, chain: Chain, scores: Float32, positions: Int64, row: int) -> Domain | None:
    places = np.flatnonzero(positions[row])
    if scores[row] < MIN_SCORE or (positions[row] > 0).sum() < MIN_POSITIONS:
        return None
    start, end = int(places[0]), int(places[-1]) + 1
    return Domain(chain, start, end, with_even_loops(positions[row, start:end]), float(scores[row]), text[start:end])


def with_even_loops(positions: Int64) -> Int64:
    """Return positions ``[n]`` with the residues of each CDR put as IMGT has it: from both ends, the gap between."""
    regions = position_regions()[np.abs(positions)]
    placed = positions.copy()
    ends = [0, *REGION_ENDS.values()]
    for loop in LOOPS:
        own = np.flatnonzero(regions == loop)
        first, last = ends[loop - 1] + 1, ends[loop]
        left = min((len(own) + 1) // 2, (last - first + 2) // 2)
        right = min(len(own) - left, last - first + 1 - left)
        placed[own] = -(first + left - 1)  # what is left between both ends is inserted there
        placed[own[:left]] = np.arange(first, first + left)
        placed[own[len(own) - right :]] = np.arange(last - right + 1, last + 1)
    return placed


def _chosen(found: Sequence[Domain | None]) -> list[Domain]:
    """Return the best of the domains that do not overlap, in the order of the sequence."""
    kept: list[Domain] = []
    for domain in sorted((own for own in found if own is not None), key=lambda own: -own.score):
        if all(domain.start >= other.end or domain.end <= other.start for other in kept):
            kept.append(domain)
    return sorted(kept, key=lambda own: own.start)
