"""Event files that lie about what they hold are refused before anything large is read."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
from by_hand import convert

from tabstar_lit.data import hdf5
from tabstar_lit.errors import DataError
from tabstar_lit.families.hep.events.file import EventFile
from tabstar_lit.families.hep.events.readers import open_reader
from tabstar_lit.families.hep.events.writer import fingerprint

CONFIG = "sources: [{file: t.csv, label: {b: y == 0, s: y == 1}}]\ncolumns: {x: }"


@pytest.fixture
def events(tmp_path: Path) -> Path:
    return convert(tmp_path, CONFIG, t="x,y\n1,0\n2,1\n3,0\n").path


def replaced(name: str, data: np.ndarray) -> Callable[[h5py.File], None]:
    def change(file: h5py.File) -> None:
        del file[name]
        file[name] = data

    return change


def described(**changes: object) -> Callable[[h5py.File], None]:
    def change(file: h5py.File) -> None:
        metadata = hdf5.read_json(file, "metadata", remedy="") | changes
        del file["metadata"]
        hdf5.write_json(file, "metadata", metadata)
        hdf5.write_text(file, "fingerprint", fingerprint(metadata))

    return change


def elsewhere(file: h5py.File) -> None:
    with h5py.File(Path(file.filename).with_name("other.h5"), "w") as other:
        file.copy("events", other)
    del file["events"]
    file["events"] = h5py.ExternalLink("other.h5", "/events")


def huge(name: str, dtype: str) -> Callable[[h5py.File], None]:
    def change(file: h5py.File) -> None:
        del file[name]
        file.create_dataset(name, (10**11,), dtype, chunks=(1 << 16,), compression="gzip")

    return change


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (replaced("weight", np.array([b"a", b"b", b"c"])), r"'weight' holds \|S1, not float64"),
        (replaced("weight", np.array([1j, 2j, 3j])), "'weight' holds complex128, not float64"),
        (replaced("weight", np.zeros(3, [("a", "f8")])), "'weight' holds .*not float64"),
        (replaced("events/x", np.array([b"a", b"b", b"c"])), r"'events/x' holds \|S1, not float32"),
        (replaced("events/x", np.zeros(4, np.float32)), "has not the 3 values"),
        (described(columns=["x"]), "its metadata are not those of an event file"),
        (described(n_events="many"), "its metadata are not those of an event file"),
        (described(objects=[1]), "its metadata are not those of an event file"),
        (elsewhere, r"'/events/x' is missing, or a link to somewhere else \('events'\)"),
        (huge("label", "i2"), "declares 200000000000 bytes and stores 0"),
        (huge("metadata", "u1"), "declares 100000000000 bytes and stores 0"),
    ],
)
def test_what_a_file_says_of_itself_is_checked(events: Path, change: Callable[[h5py.File], None], problem: str) -> None:
    with h5py.File(events, "r+") as file:
        change(file)
    tracemalloc.start()
    with pytest.raises(DataError, match=problem) as raised:
        EventFile.open(events).labels()
    assert tracemalloc.get_traced_memory()[1] < 50e6
    tracemalloc.stop()
    assert str(raised.value).startswith(str(events))


def test_a_source_that_declares_what_it_does_not_hold_is_refused(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "t.h5", "w") as file:
        file.create_dataset("x", (10**11,), "f8", chunks=(1 << 16,), compression="gzip")
    with pytest.raises(DataError, match=r"t\.h5: dataset '/x' declares 800000000000 bytes and stores 0"):
        next(open_reader(tmp_path / "t.h5").chunks(["x"], [], 10))


def test_a_column_of_compounds_or_complex_numbers_is_refused(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "t.h5", "w") as file:
        file["z"] = np.array([1j, 2j])
    with pytest.raises(DataError, match=r"t\.h5: column 'z' holds complex128; only numbers"):
        convert(tmp_path, "sources: [{file: t.h5}]\ncolumns: {z: }")
