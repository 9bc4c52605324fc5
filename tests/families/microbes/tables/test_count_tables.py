"""Count tables of every kind are the same table; what is no count is refused with its place."""

from __future__ import annotations

from pathlib import Path

import biom
import numpy as np
import pytest
from checks import message_of_refusal
from hand_made_tables_of_microbes import COUNTS, SAMPLES, SEQUENCES, biom_bytes, write_artifact, write_biom, write_tsv

from tabstar_lit.errors import DataError
from tabstar_lit.families.microbes.tables.counts import read_table
from tabstar_lit.families.microbes.tables.tree import read_tree


def test_every_kind_of_file_gives_the_same_table(tmp_path: Path) -> None:
    csv = tmp_path / "table.csv"
    csv.write_text(write_tsv(tmp_path / "table.tsv").read_text().replace("\t", ","))
    paths = (
        write_biom(tmp_path / "table.biom"),
        tmp_path / "table.tsv",
        csv,
        write_artifact(tmp_path / "table.qza", {"feature-table.biom": biom_bytes()}),
    )
    for path in paths:
        table = read_table(path)
        assert (table.sample_ids, table.ids) == (SAMPLES, SEQUENCES)
        assert table.counts.dtype == np.int64
        assert table.counts.has_sorted_indices
        np.testing.assert_array_equal(table.counts.toarray(), COUNTS)
        assert table.counts.nnz == np.count_nonzero(COUNTS)


def test_a_file_of_the_biom_package_is_read(tmp_path: Path) -> None:
    own = biom.Table(COUNTS.T, list(SEQUENCES), list(SAMPLES))
    with biom.util.biom_open(str(tmp_path / "table.biom"), "w") as file:
        own.to_hdf5(file, "a test")
    np.testing.assert_array_equal(read_table(tmp_path / "table.biom").counts.toarray(), COUNTS)


def test_real_tables_are_read_as_the_biom_package_reads_them(shared_data: Path) -> None:
    path = shared_data / "microbiome/sleep_apnea/table.biom"
    table, expected = read_table(path), biom.load_table(str(path))
    assert table.ids == tuple(expected.ids("observation"))
    assert table.sample_ids == tuple(expected.ids("sample"))
    assert (table.counts != expected.matrix_data.T).nnz == 0


def test_samples_and_features_are_taken_in_a_new_order(tmp_path: Path) -> None:
    table = read_table(write_biom(tmp_path / "table.biom"))
    own = table.take(samples=np.array([3, 0]), features=np.array([True, False, True, True]))
    assert own.sample_ids == ("s4", "s1")
    np.testing.assert_array_equal(own.counts.toarray(), COUNTS[[3, 0]][:, [0, 2, 3]])
    np.testing.assert_array_equal(own.depths, [10, 7])


@pytest.mark.parametrize(("value", "what"), [(-2.0, "negative"), (0.5, "fractional"), (np.nan, "not finite")])
def test_what_is_no_count_is_refused_with_sample_and_feature(tmp_path: Path, value: float, what: str) -> None:
    counts = COUNTS.astype(float)
    counts[2, 1] = value
    with pytest.raises(DataError, match=rf"sample 's3', feature '{SEQUENCES[1]}': .* is no count but {what}"):
        read_table(write_biom(tmp_path / "table.biom", counts))


def test_a_table_of_nothing_is_refused(tmp_path: Path) -> None:
    own = biom.Table(np.zeros((0, 0)), [], [])
    with biom.util.biom_open(str(tmp_path / "empty.biom"), "w") as file:
        own.to_hdf5(file, "a test")
    message = message_of_refusal(read_table, tmp_path / "empty.biom")
    assert "empty.biom: an empty table, of 0 samples and 0 features" in message


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.biom", b'{"id": null, "format": "1.0.0"}', ["version 1 (JSON)", "biom convert --to-hdf5"]),
        ("a.biom", b'    {\n  "id":null', ["version 1 (JSON)"]),
        ("a.biom", b"\x89HDF no", ["no BIOM file of version 2"]),
        ("a.tsv", b"#OTU ID\ts1\nACGT\t1\t2\n", ["a.tsv:2", "3 cells in a row, and the header has 2"]),
        ("a.tsv", b"#OTU ID\ts1\nACGT\tmany\n", ["feature 'ACGT', sample 's1': 'many' is no count"]),
        ("a.tsv", b"", ["no table of features in rows"]),
        ("a.tsv", b"#OTU ID\ts1\nA\t1\nA\t2\n", ["the feature 'A' is there twice"]),
        ("a.tsv", b"#OTU ID\ts\xe9\n", ["no UTF-8 text", "a.tsv:1"]),
        ("a.xlsx", b"PK", ["unknown kind '.xlsx'", ".biom, .tsv"]),
        ("a.qza", b"PK", ["no QIIME 2 artifact"]),
    ],
)
def test_what_is_no_table_is_refused(tmp_path: Path, name: str, content: bytes, words: list[str]) -> None:
    (tmp_path / name).write_bytes(content)
    message = message_of_refusal(read_table, tmp_path / name)
    assert all(word in message for word in words), message


def test_an_artifact_of_another_type_or_with_damage_is_refused(tmp_path: Path) -> None:
    tree = write_artifact(tmp_path / "tree.qza", {"tree.nwk": b"(A:1,B:2);"}, kind="Phylogeny[Rooted]")
    assert read_tree(tree).tips == ("A", "B")
    with pytest.raises(DataError, match=r"of the type Phylogeny\[Rooted\], and one with feature-table.biom"):
        read_table(tree)
    damaged = tree.read_bytes().replace(b"(A:1,B:2);", b"(A:1,B:9);")
    tree.write_bytes(damaged)
    with pytest.raises(DataError, match=r"damaged|differs from its checksum"):
        read_tree(tree)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nothing.biom: cannot be read \(No such file"):
        read_table(tmp_path / "nothing.biom")
