"""Sequences out of ids and FASTA files, and letters that are none."""

from __future__ import annotations

from pathlib import Path

import pytest
from checks import message_of_refusal
from hand_made_tables_of_microbes import SEQUENCES, write_artifact

from tabstar_lit.errors import DataError
from tabstar_lit.families.microbes.tables.sequences import read_fasta, sequences_of_fasta, sequences_of_ids

HASHES = ("4b5eeb300368260019c1fbc7a3c718fc", "fe30ff0f71a38a39cf1717ec2be3a2fc")


def test_ids_are_sequences_or_they_are_not() -> None:
    assert sequences_of_ids(SEQUENCES, "table") == SEQUENCES
    assert sequences_of_ids([SEQUENCES[0].lower().replace("t", "u")], "table") == (SEQUENCES[0],)
    assert sequences_of_ids(HASHES, "table") == ()
    assert sequences_of_ids(["ACGT"], "table") == ()  # too short to be more than a name


def test_letters_for_several_bases_are_refused_or_read_as_n() -> None:
    odd = SEQUENCES[0][:-2] + "RY"
    with pytest.raises(DataError, match=r"table: feature 2 of 2: 'R' at position 21; .* set other_letters: n"):
        sequences_of_ids([SEQUENCES[1], odd], "table")
    assert sequences_of_ids([odd], "table", "n") == (SEQUENCES[0][:-2] + "NN",)


def test_a_name_among_sequences_is_refused() -> None:
    with pytest.raises(DataError, match=r"2 of 3 ids are sequences, but 'control' is not"):
        sequences_of_ids([*SEQUENCES[:2], "control"], "table")


def test_hashes_have_the_sequences_of_a_fasta_file(tmp_path: Path) -> None:
    text = f">{HASHES[1]} of a sample\n{SEQUENCES[1][:10]}\n{SEQUENCES[1][10:]}\n>{HASHES[0]}\n{SEQUENCES[0]}\n"
    path = tmp_path / "rep-seqs.fasta"
    path.write_text(text)
    artifact = write_artifact(tmp_path / "rep-seqs.qza", {"dna-sequences.fasta": text.encode()})
    for own in (path, artifact):
        assert sequences_of_fasta(HASHES, own) == SEQUENCES[:2]
    with pytest.raises(DataError, match=r"1 of 2 features of the table have no sequence, such as 'abc'"):
        sequences_of_fasta([HASHES[0], "abc"], path)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("ACGT\n", [":1: no FASTA file"]),
        (">a\nACGT\n>a\nACGT\n", [":3: an id that is there twice"]),
        (">\nACGT\n", [":1: no id"]),
        (">a\nACGT\n>b\nAC-GT\n", [":3: 'b': '-' at position 3", "remove gaps"]),
        (">a\n>b\nA\n", [":1: 'a': an empty sequence"]),
    ],
)
def test_what_is_no_fasta_is_refused_with_its_line(tmp_path: Path, text: str, words: list[str]) -> None:
    (tmp_path / "a.fasta").write_text(text)
    message = message_of_refusal(read_fasta, tmp_path / "a.fasta")
    assert all(word in message for word in words), message
