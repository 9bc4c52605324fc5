"""Distances of others are matched by ids, whatever their order; what are no distances is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from checks import message_of_refusal
from hand_made_tables_of_microbes import write_artifact

from tabstar_lit.arrays import Float64
from tabstar_lit.errors import DataError
from tabstar_lit.families.microbes.tables.matrices import read_distances, write_distances

IDS = ("s2", "s3", "s1")


@pytest.fixture
def values() -> Float64:
    return np.array([[0, 0.2, 0.3], [0.2, 0, 0.4], [0.3, 0.4, 0]])


def test_every_kind_of_file_is_matched_by_ids(tmp_path: Path, values: Float64) -> None:
    write_distances(tmp_path / "d.h5", IDS, values, metric="unweighted")
    np.save(tmp_path / "d.npy", values)
    (tmp_path / "ids.txt").write_text("\n".join(IDS) + "\n")
    lines = ["\t".join([name, *map(str, own)]) for name, own in zip(IDS, values, strict=True)]
    text = "\n".join(["\t".join(["", *IDS]), *lines])
    (tmp_path / "d.tsv").write_text(text)
    write_artifact(tmp_path / "d.qza", {"distance-matrix.tsv": text.encode()}, kind="DistanceMatrix")
    expected = [[0, 0.3], [0.3, 0]]
    for name in ("d.h5", "d.npy", "d.tsv", "d.qza"):
        matrix = read_distances(tmp_path / name, tmp_path / "ids.txt" if name == "d.npy" else None)
        assert matrix.ids == IDS
        np.testing.assert_allclose(matrix.of(["s1", "s2"]), expected)
    with pytest.raises(DataError, match=r"1 of 2 samples of the table have no distances, such as 's9'"):
        matrix.of(["s1", "s9"])


def test_numbers_without_ids_are_refused(tmp_path: Path, values: Float64) -> None:
    np.save(tmp_path / "d.npy", values)
    with pytest.raises(DataError, match="does not say whose distances"):
        read_distances(tmp_path / "d.npy")
    (tmp_path / "ids.txt").write_text("s1\ns2\n")
    with pytest.raises(DataError, match=r"a matrix of \(3, 3\) for 2 ids"):
        read_distances(tmp_path / "d.npy", tmp_path / "ids.txt")


@pytest.mark.parametrize("change", ["asymmetric", "negative", "diagonal", "nan"])
def test_what_are_no_distances_is_refused_with_its_pair(tmp_path: Path, values: Float64, change: str) -> None:
    values[{"diagonal": (1, 1)}.get(change, (0, 1))] = {"negative": -0.2, "nan": np.nan}.get(change, 0.5)
    write_distances(tmp_path / "d.h5", IDS, values, metric="unweighted")
    with pytest.raises(DataError, match=r"between 's[23]' and 's3' stands"):
        read_distances(tmp_path / "d.h5")


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("d.h5", b"no", "an HDF5 file with 'matrix' and 'order'"),
        ("d.npy", b"no", "no .npy file of numbers"),
        ("d.tsv", b"\ta\tb\na\t0\t1\nc\t1\t0\n", "have the same ids in the same order"),
        ("d.tsv", b"\ta\na\tx\n", "d.tsv:2"),
    ],
)
def test_what_is_no_matrix_is_refused(tmp_path: Path, name: str, content: bytes, words: str) -> None:
    (tmp_path / name).write_bytes(content)
    (tmp_path / "ids.txt").write_text("a\n")
    message = message_of_refusal(read_distances, tmp_path / name, tmp_path / "ids.txt")
    assert words in message
