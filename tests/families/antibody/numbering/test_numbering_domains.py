"""Domains, regions and chains against anarcism, which numbers as ANARCI does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anarcism
import numpy as np
import pandas as pd
import pytest

from tabstar_lit.families.antibody.numbering.domains import Domain, find_domains, with_germline
from tabstar_lit.families.antibody.numbering.germlines import CHAINS, POSITIONS, germline_genes, position_regions
from tabstar_lit.families.antibody.numbering.programs import finder
from tabstar_lit.families.antibody.pairs.batch import GERMLINE, GERMLINE_UNKNOWN, MUTATED, REGIONS
from tabstar_lit.families.antibody.pairs.fasta import read_fasta

NAMES = {name.upper(): number for number, name in enumerate(REGIONS, start=1)}
HEAVY = (
    "EVQLVESGGGLVQPGGSLRLSCAASGFNIKDTYIHWVRQAPGKGLEWVARIYPTNGYTRYADSVKGRFTISADTSKNTAYLQMNSLRAEDTAVYYCSRWGGDGFYAMDYWGQ"
    "GTLVTVSS"
)
LIGHT = "DIQMTQSPSSLSASVGDRVTITCRASQDVNTAVAWYQQKPGKAPKLLIYSASFLYSGVPSRFSGSRSGTDFTLTISSLQPEDFATYYCQQHYTTPPTFGQGTKVEIK"
"""Variable domains of trastuzumab."""


@pytest.fixture(scope="module")
def real_chains(shared_data: Path) -> list[str]:
    """Every fourth different chain of the real sets: antibodies, whole Fabs, nanobodies, other proteins."""
    tables = {
        "biomap_affinity.csv.gz": ["antibody_seq_a", "antibody_seq_b"],
        "nanobody_antigen_pairs.csv.gz": ["seq_nanobody"],
        "abbind_mutants.csv.gz": ["antibody_heavy_seq", "antibody_light_seq"],
    }
    chains: set[str] = set()
    for name, columns in tables.items():
        frame = pd.read_csv(shared_data / "antibody" / name)
        chains |= {text for column in columns for text in frame[column].dropna()}
    return sorted(chains)[::8]


@pytest.fixture(scope="module")
def compared(real_chains: list[str]) -> tuple[list[list[Domain]], list[list[Any]]]:
    """Our domains of these chains, and theirs."""
    return find_domains(real_chains), reference_domains(real_chains)


def reference_domains(chains: list[str]) -> list[list[Any]]:
    named = [(str(number), text) for number, text in enumerate(chains)]
    return [[own for own in r.domains if own.chain_type in CHAINS] for r in anarcism.number_sequences(named)]


Compared = tuple[list[list[Domain]], list[list[Any]]]


def test_the_same_domains_are_found_in_real_chains(compared: Compared) -> None:
    ours, theirs = compared
    assert sum(map(len, theirs)) > 200
    assert [] in theirs
    assert [[own.chain for own in found] for found in ours] == [[own.chain_type for own in found] for found in theirs]


def test_residues_are_in_the_same_regions(compared: Compared) -> None:
    same = total = 0
    for found, other in zip(*compared, strict=True):
        for domain, reference in zip(found, other, strict=True):
            own = {domain.start + place: int(region) for place, region in enumerate(domain.regions)}
            expected = {residue.sequence_index: NAMES[residue.region] for residue in reference.numbering}
            same += sum(own.get(place) == region for place, region in expected.items())
            total += len(own.keys() | expected.keys())
    assert same / total > 0.99


def test_conserved_residues_stand_where_imgt_has_them() -> None:
    (heavy,), (light,) = find_domains([HEAVY, LIGHT])
    for domain in (heavy, light):
        assert [domain.at(position) for position in (23, 41, 104)] == ["C", "W", "C"]
    assert (heavy.at(118), light.at(118)) == ("W", "F")


def test_loops_of_trastuzumab_are_those_that_are_published() -> None:
    (heavy,), (light,) = find_domains([HEAVY, LIGHT])
    assert [heavy.region_text(number) for number in (2, 4, 6)] == ["GFNIKDTY", "IYPTNGYT", "SRWGGDGFYAMDY"]
    assert [light.region_text(number) for number in (2, 4, 6)] == ["QDVNTA", "SAS", "QQHYTTPPT"]


def test_a_single_chain_has_both_domains_and_other_proteins_have_none(shared_data: Path) -> None:
    linker = "GGGGSGGGGSGGGGS"
    her2 = read_fasta(shared_data / "antibody" / "her2_trastuzumab.fasta")[0].letters
    both, none, nothing = find_domains([f"MKYLLPTA{HEAVY}{linker}{LIGHT}RTVAAPSV", her2, ""])
    assert [(own.chain, own.letters) for own in both] == [("H", HEAVY), ("K", LIGHT)]
    assert none == nothing == []


def test_the_place_of_a_sequence_among_others_changes_nothing() -> None:
    alone = find_domains([HEAVY])[0][0]
    beside = find_domains([LIGHT + "A" * 400, HEAVY, "ACD"])[1][0]
    assert np.array_equal(alone.positions, beside.positions)
    assert alone.score == pytest.approx(beside.score)


def test_a_germline_chain_differs_nowhere_and_a_mutation_is_seen() -> None:
    gene = next(own for own in germline_genes("H", "V") if own.name == "IGHV3-23*01")
    text = gene.letters.replace("-", "") + "DRGSYYFDYWGQGTLVTVSS"
    own = with_germline(find_domains([text])[0][0])
    assert (own.gene, own.identity) == ("IGHV3-23*01", 1.0)
    assert not (own.germline == MUTATED).any()
    assert set(own.germline[own.regions == 6]) == {GERMLINE_UNKNOWN}
    changed = text.replace("WVRQAPGK", "WVRQSPGK")
    mutated = with_germline(find_domains([changed])[0][0])
    assert (mutated.germline == MUTATED).sum() == 1
    assert mutated.letters[int(np.flatnonzero(mutated.germline == MUTATED)[0])] == "S"
    assert (mutated.germline == GERMLINE).sum() == (own.germline == GERMLINE).sum() - 1


def test_residues_have_the_same_positions(compared: Compared) -> None:
    """Of domains whose first cysteine stands at 23; theirs shifts a few kappa chains by one, so that it is at 24."""
    pairs = [(d, r) for found, other in zip(*compared, strict=True) for d, r in zip(found, other, strict=True)]
    pairs = [(d, r) for d, r in pairs if ("C", 23) in {(own.amino_acid, own.position) for own in r.numbering}]
    assert len(pairs) > 200
    same = total = 0
    for domain, reference in pairs:
        own = dict(zip(range(domain.start, domain.end), domain.positions.tolist(), strict=True))
        plain = [residue for residue in reference.numbering if not residue.insertion_code.strip()]
        same += sum(own.get(residue.sequence_index) == residue.position for residue in plain)
        total += len(plain)
    assert same / total > 0.99


def test_identity_with_the_gene_is_that_of_the_reference(real_chains: list[str]) -> None:
    """Our genes are a selection, so ours is at most theirs, and mostly near it."""
    chains = real_chains[:120]
    named = [(str(number), text) for number, text in enumerate(chains)]
    results = anarcism.number_sequences(named, assign_germline=True)
    ours = [[with_germline(own).identity for own in found] for found in find_domains(chains)]
    theirs = [[own.germline.v_identity for own in r.domains if own.chain_type in CHAINS] for r in results]
    difference = np.concatenate([np.array(a) - np.array(b) for a, b in zip(ours, theirs, strict=True) if b])
    assert np.median(np.abs(difference)) < 0.05


@pytest.mark.parametrize("chain", CHAINS)
def test_genes_fill_the_positions_of_the_numbering(chain: Any) -> None:
    for segment in ("V", "J"):
        genes = germline_genes(chain, segment)
        assert len(genes) >= 4
        assert all(len(gene.letters) == POSITIONS for gene in genes)
    assert all(gene.letters[22] == gene.letters[103] == "C" for gene in germline_genes(chain, "V"))
    assert np.bincount(position_regions()[1:]).tolist() == [0, 26, 12, 17, 10, 39, 13, 11]


def test_another_program_can_number(real_chains: list[str]) -> None:
    find, words = finder("anarcism")
    assert words.startswith("anarcism ")
    chains = real_chains[:40]
    theirs: list[list[Domain]] = find(chains)
    assert [[own.letters for own in found] for found in theirs] == [
        [text[own.start : own.end] for own in found]
        for text, found in zip(chains, reference_domains(chains), strict=True)
    ]
