"""Datasets of events: the key of a batch in, the batch out; from memory or from chunks of a file."""

from __future__ import annotations

import numpy as np
import torch
from torch.utils.data import Dataset

from tabstar_lit.data.plans import RowBatch
from tabstar_lit.families.hep.batch import Columns, EventBatch
from tabstar_lit.families.hep.config import EventsDataset
from tabstar_lit.families.hep.events.file import EventFile
from tabstar_lit.families.hep.preparation.blocks import EventBlock, merge
from tabstar_lit.families.hep.preparation.preprocess import EventReader, Preprocessor
from tabstar_lit.families.hep.preparation.trimming import Multiplicities

MIXED_CHUNKS = 8
"""Chunks whose training events are shuffled among each other when streaming, and that are held in memory."""

HELD_CHUNKS = MIXED_CHUNKS + 3
"""Chunks in memory at most: twice as much as one is held while it is prepared, and validation keeps one more."""

STREAMED_SHARE = 0.25
"""Of the memory that all events would take, what streaming takes where it is asked for, unless chunks become tiny."""

STORED_ROWS = 1 << 16
"""Rows of a column that an event file compresses together: chunks that begin there are read without waste."""

EVENT_BYTES = 32
"""Target, two weights, row number and first object of an event."""


class CachedEvents(Dataset[EventBatch]):
    """Events held in memory.

    Parameters
    ----------
    block : EventBlock
        All events of the file.
    trim : Multiplicities or None
        How long a batch has to be; None: all alike.
    """

    def __init__(self, block: EventBlock, trim: Multiplicities | None = None) -> None:
        self._block, self._trim = block, trim
        self._moved: CachedEvents | None = None

    @property
    def nbytes(self) -> int:
        """Memory of all tensors."""
        return self._block.nbytes

    def to(self, device: torch.device) -> CachedEvents:
        """Return the same events on ``device``, moved once."""
        if self._moved is None or self._moved._block.device != device:
            self._moved = CachedEvents(self._block.to(device), self._trim)
        return self._moved

    def __getitem__(self, key: RowBatch) -> EventBatch:
        """Return the batch of the rows that ``key`` names."""
        rows = torch.from_numpy(key.rows)
        slots = None if self._trim is None else self._trim.slots(key.rows)
        return self._block.select(rows.to(self._block.device, non_blocking=True), slots)


class StreamedEvents(Dataset[EventBatch]):
    """Events read in chunks of the file, the latest of which are kept.

    Each loader worker keeps its own; with several of them every chunk is read by each.

    Parameters
    ----------
    reader : EventReader
        The file and how it is prepared.
    chunk_rows : int
        Rows of the file in a chunk.
    keep : int
        Chunks held in memory.
    trim : Multiplicities or None
        As for :class:`CachedEvents`.
    """

    reads_ahead = True

    def __init__(self, reader: EventReader, chunk_rows: int, *, keep: int, trim: Multiplicities | None = None) -> None:
        self._reader, self._trim = reader, trim
        self._chunk_rows = chunk_rows
        self._keep = keep
        self._chunks: dict[int, EventBlock] = {}

    def __getitem__(self, key: RowBatch) -> EventBatch:
        """Return the batch of the rows that ``key`` names, reading the chunks that are not at hand."""
        chunks = key.rows // self._chunk_rows
        # Those at hand first: reading the others drops them.
        needed = sorted(np.unique(chunks).tolist(), key=lambda number: number not in self._chunks)
        positions = [np.flatnonzero(chunks == number) for number in needed]
        slots = None if self._trim is None else self._trim.slots(key.rows)
        parts = [
            self._chunk(number).select(torch.from_numpy(key.rows[own] - number * self._chunk_rows), slots)
            for number, own in zip(needed, positions, strict=True)
        ]
        return merge(parts, torch.from_numpy(np.argsort(np.concatenate(positions))))

    def _chunk(self, number: int) -> EventBlock:
        block = self._chunks.pop(number, None)
        if block is None:
            while len(self._chunks) >= self._keep:
                del self._chunks[next(iter(self._chunks))]
            start = number * self._chunk_rows
            block = self._reader.block(start, min(start + self._chunk_rows, self._reader.file.n_events))
        self._chunks[number] = block  # now the last to be dropped
        return block


