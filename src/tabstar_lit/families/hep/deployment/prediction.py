"""Scores of any event file by a trained classifier, in chunks, so that the file may be larger than the memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import torch
from lightning.pytorch.utilities import move_data_to_device
from torch import Tensor

from tabstar_lit.arrays import Float32, Int64
from tabstar_lit.data.outputs import write_parquet
from tabstar_lit.data.progress import Progress, no_progress
from tabstar_lit.engine.trained import find_device
from tabstar_lit.families.hep.deployment.classifier import BATCH_SIZE, Classifier
from tabstar_lit.families.hep.deployment.root_scores import write_root
from tabstar_lit.families.hep.events.file import EventFile
from tabstar_lit.families.hep.preparation.preprocess import EventReader
from tabstar_lit.families.hep.preparation.serving import STORED_ROWS


class Chunk(NamedTuple):
    """Neighbouring events of a file with their scores.

    Attributes
    ----------
    rows : ndarray of int64 [n]
        Row numbers in the file.
    logits : Tensor
        ``[n, K]`` float32.
    targets, loss_weights : Tensor
        ``[n]`` class numbers, -1 for none, and weights in the loss.
    spectators : Tensor
        ``[n, S]``.
    """

    rows: Int64
    logits: Tensor
    targets: Tensor
    loss_weights: Tensor
    spectators: Tensor


def score_events(
    classifier: Classifier, reader: EventReader, rows: Int64, *, batch_size: int = BATCH_SIZE, device: str = "auto"
) -> Iterator[Chunk]:
    """Yield the scores of events in the order of the file, as many at a time as the file compresses together.

    The network stays on ``device``.

    Parameters
    ----------
    classifier : Classifier
        The network.
    reader : EventReader
        The events.
    rows : ndarray of int64 [N]
        Which of them, rising; at least one.
    batch_size : int
        Events in a batch.
    device : str
        Where the network runs.

    Raises
    ------
    DataError
        A column is missing, or holds values that it must not.
    ConfigError
        There is no such device.
    """
    place = find_device(device)
    network = classifier.network.to(place)
    for number in np.unique(rows // STORED_ROWS).tolist():
        part = rows[rows // STORED_ROWS == number]
        first = int(part[0])
        block = reader.block(first, int(part[-1]) + 1)
        chosen = torch.from_numpy(part - first)
        with torch.inference_mode():
            batches = [block.select(index).features for index in torch.split(chosen, batch_size)]
            logits = [network(move_data_to_device(features, place)).float().cpu() for features in batches]
        yield Chunk(
            part,
            torch.cat(logits),
            targets=block.targets.index_select(0, chosen),
            loss_weights=block.loss_weights.index_select(0, chosen),
            spectators=block.spectators.index_select(0, chosen),
        )


def predict_events(
    classifier: Classifier,
    data: Path,
    output: Path,
    *,
    split: str | None = None,
    spectators: bool = False,
    root: bool = False,
    batch_size: int = BATCH_SIZE,
    device: str = "auto",
    progress: Progress = no_progress,
) -> int:
    """Write the scores of an event file as Parquet, a row for each event in the order of the file.

    Columns: ``event_id``, ``label`` (text, as in the file), ``weight``, ``logit`` (or ``logit_<class>`` of three
    classes and more), ``p_<class>``, and the spectators.

    Parameters
    ----------
    classifier : Classifier
        From :func:`~tabstar_lit.families.hep.deployment.restore.restore`.
    data : Path
        An event file with the features of the training; labels and weights need not be those of the training.
    output : Path
        The Parquet file.
    split : str, optional
        Only the events on this side of the split of the training.
    spectators : bool, default False
        Carry along the spectators of the training that the file has.
    root : bool, default False
        Write a ROOT file with the tree ``scores`` instead.
    batch_size, device
        As for :func:`score_events`.
    progress : callable
        For a progress bar.

    Returns
    -------
    int
        Number of events.

    Raises
    ------
    DataError
        The file lacks a feature, holds values that cannot be used, or the split has no events.
    """
    n_events, tables = _opened(classifier, data, split, spectators, batch_size=batch_size, device=device)
    (write_root if root else write_parquet)(output, tables, n_rows=n_events, progress=progress)
    return n_events


def scored(
    classifier: Classifier, data: Path, *, split: str | None, spectators: bool, batch_size: int, device: str
) -> pd.DataFrame:
    """Return what :func:`predict_events` writes."""
    _, tables = _opened(classifier, data, split, spectators, batch_size=batch_size, device=device)
    frame: pd.DataFrame = pa.concat_tables(tables).to_pandas()
    return frame


def _opened(
    classifier: Classifier, data: Path, split: str | None, spectators: bool, *, batch_size: int, device: str
) -> tuple[int, Iterator[pa.Table]]:
    """Return how many events are asked for, and their scores chunk by chunk."""
    file = EventFile.open(data)
    carried = tuple(name for name in classifier.preprocessor.spectators if spectators and name in file.columns)
    reader = EventReader(replace(classifier.preprocessor, spectators=carried), file)
    rows = classifier.rows(file, split)
    chunks = score_events(classifier, reader, rows, batch_size=batch_size, device=device)
    return len(rows), _tables(classifier, reader, chunks)


def _tables(classifier: Classifier, reader: EventReader, chunks: Iterable[Chunk]) -> Iterator[pa.Table]:
    """Yield what is known of the events of each chunk, under names that are all different."""
    file, spectators = reader.file, reader.preprocessor.spectators
    ids, labels = file.event_ids(), file.labels()
    names = pa.array(file.classes, pa.string())
    for chunk in chunks:
        own = labels[chunk.rows]
        known: dict[str, Any] = {
            "event_id": ids[chunk.rows],
            "label": pa.DictionaryArray.from_arrays(pa.array(own, pa.int32(), mask=own < 0), names),
            "weight": reader.weights[chunk.rows],
            **_scores(classifier, chunk.logits),
        }
        carried = dict(zip(spectators, chunk.spectators.T.numpy(), strict=True))
        free = {name if name not in known else f"spectator_{name}": column for name, column in carried.items()}
        yield pa.table(known | free)


def _scores(classifier: Classifier, logits: Tensor) -> dict[str, Float32]:
    """Return logits and probabilities as columns ``[n]`` by name."""
    names = ["logit"] if logits.shape[1] == 1 else [f"logit_{name}" for name in classifier.classes]
    names += [f"p_{name}" for name in classifier.classes]
    columns = torch.cat([logits, classifier.probabilities(logits)], dim=1).T.numpy()
    return dict(zip(names, columns, strict=True))
