"""Several event files are read as one, and variations of the weights change no split."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from by_hand import convert

from tabstar_lit.errors import DataError
from tabstar_lit.families.hep.config import EventsDataset
from tabstar_lit.families.hep.data import EventData
from tabstar_lit.families.hep.events.file import EventFile
from tabstar_lit.families.hep.events.joined import joined
from tabstar_lit.families.hep.events.location import events_paths, open_events

CONFIG = """
sources: [{file: %s.parquet, label: {b: y == 0, s: y == 1}}]
event_id: n
weight: w[0]
variations: {up: 'w[1]', down: 'w[2]'}
columns: {x: {unit: GeV}, k: {kind: categorical}}
objects: {jets: {columns: {pt: pt, f: {from: f, kind: categorical}}}}
"""


def write(folder: Path, name: str, start: int, n: int, kinds: str, config: str = CONFIG) -> EventFile:
    rng = np.random.default_rng(start)
    counts = rng.integers(0, 4, n)
    pt = [rng.exponential(30, count).tolist() for count in counts]
    table = {
        "n": np.arange(start, start + n),
        "x": rng.normal(size=n).astype(np.float32),
        "y": rng.integers(0, 2, n),
        "k": [kinds[i % len(kinds)] for i in range(n)],
        "w": [[1.0, 1.1 + i % 3, 0.5] for i in range(n)],
        "pt": pt,
        "f": [[kinds[(i + j) % len(kinds)] for j in range(count)] for i, count in enumerate(counts)],
    }
    pq.write_table(pa.table(table), folder / f"{name}.parquet")
    return convert(folder, config % name, f"{name}.h5")


@pytest.fixture
def parts(tmp_path: Path) -> list[EventFile]:
    return [
        write(tmp_path, name, 1000 * i, 400 + i, kinds)
        for i, (name, kinds) in enumerate([("a", "xy"), ("b", "zx"), ("c", "y")])
    ]


def words(file: EventFile, name: str, start: int = 0, stop: int | None = None) -> list[str]:
    return [file.columns[name].categories[code] for code in file.column(name, start, stop)]


def test_events_follow_each_other_whatever_range_is_read(parts: list[EventFile]) -> None:
    whole = joined(parts)
    assert whole.n_events == 400 + 401 + 402
    for start, stop in [(0, None), (10, 20), (350, 900), (0, 400), (400, 401), (801, 1203), (50, 50), (1202, 5000)]:
        expected = np.concatenate([part.column("x") for part in parts])[start:stop]
        np.testing.assert_array_equal(whole.column("x", start, stop), expected)
        assert words(whole, "k", start, stop) == [word for part in parts for word in words(part, "k")][start:stop]
    np.testing.assert_array_equal(whole.labels(), np.concatenate([part.labels() for part in parts]))
    np.testing.assert_array_equal(whole.event_ids(), np.concatenate([part.event_ids() for part in parts]))


def test_objects_stay_with_their_events(parts: list[EventFile]) -> None:
    whole = joined(parts)
    split = np.split(whole.object_column("jets", "pt"), whole.offsets("jets")[1:-1])
    expected = [own for part in parts for own in np.split(part.object_column("jets", "pt"), part.offsets("jets")[1:-1])]
    assert [own.tolist() for own in split] == [own.tolist() for own in expected]
    flavours = whole.objects["jets"].columns["f"].categories
    own = [part.objects["jets"].columns["f"].categories for part in parts]
    told = [own[i][code] for i, part in enumerate(parts) for code in part.object_column("jets", "f")]
    assert [flavours[code] for code in whole.object_column("jets", "f", 5, 90)] == told[5:90]


def test_patterns_and_lists_name_files_that_train_as_one(
    parts: list[EventFile], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    listed = EventsDataset(name="n", files=("a.h5", "[bc].h5"))
    assert [path.name for path in events_paths(listed)] == ["a.h5", "b.h5", "c.h5"]
    memory, stream = (
        EventData(listed.model_copy(update={"cache": cache}), seed=0, bin_edges=False) for cache in ("memory", "stream")
    )
    assert stream.streamed
    for split in ("train", "val", "test"):
        np.testing.assert_array_equal(memory.rows(split), stream.rows(split))
    for key in memory.val_plan().batches(0):
        for left, right in zip(
            memory.val_dataset()[key].features[:2], stream.val_dataset()[key].features[:2], strict=True
        ):
            assert left.tolist() == right.tolist()
    by_file = [EventData(EventsDataset(name="n", files=f"{part.path}"), seed=0) for part in parts]
    firsts = np.cumsum([0, *(part.n_events for part in parts)])
    told = [row + first for data, first in zip(by_file, firsts, strict=False) for row in data.rows("test")]
    assert told == memory.rows("test").tolist(), "an event is on the same side however files are put together"


def test_variations_keep_the_split_and_change_the_weights(parts: list[EventFile], tmp_path: Path) -> None:
    assert parts[0].variations == ("up", "down")
    sides = {}
    for weight in (None, "up", "down"):
        config = EventsDataset(name="n", files=str(parts[0].path), weight=weight, use_mc_weights=True)
        data = EventData(config, seed=0)
        sides[weight] = [data.rows(split).tolist() for split in ("train", "val", "test")]
        expected = {None: np.ones(400), "up": 1.1 + np.arange(400) % 3, "down": np.full(400, 0.5)}[weight]
        np.testing.assert_allclose(data.events.file.weights(), expected)
        assert data.fingerprint not in {other for other in sides if isinstance(other, str)}
    assert sides[None] == sides["up"] == sides["down"]
    np.testing.assert_allclose(joined(parts).with_weight("down").weights(), np.full(1203, 0.5))
    with pytest.raises(DataError, match=r"the events have no weight 'upp'\. Did you mean 'up'"):
        open_events(EventsDataset(name="n", files=str(parts[0].path), weight="upp"))


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (("{unit: GeV}", "{unit: MeV}"), "its column 'x' is MeV, not GeV"),
        (("x: {unit: GeV}, ", ""), "it has no column 'x'"),
        (("x: {unit: GeV}", "x: {unit: GeV}, z: x"), "only it has a column 'z'"),
        (("weight: w[0]", "weight: null"), "one of them has weights and the other none"),
        ((", label: {b: y == 0, s: y == 1}", ""), "one of them has labels and the other none"),
        (("objects: {jets", "objects: {muons"), r"it has the objects \['muons'\], not \['jets'\]"),
    ],
)
def test_files_that_do_not_go_together_are_named(
    parts: list[EventFile], tmp_path: Path, change: tuple[str, str], problem: str
) -> None:
    other = write(tmp_path, "other", 5000, 20, "xy", CONFIG.replace(*change))
    with pytest.raises(DataError, match=rf"other\.h5 does not go with .*a\.h5: {problem}"):
        joined([parts[0], other])


def test_events_count_once(parts: list[EventFile], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "copy.h5").write_bytes(parts[0].path.read_bytes())
    with pytest.raises(DataError, match=r"copy\.h5: holds the same events as .*a\.h5"):
        open_events(EventsDataset(name="n", files=("a.h5", "copy.h5")))
    with pytest.raises(DataError, match=r"a\.h5 is meant more than once"):
        open_events(EventsDataset(name="n", files=("a.h5", "a*.h5")))
    with pytest.raises(DataError, match=r"no file matches 'none_\*\.h5'"):
        open_events(EventsDataset(name="n", files="none_*.h5"))


def test_a_hundred_files_open_in_a_moment(tmp_path: Path) -> None:
    for i in range(100):
        write(tmp_path, f"f{i:03d}", 1000 * i, 20, "xy")
    start = time.process_time()
    data = EventData(EventsDataset(name="n", files=str(tmp_path / "f*.h5"), cache="stream"), seed=0)
    assert data.events.file.n_events == 2000
    assert sum(len(data.rows(split)) for split in ("train", "val", "test")) == 2000
    assert time.process_time() - start < 10
