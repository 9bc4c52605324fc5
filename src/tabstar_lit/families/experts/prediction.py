"""Scores of all documents of a file or folder, written as Parquet."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa

from tabstar_lit.data.outputs import write_parquet
from tabstar_lit.data.progress import Progress, no_progress
from tabstar_lit.errors import DataError
from tabstar_lit.families.experts.scores import bits_per_byte
from tabstar_lit.families.experts.text.jsonl import find_domains, read_texts
from tabstar_lit.families.experts.trained import BATCH_SIZE, TrainedText, restore

DOCUMENTS_AT_ONCE = 512


class Document(NamedTuple):
    """A text and where it stands."""

    domain: str
    file: str
    line: int
    text: str


def predict_texts(
    checkpoint: Path,
    data: Path,
    output: Path,
    *,
    batch_size: int = BATCH_SIZE,
    device: str = "auto",
    progress: Progress = no_progress,
) -> str:
    """Write the scores of all documents.

    Parameters
    ----------
    checkpoint : Path
        Of ``train_experts``.
    data : Path
        A file of JSON lines, or a folder of domains.
    output : Path
        The Parquet file.
    batch_size, device
        As for :meth:`TrainedText.predict`.
    progress : callable
        For a bar over the documents.

    Returns
    -------
    str
        A line about all of them.

    Raises
    ------
    CheckpointError
        The checkpoint cannot be used.
    DataError
        A text cannot be read, there is none, or the output cannot be written.
    """
    files = _files(data)
    count = sum(
        1 for _ in _documents(files)
    )  # reads all of it once, so that bad input is found before anything is done
    if not count:
        raise DataError(f"{data}: there is no document in it.")
    trained = restore(checkpoint)
    sums = [0.0, 0.0]
    tables = _tables(trained, _documents(files), sums, batch_size=batch_size, device=device)
    write_parquet(output, tables, n_rows=count, progress=progress)
    return f"{count} documents, {bits_per_byte(*sums):.4f} bits per byte"


def _files(data: Path) -> Mapping[str, Sequence[Path]]:
    if data.is_dir():
        return find_domains(data)
    if not data.is_file():
        raise DataError(f"{data}: no such file or folder.")
    return {data.parent.name: (data,)}


def _documents(files: Mapping[str, Sequence[Path]]) -> Iterator[Document]:
    for domain, own in files.items():
        for path in own:
            for line in read_texts(path):
                yield Document(domain, path.name, line.number, line.text)


def _tables(
    trained: TrainedText, documents: Iterator[Document], sums: list[float], *, batch_size: int, device: str
) -> Iterator[pa.Table]:
    while part := list(islice(documents, DOCUMENTS_AT_ONCE)):
        scores = trained.predict([document.text for document in part], batch_size=batch_size, device=device)
        sums[0] += float(scores["nats"].sum())
        sums[1] += float(scores["bytes"].sum())
        for place, name in enumerate(("domain", "file", "line")):
            scores.insert(place, name, [document[place] for document in part])
        yield pa.Table.from_pandas(scores, preserve_index=False)