class EventStore:
    """All events of a file, prepared: held in memory, or read in chunks each epoch where they do not fit.

    Parameters
    ----------
    reader : EventReader
        The file and how it is prepared.
    config : EventsDataset
        Whether to hold them, how much memory they may take, and the size of a batch.

    Attributes
    ----------
    streamed : bool
        The events are read anew each epoch instead of being held in memory.
    chunk_rows : int
        Rows of the file in a chunk.
    trim : Multiplicities or None
        How long a batch has to be, where batches are of like multiplicity.
    """

    def __init__(self, reader: EventReader, config: EventsDataset) -> None:
        self.reader = reader
        self.trim = reader.multiplicities() if config.dataset_kwargs.bucket_batches else None
        event_bytes = bytes_per_event(reader.preprocessor, reader.file)
        budget = int(config.max_memory_gb * 1e9)
        too_large = event_bytes * reader.file.n_events > budget
        asked = "stream" in (config.cache, config.dataloader_kwargs.cache)
        self.streamed = asked or (config.cache == "auto" and too_large)
        if asked:  # not because memory lacks, but to spare it
            least = STORED_ROWS * event_bytes * HELD_CHUNKS if reader.preprocessor.events.names() else 0.0
            budget = int(min(budget, max(least, event_bytes * reader.file.n_events * STREAMED_SHARE)))
        self.chunk_rows = chunk_rows(event_bytes, budget, config.dataloader_kwargs.batch_size)
        self._memory = None if self.streamed else self._load(budget)

    def dataset(self, *, shuffled: bool) -> Dataset[EventBatch]:
        """Return what serves batches: of shuffled rows, several chunks at a time, or of rows in the file's order."""
        keep = MIXED_CHUNKS if shuffled else 1
        return self._memory or StreamedEvents(self.reader, self.chunk_rows, keep=keep, trim=self.trim)

    def _load(self, budget: int) -> CachedEvents:
        block = self.reader.block(0, self.reader.file.n_events)
        padded = bytes_per_event(self.reader.preprocessor, self.reader.file, padded=True)
        return CachedEvents(block.padded() if padded * self.reader.file.n_events <= budget else block, self.trim)


def bytes_per_event(preprocessor: Preprocessor, file: EventFile, *, padded: bool = False) -> float:
    """Return the memory that a prepared event of a file takes, in bytes, in the mean over its events.

    Parameters
    ----------
    preprocessor : Preprocessor
        How it is prepared.
    file : EventFile
        The events.
    padded : bool, default False
        With its objects padded.
    """
    total = EVENT_BYTES + 4.0 * len(preprocessor.spectators) + _feature_bytes(preprocessor.events.columns())
    for name, recipe in preprocessor.objects.items():
        per_event = recipe.slots if padded else file.objects[name].n_objects / max(1, file.n_events)
        momentum = 16 if recipe.momentum else 0
        total += per_event * (_feature_bytes(recipe.features.columns()) + momentum + (1 if padded else 0))
    return total


def _feature_bytes(columns: Columns) -> int:
    return 4 * len(columns.numerical) + 8 * len(columns.categorical)


def chunk_rows(event_bytes: float, budget: int, batch_size: int) -> int:
    """Return the rows of a chunk such that those held while streaming need at most ``budget`` bytes.

    Parameters
    ----------
    event_bytes : float
        Memory of an event.
    budget : int
        Bytes for all chunks.
    batch_size : int
        Events in a batch; a chunk has at least as many.
    """
    rows = int(budget / event_bytes / HELD_CHUNKS)
    if rows > STORED_ROWS:
        rows -= rows % STORED_ROWS
    return max(rows, batch_size)
