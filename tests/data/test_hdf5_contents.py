"""Texts, strings and JSON in HDF5 files: any Unicode comes back, and what is damaged or elsewhere is named."""

from __future__ import annotations

import hashlib
import io
import os
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tabstar_lit.data import hdf5
from tabstar_lit.errors import DataError

REMEDY = "Make it again."
TEXTS = st.text(st.characters(blacklist_categories=["Cs"]), max_size=20)


@pytest.fixture
def file(tmp_path: Path) -> Any:
    with h5py.File(tmp_path / "a.h5", "w") as opened:
        yield opened


def in_memory() -> h5py.File:
    return h5py.File(io.BytesIO(), "w")


@settings(max_examples=40)
@given(strings=st.lists(TEXTS, max_size=8))
def test_strings_come_back_whatever_they_hold(strings: list[str]) -> None:
    with in_memory() as opened:
        hdf5.write_strings(opened, "words", strings)
        assert hdf5.read_strings(opened, "words", remedy=REMEDY) == tuple(strings)


def test_lone_surrogates_become_question_marks_everywhere(file: h5py.File) -> None:
    hdf5.write_strings(file, "words", ["a\ud800b", "c"])
    hdf5.write_text(file, "kind", "x\udfff")
    hdf5.write_json(file, "facts", {"k": "\ud800"})
    assert hdf5.read_strings(file, "words", remedy=REMEDY) == ("a?b", "c")
    assert hdf5.read_text(file, "kind") == "x?"
    assert hdf5.read_json(file, "facts", remedy=REMEDY) == {"k": "?"}


def test_an_attribute_that_is_no_text_of_fixed_length_reads_as_empty(file: h5py.File) -> None:
    hdf5.write_text(file, "kind", "größe")
    file.attrs["number"] = 3
    assert [hdf5.read_text(file, name) for name in ("kind", "number", "absent")] == ["größe", "", ""]


def test_bytes_that_are_no_utf8_and_no_json_are_named(file: h5py.File) -> None:
    hdf5.write_strings(file, "words", ["ä", "b"])
    file["words/offsets"][:] = [0, 1, 3]  # through the middle of a letter
    with pytest.raises(DataError, match=r"a\.h5: '//words' is not UTF-8 text\. Make it again"):
        hdf5.read_strings(file, "words", remedy=REMEDY)
    hdf5.write_array(file, "facts", np.frombuffer(b'{"a": 1', dtype=np.uint8))
    with pytest.raises(DataError, match=r"a\.h5: '//facts' is not JSON\. Make it again"):
        hdf5.read_json(file, "facts", remedy=REMEDY)


@pytest.mark.parametrize("value", [float("nan"), {"a": [float("inf")]}])
def test_json_without_a_standard_form_is_not_written(value: object, file: h5py.File) -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        hdf5.write_json(file, "facts", value)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda file: None, "is missing, or a link"),
        (lambda file: file.__setitem__("x", h5py.SoftLink("/y")), "is missing, or a link"),
        (lambda file: file.create_group("x"), "is not an array stored in this file"),
        (lambda file: file.create_dataset("x", (2,), "f8", external=[("raw.bin", 0, 16)]), "is not an array stored in"),
    ],
    ids=["absent", "soft link", "group", "external"],
)
def test_what_is_no_array_of_this_file_is_refused_with_its_place(make: Any, words: str, file: h5py.File) -> None:
    file["y"] = np.arange(3)
    make(file)
    with pytest.raises(DataError, match=rf"a\.h5: dataset '/x' {words}.*Make it again"):
        hdf5.read_array(file, "x", remedy=REMEDY)


@pytest.mark.parametrize("shape", [(1,), (70_000,), (3, 50_000), (5, 2, 3)])
def test_chunks_hold_whole_rows_and_at_least_one(shape: tuple[int, ...], file: h5py.File) -> None:
    array = np.arange(np.prod(shape), dtype=np.float64).reshape(shape)
    hdf5.write_array(file, "x", array)
    rows, *others = file["x"].chunks
    assert tuple(others) == shape[1:]
    row_bytes = array.nbytes // shape[0]
    assert rows == shape[0] or rows == max(1, hdf5.CHUNK_BYTES // row_bytes)
    np.testing.assert_array_equal(hdf5.read_array(file, "x", remedy=REMEDY), array)


def test_errors_of_a_reader_inside_the_file_are_damage_but_own_errors_pass(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    with hdf5.atomic_file(path) as file:
        hdf5.write_text(file, "kind", "test")
        file.attrs["schema_version"] = 1

    def read(error: Exception) -> None:
        with hdf5.open_file(path, kind="test", schema_version=1, remedy=REMEDY):
            raise error

    for error in (KeyError("gone"), OSError("bad"), ValueError("shape")):
        with pytest.raises(DataError, match=rf"a\.h5: damaged HDF5 file .*{error.args[0]}.*Make it again") as caught:
            read(error)
        assert caught.value.__cause__ is error
    with pytest.raises(DataError, match=r"^mine$"):
        read(DataError("mine"))
    with pytest.raises(ZeroDivisionError):
        read(ZeroDivisionError())


@pytest.mark.parametrize("version", [None, "two", b"3"])
def test_a_version_that_is_no_number_is_refused_without_advice_to_upgrade(version: Any, tmp_path: Path) -> None:
    with hdf5.atomic_file(tmp_path / "a.h5") as file:
        hdf5.write_text(file, "kind", "test")
        if version is not None:
            file.attrs["schema_version"] = version
    opening = hdf5.open_file(tmp_path / "a.h5", kind="test", schema_version=1, remedy=REMEDY)
    with pytest.raises(DataError, match=r"layout version .*, this release reads 1; Make it again"), opening:
        pass


def test_an_atomic_file_is_seen_only_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "er" / "a.h5"
    with hdf5.atomic_file(path) as file:
        assert not path.exists()
        (part,) = os.listdir(path.parent)
        assert part.startswith(".a.h5.")
        assert part.endswith(f".{os.getpid()}.part")
        hdf5.write_text(file, "kind", "test")
    assert os.listdir(path.parent) == ["a.h5"]


def test_a_target_below_a_file_is_reported_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match=r"cannot be written .*permissions of .*file, or give another output path"):
        hdf5.atomic_file(tmp_path / "file" / "a.h5").__enter__()


@settings(max_examples=30)
@given(values=st.lists(st.integers(-9, 9), min_size=4, max_size=12).filter(lambda values: len(values) % 2 == 0))
def test_the_checksum_is_of_the_values_however_they_lie_in_memory(values: list[int]) -> None:
    array = np.array(values, dtype=np.int64).reshape(2, -1)
    strided = np.repeat(array, 2, axis=1)[:, ::2]
    assert not strided.flags["C_CONTIGUOUS"]
    digest = hashlib.sha256(f"a|<i8|{array.shape}|".encode() + array.tobytes()).hexdigest()
    assert hdf5.checksum({"a": strided}) == hdf5.checksum({"a": np.asfortranarray(array)}) == digest
