"""Serving events: what is read when, how much memory it takes, and files that differ from the one of training."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hand_made_events import dataset, make_chunk, write_events
from sklearn.utils.class_weight import compute_class_weight

from tabstar_lit.data.plans import RowBatch
from tabstar_lit.errors import DataError
from tabstar_lit.families.hep.data import EventData
from tabstar_lit.families.hep.events.file import EventFile, ObjectChunk
from tabstar_lit.families.hep.preparation.agreement import json_text
from tabstar_lit.families.hep.preparation.blocks import EventBlock
from tabstar_lit.families.hep.preparation.plans import ChunkShuffledPlan
from tabstar_lit.families.hep.preparation.preprocess import EventReader, Preprocessor
from tabstar_lit.families.hep.preparation.resampling import Resampler, epoch_counts
from tabstar_lit.families.hep.preparation.serving import (
    MIXED_CHUNKS,
    STORED_ROWS,
    StreamedEvents,
    bytes_per_event,
    chunk_rows,
)
from tabstar_lit.families.hep.preparation.weights import check_weights, class_weights, usable_weights

N = 500
CHUNK = make_chunk(N, seed=3)
SETTINGS: dict[str, Any] = {"features": ["*", "jets.*"], "spectators": ["met"], "missing": "indicator"}


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_events(tmp_path_factory.mktemp("serving") / "events.h5", CHUNK)


@pytest.fixture(scope="module")
def data(path: Path) -> EventData:
    return EventData(dataset(path, **SETTINGS), seed=0, momenta=True)


class RecordingReader(EventReader):
    """Remembers the ranges it was asked for."""

    def __init__(self, preprocessor: Preprocessor, file: EventFile) -> None:
        super().__init__(preprocessor, file)
        self.read: list[tuple[int, int]] = []

    def block(self, start: int, stop: int) -> EventBlock:
        self.read.append((start, stop))
        return super().block(start, stop)


def tensors(part: Any) -> list[torch.Tensor]:
    if isinstance(part, torch.Tensor):
        return [part]
    if isinstance(part, dict):
        return [leaf for own in part.values() for leaf in tensors(own)]
    if dataclasses.is_dataclass(part):
        return [leaf for field in dataclasses.fields(part) for leaf in tensors(getattr(part, field.name))]
    return [leaf for own in part for leaf in tensors(own)] if isinstance(part, tuple) else []


@pytest.mark.parametrize(
    ("keep", "asked", "read"),
    [
        (2, [[5], [150], [7], [250], [9]], [0, 1, 2]),  # 0 was asked for after 1, so 1 goes
        (2, [[5], [150], [250], [9]], [0, 1, 2, 0]),
        (2, [[250], [150], [3, 251]], [2, 1, 0]),  # 2 is used before reading 0 drops it
        (1, [[150, 3, 251], [252]], [0, 1, 2]),
        (1, [[499], [450, 401]], [4]),
    ],
)
def test_the_chunk_used_longest_ago_is_dropped(
    path: Path, data: EventData, keep: int, asked: list[list[int]], read: list[int]
) -> None:
    reader = RecordingReader(data.preprocessor, EventFile.open(path))
    streamed = StreamedEvents(reader, 100, keep=keep)
    served = [streamed[RowBatch(0, np.array(rows))] for rows in asked]
    assert reader.read == [(100 * number, 100 * number + 100) for number in read]
    assert [batch.rows.tolist() for batch in served] == asked


def test_the_last_chunk_ends_with_the_file(path: Path, data: EventData) -> None:
    reader = RecordingReader(data.preprocessor, EventFile.open(path))
    StreamedEvents(reader, 300, keep=1)[RowBatch(0, np.array([N - 1]))]
    assert reader.read == [(300, N)]


def test_streamed_rows_in_any_order_and_twice_are_those_of_the_file(path: Path, data: EventData) -> None:
    streamed = StreamedEvents(EventReader(data.preprocessor, EventFile.open(path)), 60, keep=2)
    rows = np.random.default_rng(0).integers(0, N, 200)
    expected = data.preprocessor.batch(EventFile.open(path), rows)
    for mine, theirs in zip(tensors(streamed[RowBatch(0, rows)]), tensors(expected), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=0, atol=0)


@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("momenta", [False, True])
def test_the_memory_foreseen_is_that_of_the_tensors(path: Path, padded: bool, momenta: bool) -> None:
    own = EventData(dataset(path, **SETTINGS), seed=0, momenta=momenta)
    file = EventFile.open(path)
    block = EventReader(own.preprocessor, file).block(0, N)
    held = sum(leaf.nbytes for leaf in tensors(block.padded() if padded else block))
    foreseen = bytes_per_event(own.preprocessor, file, padded=padded) * N
    # Rows and starts of objects are counted once for every event; one row of padding is not.
    assert abs(foreseen - held) <= 16 * N + 200


@pytest.mark.parametrize(
    ("event_bytes", "budget", "batch_size", "expected"),
    [
        (10.0, 110_000, 64, 1000),
        (10.0, 110, 64, 64),
        (1.0, 11 * (3 * STORED_ROWS + 5), 64, 3 * STORED_ROWS),
        (1.0, 11 * STORED_ROWS, 64, STORED_ROWS),
        (1.0, 11 * (STORED_ROWS - 1), 64, STORED_ROWS - 1),
        (1.0, 11 * (2 * STORED_ROWS - 1), 100_000, 100_000),
    ],
)
def test_chunks_are_as_large_as_memory_allows_and_end_where_stored_ones_do(
    event_bytes: float, budget: int, batch_size: int, expected: int
) -> None:
    assert MIXED_CHUNKS + 3 == 11
    assert chunk_rows(event_bytes, budget, batch_size) == expected


def test_a_file_with_more_objects_than_training_had_is_cut_to_its_slots(tmp_path: Path, path: Path) -> None:
    few = np.minimum(CHUNK.objects["jets"].counts, 2)
    kept = np.concatenate([np.arange(count) < 2 for count in CHUNK.objects["jets"].counts])
    columns = {name: np.asarray(values)[kept] for name, values in CHUNK.objects["jets"].columns.items()}
    short = dataclasses.replace(CHUNK, objects={"jets": ObjectChunk(few, columns)})
    trained = EventData(dataset(write_events(tmp_path / "short.h5", short), **SETTINGS), seed=0)
    assert trained.inputs.objects["jets"].max_objects == 2
    mine = trained.preprocessor.batch(EventFile.open(path), np.arange(N)).features.objects["jets"]
    theirs = trained.preprocessor.batch(EventFile.open(tmp_path / "short.h5"), np.arange(N)).features.objects["jets"]
    assert all(torch.equal(*pair) for pair in zip(mine, theirs, strict=True))


def test_a_range_of_events_without_objects_is_prepared(path: Path, data: EventData) -> None:
    empty = int(np.flatnonzero(CHUNK.objects["jets"].counts == 0)[0])
    batch = data.preprocessor.batch(EventFile.open(path), np.array([empty]))
    jets = batch.features.objects["jets"]
    assert jets.mask.shape == (1, 5)
    assert not any(table.any() for table in jets)
    assert torch.isfinite(batch.features.numerical).all()


def test_a_bad_value_of_an_object_is_named_with_its_row_in_the_file(tmp_path: Path, data: EventData) -> None:
    jets = CHUNK.objects["jets"]
    event = int(np.flatnonzero(jets.counts)[-1])
    row = int(jets.counts[:event].sum())
    btag = np.array(jets.columns["btag"])
    btag[row] = 1e38
    objects = {"jets": dataclasses.replace(jets, columns=jets.columns | {"btag": btag})}
    file = EventFile.open(write_events(tmp_path / "far.h5", dataclasses.replace(CHUNK, objects=objects)))
    with pytest.raises(DataError, match=rf"far\.h5: column 'jets\.btag': 1 values are too far .*rows {row} \(counted"):
        data.preprocessor.batch(file, np.array([event]))
    assert data.preprocessor.batch(file, np.array([0])).rows.tolist() == [0]


def test_a_checkpoint_of_another_version_and_without_spectators(data: EventData) -> None:
    assert Preprocessor.from_payload(data.payload(), spectators=False).spectators == ()
    assert json_text(Preprocessor.from_payload(data.payload()).to_payload()) == json_text(data.payload())
    with pytest.raises(DataError, match="preprocessing in version 7, this release reads 1: use the release"):
        Preprocessor.from_payload(data.payload() | {"version": 7})


def test_events_of_no_class_weigh_nothing_whatever_their_sign(tmp_path: Path) -> None:
    left_out = CHUNK.labels == 1
    weights = np.where(left_out, -2.0, CHUNK.weights)
    file = write_events(tmp_path / "left_out.h5", dataclasses.replace(CHUNK, weights=weights))
    data = EventData(dataset(file, classes=["ttbar", "signal"], use_mc_weights=True), seed=0)
    batch = data.preprocessor.batch(EventFile.open(file), np.arange(N))
    np.testing.assert_array_equal(batch.targets, np.array([0, -1, 1])[CHUNK.labels])
    np.testing.assert_allclose(batch.loss_weights, np.where(left_out, 0.0, weights), rtol=1e-6)
    assert sum(data.class_counts) == len(data.rows("train"))


@pytest.mark.parametrize("policy", ["error", "absolute", "zero", "drop"])
@pytest.mark.parametrize("broken", [np.nan, np.inf, -np.inf])
def test_weights_that_are_no_numbers_are_refused_under_every_policy(policy: Any, broken: float) -> None:
    with pytest.raises(DataError, match=r"e\.h5: 1 event weights are NaN or infinite, rows 2\. Convert it again"):
        check_weights(np.array([1.0, 0.0, broken]), policy, "e.h5")


def test_five_rows_are_listed_and_more_are_hinted_at() -> None:
    with pytest.raises(DataError, match=r"5 of 5 event weights are negative, rows 0, 1, 2, 3, 4, and"):
        check_weights(-np.ones(5), "error", "e.h5")
    with pytest.raises(DataError, match=r"rows 0, 1, 2, 3, 4, …, and"):
        check_weights(-np.ones(6), "error", "e.h5")
    assert usable_weights(np.array([-0.0, -3.0, 2.0]), "absolute").tolist() == [0.0, 3.0, 2.0]


def test_class_weights_without_normalisation_are_those_of_scikit_learn() -> None:
    targets = np.random.default_rng(0).choice(3, 200, p=[0.6, 0.3, 0.1])
    expected = compute_class_weight("balanced", classes=np.arange(3), y=targets)
    for normalise in (False, True):  # the same where weights are ones
        np.testing.assert_allclose(class_weights(np.ones(200), targets, 3, normalise=normalise), expected)


@pytest.mark.parametrize(
    ("sampler", "strategy", "expected"),
    [
        ("RandomOverSampler", "all", [50, 50, 50]),
        ("RandomOverSampler", "not minority", [50, 10, 50]),
        ("RandomOverSampler", "majority", [50, 10, 30]),
        ("RandomUnderSampler", "all", [10, 10, 10]),
        ("RandomUnderSampler", "minority", [50, 10, 30]),
        ("RandomUnderSampler", "not minority", [10, 10, 10]),
        ("RandomOverSampler", {"a": 50}, [50, 10, 30]),
        ("RandomUnderSampler", {"b": 10}, [50, 10, 30]),
    ],
)
def test_strategies_name_the_classes_that_change(sampler: Any, strategy: Any, expected: list[int]) -> None:
    present = np.array([50, 10, 30])
    assert epoch_counts(present, ("a", "b", "c"), sampler, strategy).tolist() == expected
    assert present.tolist() == [50, 10, 30]


def test_streaming_mixes_repeated_events_within_their_pool() -> None:
    rows = np.arange(1000) * 2
    targets = (rows >= 1000).astype(np.int64)
    resampler = Resampler(rows, targets, np.array([500, 900]), seed=4)
    plan = ChunkShuffledPlan(rows, 50, seed=4, chunk_rows=100, mixed=2, resampler=resampler)
    order = np.concatenate([key.rows for key in plan.batches(1)])
    np.testing.assert_array_equal(np.sort(order), np.sort(resampler.draw(1)))
    chunks = order // 100
    first, last = (np.array([np.flatnonzero(chunks == n)[end] for n in range(20)]) for end in (0, -1))
    open_at_once = [(first <= place) & (last >= place) for place in range(len(order))]
    assert max(own.sum() for own in open_at_once) == 2
