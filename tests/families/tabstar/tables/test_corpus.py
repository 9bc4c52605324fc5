"""What a corpus holds is what was put in, or an error that names the damage."""

from __future__ import annotations

import pickle
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest

from tabstar_lit.data.splits import row_ids
from tabstar_lit.errors import DataError
from tabstar_lit.families.tabstar.tables.corpus import Corpus, Table, write_corpus
from tabstar_lit.families.tabstar.tables.encoding import Settings, encode_table
from tabstar_lit.families.tabstar.tables.files import RawTable
from tabstar_lit.families.tabstar.tables.manifest import TableEntry

CUTS = [1, 9, 200, 0.05, 0.2, 0.4, 0.6, 0.8, 0.95, 0.999]


def table(name: str = "toy", n: int = 500, *, task: str = "classification", words: int = 40) -> Table:
    rng = np.random.default_rng(len(name))
    frame = pd.DataFrame(
        {
            "z number": rng.normal(size=n),
            "text": rng.choice([f"word {i}" for i in range(words)], n),
            "a number": rng.normal(size=n),
            "y": rng.normal(size=n) if task == "regression" else rng.choice(["no", "yes"], n),
        }
    )
    entry = TableEntry.model_validate({"name": name, "file": "toy.csv", "target": "y", "task": task})
    made = encode_table(entry, RawTable(frame, row_ids(frame)), Settings())
    made.schema["fingerprint"] = f"fingerprint of {name}"
    return made


@pytest.fixture
def path(tmp_path: Path) -> Path:
    tables = [table("toy"), table("sums", task="regression"), table("words", 3000, words=70_000)]
    write_corpus(tmp_path / "c.h5", tables, order=["toy", "sums", "words"])
    return tmp_path / "c.h5"


@pytest.mark.parametrize(("name", "task"), [("toy", "classification"), ("sums", "regression")])
def test_a_table_comes_back_as_it_was(path: Path, name: str, task: str) -> None:
    written, read = table(name, task=task), Corpus.open(path).load(name)
    for field in Table.__dataclass_fields__:
        expected, found = getattr(written, field), getattr(read, field)
        if isinstance(expected, np.ndarray):
            assert found.dtype == expected.dtype, field
            assert np.array_equal(found, expected), field
        else:
            assert found == expected, field


def test_shapes_and_types_are_those_of_the_contract(path: Path) -> None:
    read = Corpus.open(path).load("toy")
    assert read.feature_names == ("text", "a number", "z number")
    assert (read.codes.dtype, read.codes.shape) == (np.int32, (500, 3))
    assert (read.numbers.dtype, read.numbers.shape) == (np.float32, (500, 3))
    assert not read.numbers[:, 0].any()
    assert (read.targets.dtype, read.target_codes.dtype) == (np.float32, np.int32)
    assert (read.is_validation.dtype, read.row_ids.dtype) == (np.bool_, np.uint64)
    assert [read.vocabulary[code] for code in read.target_codes] == [
        "Target Feature: y\nFeature Value: no",
        "Target Feature: y\nFeature Value: yes",
    ]
    assert len(read) == 500


def test_codes_take_the_smallest_type(path: Path) -> None:
    with h5py.File(path) as file:
        assert file["tables/toy/codes"].dtype == np.uint8
        assert file["tables/words/codes"].dtype == np.uint16
        assert file["tables/toy/numbers"].shape == (500, 2)


def test_order_names_and_fingerprint(path: Path, tmp_path: Path) -> None:
    corpus = Corpus.open(path)
    assert corpus.tables == ("toy", "sums", "words")
    assert corpus.source_fingerprint("sums") == "fingerprint of sums"
    assert 0 < corpus.stored_bytes("toy") < corpus.stored_bytes("words") < path.stat().st_size
    same = [table("toy"), table("sums", task="regression"), table("words", 3000, words=70_000)]
    write_corpus(tmp_path / "d.h5", same, order=["toy", "sums", "words"])
    assert Corpus.open(tmp_path / "d.h5").fingerprint == corpus.fingerprint
    write_corpus(tmp_path / "d.h5", [table("toy", 501)], order=["toy"])
    assert Corpus.open(tmp_path / "d.h5").fingerprint != corpus.fingerprint


