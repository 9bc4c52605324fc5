"""Files are whole or absent, and every kind of damage is named."""

from __future__ import annotations

import os
from pathlib import Path

import h5py
import numpy as np
import pytest

from tabstar_lit.data import hdf5
from tabstar_lit.errors import DataError

REMEDY = "Make it again."
CUTS = [1, 7, 8, 100, 0.1, 0.3, 0.5, 0.7, 0.9, 0.999]


def write(path: Path) -> Path:
    with hdf5.atomic_file(path) as file:
        hdf5.write_text(file, "kind", "test")
        file.attrs["schema_version"] = 3
        hdf5.write_array(file, "numbers", np.random.default_rng(0).normal(size=(5000, 20)))
        hdf5.write_array(file, "nothing", np.zeros((0, 4), dtype=np.float32))
        hdf5.write_strings(file, "words", ["", "naïve", "a\nb", "漢字"])
        hdf5.write_json(file, "facts", {"a": [1, 2.5, None], "long": "x" * 100_000})
    return path


def read(path: Path, **options: object) -> np.ndarray:
    with hdf5.open_file(path, kind="test", schema_version=3, remedy=REMEDY) as file:
        return hdf5.read_array(file, "numbers", remedy=REMEDY)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    path = write(tmp_path / "new" / "a.h5")
    assert np.array_equal(read(path), np.random.default_rng(0).normal(size=(5000, 20)))
    with hdf5.open_file(path, kind="test", schema_version=3, remedy=REMEDY) as file:
        assert hdf5.read_strings(file, "words", remedy=REMEDY) == ("", "naïve", "a\nb", "漢字")
        assert hdf5.read_json(file, "facts", remedy=REMEDY)["a"] == [1, 2.5, None]
        assert hdf5.read_array(file, "nothing", remedy=REMEDY).shape == (0, 4)


def test_arrays_are_chunked_by_rows_compressed_and_checksummed(tmp_path: Path) -> None:
    with h5py.File(write(tmp_path / "a.h5")) as file:
        dataset = file["numbers"]
        assert (dataset.compression, dataset.shuffle, dataset.fletcher32) == ("gzip", True, True)
        assert dataset.chunks[1] == 20
        assert dataset.chunks[0] * 20 * 8 <= hdf5.CHUNK_BYTES


def test_an_interrupted_write_leaves_the_old_file_and_no_rest(tmp_path: Path) -> None:
    path = write(tmp_path / "a.h5")
    before = path.read_bytes()

    def interrupted() -> None:
        with hdf5.atomic_file(path) as file:
            hdf5.write_array(file, "half", np.arange(10))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["a.h5"]


def test_a_failing_disk_is_reported_and_the_old_file_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "a.h5")
    before = path.read_bytes()

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DataError, match=r"a\.h5: cannot be written .*No space left"):
        write(path)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["a.h5"]


@pytest.mark.parametrize("cut", CUTS)
def test_a_truncated_file_is_named(tmp_path: Path, cut: float) -> None:
    path = write(tmp_path / "a.h5")
    data = path.read_bytes()
    path.write_bytes(data[: int(cut * len(data)) if cut < 1 else int(cut)])
    with pytest.raises(DataError, match=r"a\.h5: .*Make it again"):
        read(path)


def test_a_zeroed_chunk_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "a.h5")
    with h5py.File(path) as file:
        chunk = file["numbers"].id.get_chunk_info(1)
    with path.open("r+b") as raw:
        raw.seek(chunk.byte_offset)
        raw.write(bytes(chunk.size))
    with pytest.raises(DataError, match=r"dataset '//numbers' cannot be read .*[Cc]hecksum"):
        read(path)


def test_other_things_than_a_file_are_named(tmp_path: Path) -> None:
    (tmp_path / "empty.h5").touch()
    (tmp_path / "text.h5").write_text("name,age\n" * 100)
    for name, words in {
        "missing.h5": "no such file",
        "empty.h5": "is an empty file",
        "text.h5": "is not an HDF5 file",
        "": "is a directory",
    }.items():
        with pytest.raises(DataError, match=words):
            read(tmp_path / name)


def test_another_kind_and_other_versions_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.h5")
    for attribute, value, words in [
        ("schema_version", 4, "layout version 4, this release reads 3; a newer release wrote it: upgrade"),
        ("schema_version", 2, "layout version 2, this release reads 3; Make it again"),
        ("kind", np.bytes_("other"), "not a test file .*'other'"),
        ("kind", "of variable length", "not a test file .*''"),
    ]:
        with h5py.File(path, "r+") as file:
            file.attrs[attribute] = value
        with pytest.raises(DataError, match=words):
            read(path)


def test_links_out_of_the_file_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "secret.h5")
    path = write(tmp_path / "a.h5")
    with h5py.File(path, "r+") as file:
        del file["numbers"]
        file["numbers"] = h5py.ExternalLink("secret.h5", "/numbers")
    with pytest.raises(DataError, match="missing, or a link"):
        read(path)
    with h5py.File(path, "r+") as file:
        del file["numbers"]
        layout = h5py.VirtualLayout(shape=(5000, 20), dtype="f8")
        layout[:] = h5py.VirtualSource("secret.h5", "numbers", shape=(5000, 20))
        file.create_virtual_dataset("numbers", layout)
    with pytest.raises(DataError, match="not an array stored in this file"):
        read(path)


def test_checksum_sees_values_shapes_types_and_names() -> None:
    array = np.arange(6, dtype=np.int32)
    other = array.copy()
    other[3] = 7
    variants = [
        {"a": array},
        {"b": array},
        {"a": other},
        {"a": array.reshape(2, 3)},
        {"a": array.astype(np.uint32)},
        {"a": array, "b": array},
    ]
    assert len({hdf5.checksum(variant) for variant in variants}) == len(variants)
    assert hdf5.checksum({"a": array, "b": other}) == hdf5.checksum({"b": other, "a": array})


def test_what_gzip_hardly_shortens_is_only_checksummed() -> None:
    rng = np.random.default_rng(0)
    noise, rounded = rng.normal(size=20_000).astype(np.float32), rng.integers(0, 50, 20_000).astype(np.float32)
    assert hdf5.filters_for(noise) == hdf5.PLAIN == {"fletcher32": True}
    for values in (rounded, np.arange(20_000), np.empty(0, np.float32), np.zeros(3, np.int16)):
        assert hdf5.filters_for(values) == hdf5.FILTERS


def test_damage_to_what_is_not_compressed_is_seen(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).normal(size=20_000).astype(np.float32)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("x", data=noise, chunks=(5000,), **hdf5.filters_for(noise))
        place = file["x"].id.get_chunk_info(2).byte_offset
    content = bytearray((tmp_path / "a.h5").read_bytes())
    content[place + 77] ^= 1
    (tmp_path / "a.h5").write_bytes(content)
    with h5py.File(tmp_path / "a.h5") as file, pytest.raises(OSError, match="filter returned failure during read"):
        file["x"][()]
