"""The event file: what was written comes back, and what is wrong is refused."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from tabstar_lit.errors import DataError
from tabstar_lit.families.hep.events.file import (
    ColumnInfo,
    EventChunk,
    EventFile,
    EventSchema,
    EventWriter,
    ObjectChunk,
)

COLUMNS = {"x": ColumnInfo("x"), "c": ColumnInfo("c", "categorical", nullable=True)}
SCHEMA = EventSchema(("b", "s"), COLUMNS, {"jets": {"pt": ColumnInfo("pt", unit="GeV")}}, has_weights=True)
COUNTS = np.array([0, 1, 2, 3, 0])


def chunk(first_id: int, **changes: object) -> EventChunk:
    columns = {"x": np.arange(5.0), "c": np.array([0, 1, -1, 0, 1])}
    jets = ObjectChunk(COUNTS, {"pt": np.arange(6.0) + first_id})
    values = {"columns": columns, "labels": np.arange(5) % 2, "weights": np.linspace(-1, 1, 5)}
    return EventChunk(**{**values, "event_ids": np.arange(5) + first_id, "objects": {"jets": jets}, **changes})


def write(path: Path, *chunks: EventChunk, renumber: bool = False) -> EventFile:
    with EventWriter(path, SCHEMA, renumber=renumber) as writer:
        for part in chunks:
            writer.append(part)
        writer.set_categories("events/c", ["a", "z"], np.array([1, 0], dtype=np.int32))
    return EventFile.open(path)


def test_what_was_written_comes_back(tmp_path: Path) -> None:
    file = write(tmp_path / "e.h5", chunk(0), chunk(5))
    assert (file.n_events, file.classes, file.has_weights) == (10, ("b", "s"), True)
    assert file.column("x", 3, 7).tolist() == [3, 4, 0, 1]
    assert file.column("c").tolist() == [1, 0, -1, 1, 0] * 2
    assert file.columns["c"].categories == ("a", "z")
    assert file.offsets("jets").tolist() == [0, 0, 1, 3, 6, 6, 6, 7, 9, 12, 12]
    assert file.object_column("jets", "pt", 4, 8).tolist() == [4, 5, 5, 6]
    assert (file.objects["jets"].n_objects, file.objects["jets"].max_length) == (12, 3)
    assert file.labels().tolist() == [0, 1, 0, 1, 0] * 2
    np.testing.assert_array_equal(file.weights(), [*np.linspace(-1, 1, 5)] * 2)
    np.testing.assert_array_equal(file.group_ids(), file.event_ids())


def test_the_fingerprint_is_of_the_contents(tmp_path: Path) -> None:
    one = write(tmp_path / "a.h5", chunk(0), chunk(5)).fingerprint
    assert write(tmp_path / "b.h5", chunk(0), chunk(5)).fingerprint == one
    assert write(tmp_path / "c.h5", chunk(0), chunk(5, weights=np.ones(5))).fingerprint != one


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"weights": np.array([1, np.nan, 1, 1, np.inf])}, "'weight': 2 values are not finite, first in rows 6, 9"),
        ({"labels": np.array([0, 1, 2, 0, 0])}, "'label': 1 values are not one of 2, first in rows 7"),
        ({"columns": {"x": np.full(5, np.nan), "c": np.zeros(5)}}, "'x': 5 values are missing"),
        ({"columns": {"x": np.full(5, 1e300), "c": np.zeros(5)}}, "'x': 5 values are infinite"),
        ({"columns": {"x": np.zeros(5)}}, "lacks 'c'"),
        ({"event_ids": np.arange(5)}, "event ids are not unique: 5 repeat an earlier one"),
    ],
)
def test_bad_chunks_leave_no_file(tmp_path: Path, changes: dict[str, object], words: str) -> None:
    with pytest.raises(DataError, match=words):
        write(tmp_path / "e.h5", chunk(0), chunk(5, **changes))
    assert list(tmp_path.iterdir()) == []


def test_equal_hashes_are_told_apart(tmp_path: Path) -> None:
    file = write(tmp_path / "e.h5", chunk(0), chunk(0), chunk(0), renumber=True)
    assert len(np.unique(file.event_ids())) == 15
    assert file.event_ids()[:5].tolist() == [0, 1, 2, 3, 4]


def test_unknown_names_and_damage_are_refused(tmp_path: Path) -> None:
    file = write(tmp_path / "e.h5", chunk(0))
    with pytest.raises(DataError, match=r"no column 'xx'\. Did you mean 'x'"):
        file.column("xx")
    with pytest.raises(DataError, match=r"no objects 'jet'\. Did you mean 'jets'"):
        file.offsets("jet")
    with h5py.File(file.path, "a") as raw:
        del raw["events/x"]
    with pytest.raises(DataError, match="'/events/x' is missing"):
        EventFile.open(file.path)