def test_a_corpus_crosses_processes(path: Path) -> None:
    corpus = pickle.loads(pickle.dumps(Corpus.open(path)))
    assert np.array_equal(corpus.load("toy").codes, table("toy").codes)


def test_kept_tables_are_copied_even_onto_the_same_file(path: Path) -> None:
    before = Corpus.open(path)
    write_corpus(path, [table("new")], order=["new", "toy"], keep=before)
    after = Corpus.open(path)
    assert after.tables == ("new", "toy")
    assert np.array_equal(after.load("toy").numbers, table("toy").numbers)


def test_an_unknown_table_suggests_the_nearest(path: Path) -> None:
    with pytest.raises(DataError, match=r"c\.h5: no table 'toi'. Did you mean 'toy'\?"):
        Corpus.open(path).load("toi")
    with pytest.raises(DataError, match="It has: sums, toy, words"):
        Corpus.open(path).load("quite another")


@pytest.mark.parametrize("cut", CUTS)
def test_a_truncated_corpus_is_named(path: Path, cut: float) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: int(cut * len(data)) if cut < 1 else int(cut)])
    with pytest.raises(DataError, match=r"c\.h5: .*tabstar_lit convert"):
        Corpus.open(path)


@pytest.mark.parametrize("dataset", ["codes", "numbers", "targets", "row_ids", "schema", "vocabulary/bytes"])
def test_a_zeroed_chunk_is_named(path: Path, dataset: str) -> None:
    with h5py.File(path) as file:
        chunk = file[f"tables/toy/{dataset}"].id.get_chunk_info(0)
    with path.open("r+b") as raw:
        raw.seek(chunk.byte_offset)
        raw.write(bytes(chunk.size))
    with pytest.raises(DataError, match=f"c.h5: dataset '/tables/toy/.*{dataset}' cannot be read"):
        Corpus.open(path).load("toy")


@pytest.mark.parametrize("dataset", ["codes", "schema", "vocabulary/offsets", "is_validation"])
def test_a_missing_dataset_is_named(path: Path, dataset: str) -> None:
    with h5py.File(path, "r+") as file:
        del file[f"tables/toy/{dataset}"]
    with pytest.raises(DataError, match=f"{dataset}' is missing"):
        Corpus.open(path).load("toy")


def test_changed_numbers_are_found_by_the_checksum(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        file["tables/toy/targets"][3] += 1
    with pytest.raises(DataError, match="table 'toy' differs from its checksum"):
        Corpus.open(path).load("toy")


def test_a_table_put_in_by_another_hand_is_found(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        file["tables/toy"].attrs["checksum"] = np.bytes_("0" * 64)
    with pytest.raises(DataError, match="fingerprint and tables disagree"):
        Corpus.open(path)
    with h5py.File(path, "r+") as file:
        del file["tables/toy"]
    with pytest.raises(DataError, match="no table 'toy'"):
        Corpus.open(path)


def test_files_that_are_no_corpus(tmp_path: Path) -> None:
    (tmp_path / "empty.h5").touch()
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["x"] = [1, 2, 3]
    for name, words in {
        "empty.h5": "is an empty file",
        "other.h5": r"not a tabstar_lit\.corpus file",
        "": "is a directory",
        "none.h5": "no such file",
    }.items():
        with pytest.raises(DataError, match=words):
            Corpus.open(tmp_path / name)


def test_random_damage_is_an_error_or_harmless(tmp_path: Path) -> None:
    """Bytes overwritten anywhere, metadata included: never another exception, an endless loop, or wrong data."""
    whole = tmp_path / "c.h5"
    write_corpus(whole, [table("toy", 200)], order=["toy"])
    data, expected = whole.read_bytes(), table("toy", 200)
    rng = np.random.default_rng(0)
    refused = 0
    for _ in range(200):
        damaged = bytearray(data)
        start, length = rng.integers(len(data)), rng.choice([1, 8, 500])
        damaged[start : start + length] = rng.integers(0, 256, len(damaged[start : start + length]), np.uint8).tobytes()
        (tmp_path / "d.h5").write_bytes(damaged)
        try:
            read = Corpus.open(tmp_path / "d.h5").load("toy")
        except DataError:
            refused += 1
        else:
            assert np.array_equal(read.codes, expected.codes)
            assert np.array_equal(read.numbers, expected.numbers)
            assert read.vocabulary == expected.vocabulary
    assert refused > 150
