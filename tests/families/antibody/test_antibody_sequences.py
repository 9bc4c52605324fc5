"""FASTA files and letters as people write them."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from tabstar_lit.errors import DataError
from tabstar_lit.families.antibody.generating.files import read_antigens, read_template
from tabstar_lit.families.antibody.pairs.fasta import Record, fasta_lines, read_fasta
from tabstar_lit.families.antibody.pairs.letters import cleaned
from tabstar_lit.families.antibody.pairs.scale import PkdScale


def written(folder: Path, text: str) -> Path:
    path = folder / "antigens.fasta"
    path.write_text(text)
    return path


def test_reads_names_letters_and_lines(tmp_path: Path) -> None:
    path = written(tmp_path, "; a comment\n>one of two words\nACD EF\nGH\n\n>two\r\nWY\r\n")
    assert read_fasta(path) == [Record("one", "ACDEFGH", 2), Record("two", "WY", 6)]


def test_reads_compressed_files_and_what_it_wrote(tmp_path: Path) -> None:
    path = tmp_path / "antigens.fasta.gz"
    with gzip.open(path, "wt") as lines:
        lines.writelines(fasta_lines([("long", "ACDEF" * 40), ("short", "W")]))
    assert [(record.name, record.letters) for record in read_fasta(path)] == [("long", "ACDEF" * 40), ("short", "W")]


def test_a_packed_file_that_was_cut_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "antigens.fasta.gz"
    path.write_bytes(gzip.compress(b">one\nACDE\n" * 50)[:-12])
    with pytest.raises(DataError, match="cannot be read as FASTA"):
        read_fasta(path)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_byte_order_mark_is_no_letter(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "antigens.fasta"
    path.write_bytes(">one\nACDE\n".encode(encoding))
    assert read_fasta(path) == [Record("one", "ACDE", 1)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "holds no sequence"),
        ("ACD\n", r":1: a sequence without a name"),
        (">\nACD\n", r":1: '>' without a name"),
        (">one\nACD\n>two\n\n>three\nACD\n", r":3: 'two' has no sequence"),
        (">one\nACD\n>one\nACD\n", r":3: the name 'one' stands in line 1 already"),
    ],
)
def test_what_is_no_fasta_is_located(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_fasta(written(tmp_path, text))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere\.fasta: cannot be read"):
        read_fasta(tmp_path / "nowhere.fasta")


def test_letters_are_cleaned_and_unknown_ones_counted() -> None:
    assert cleaned(" acd\tXu\n") == ("ACDXU", 2)
    assert cleaned("ACD/WY:F", chains=True) == ("ACD|WY|F", 0)


@pytest.mark.parametrize(
    ("sequence", "message"),
    [("", "empty"),
     ("AC*", "letter 3 is '\\*', a stop codon"), ("A-C", "letter 2 is '-', a gap"), ("AC1", "letter 3 is '1'"),
     ("A|C", "letter 2 is '\\|'")],
)  # fmt: skip
def test_what_is_no_sequence_is_refused(sequence: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        cleaned(sequence)


def test_an_empty_chain_of_an_antigen_is_refused() -> None:
    with pytest.raises(ValueError, match="a chain is empty"):
        cleaned("ACD||W", chains=True)


def test_antigens_are_named_where_they_are_bad_and_warned_of_where_unknown(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert read_antigens(written(tmp_path, ">her2\nacdxx\n>two\nACD:W\n")) == {"her2": "ACDXX", "two": "ACD|W"}
    assert "'her2' has 2 letters beyond the twenty" in caplog.text
    with pytest.raises(DataError, match=r"antigens\.fasta:3: 'two': letter 2 is '-'"):
        read_antigens(written(tmp_path, ">one\nACD\n>two\nA-D\n"))


def test_a_template_has_one_or_two_chains(tmp_path: Path) -> None:
    assert read_template(written(tmp_path, ">h\nEVXX\n>l\nDIX\n")) == "EVXX|DIX"
    assert read_template(written(tmp_path, ">h\nEVXX\n")) == "EVXX"
    with pytest.raises(DataError, match="holds 3 chains"):
        read_template(written(tmp_path, ">h\nEV\n>l\nDI\n>m\nDI\n"))


def test_the_scale_is_that_of_what_is_known() -> None:
    pkd = np.array([5.0, np.nan, 9.0], dtype=np.float32)
    assert PkdScale.fit(pkd) == (7.0, 2.0)
    assert PkdScale.fit(pkd[1:2]) == (0.0, 1.0)
    assert PkdScale.fit(pkd[:1]) == (5.0, 1.0)
