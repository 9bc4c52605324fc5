"""Vectors of rows and of cells: what the network knows of them before its heads decide."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import torch
from torch import Tensor

from tabstar_lit.arrays import Float32
from tabstar_lit.data.outputs import whole_file, write_parquet
from tabstar_lit.errors import DataError
from tabstar_lit.families.tabstar.batch import TableBatch
from tabstar_lit.families.tabstar.deployment.serving import TableServer
from tabstar_lit.families.tabstar.network import TabStarNetwork

SUFFIXES = (".parquet", ".npz")


class Vectors(NamedTuple):
    """Vectors of ``n`` rows.

    Attributes
    ----------
    rows : ndarray of float32 [n, D]
        The mean over the target elements behind the last interaction layer, which is what the heads read.
    cells : ndarray of float32 [n, M, D], or None
        Every feature of every row behind the last interaction layer: the cell as its row has it.
    """

    rows: Float32
    cells: Float32 | None = None


def embed(server: TableServer, frame: pd.DataFrame, *, cells: bool, batch_size: int) -> Vectors:
    """Return the vectors of a chunk of rows.

    Parameters
    ----------
    server : TableServer
        Of their table.
    frame : DataFrame
        The rows.
    cells : bool
        Those of the cells too.
    batch_size : int
        Rows in a batch.
    """
    count = server.n_targets
    with server.served(frame, batch_size) as batches:
        states = [_states(server.network, batch, all_elements=cells) for batch in batches]
    whole = torch.cat(states)
    rows = whole[:, :count].mean(dim=1).numpy()
    return Vectors(rows, whole[:, count:].numpy() if cells else None)


def write_vectors(
    path: Path, server: TableServer, chunks: Iterator[pd.DataFrame], *, cells: bool, batch_size: int
) -> int:
    """Write the vectors of rows, as Parquet a chunk at a time, or as one NumPy archive; return how many rows.

    Parquet has a column ``row`` and, with ``cells``, one for each feature, of lists of ``D`` numbers. An archive has
    ``rows [N, D]``, ``features [M]`` and, with ``cells``, ``cells [N, M, D]``.

    Raises
    ------
    DataError
        There are no rows, or the file is called like neither.
    """
    if path.suffix not in SUFFIXES:
        raise DataError(f"{path}: vectors are written as {' or '.join(SUFFIXES)}; name the output so.")
    vectors = (embed(server, chunk, cells=cells, batch_size=batch_size) for chunk in chunks)
    first = next(vectors, None)
    if first is None:
        raise DataError(f"table '{server.name}': there are no rows.")
    if path.suffix == ".npz":
        return _write_archive(path, [first, *vectors], server.features)
    counts = [len(first.rows)]

    def tables() -> Iterator[pa.Table]:
        yield _table(first, server.features)
        for own in vectors:
            counts.append(len(own.rows))
            yield _table(own, server.features)

    write_parquet(path, tables(), n_rows=len(first.rows))
    return sum(counts)


def _states(network: TabStarNetwork, batch: TableBatch, *, all_elements: bool) -> Tensor:
    """Return elements behind the last layer, ``[B, S, D]``, or the targets' alone, ``[B, C, D]``, on the host."""
    elements = network.elements(batch)
    count = elements.shape[1] if all_elements else batch.n_targets
    return network.tabular_encoder(elements, count).float().cpu()  # type: ignore[no-any-return]  # untyped in torch


def _table(vectors: Vectors, features: tuple[str, ...]) -> pa.Table:
    columns = {"row": vectors.rows}
    if vectors.cells is not None:
        columns |= {f"cell {name}": vectors.cells[:, place] for place, name in enumerate(features)}
    width = vectors.rows.shape[1]
    return pa.table({name: pa.FixedSizeListArray.from_arrays(own.ravel(), width) for name, own in columns.items()})


def _write_archive(path: Path, parts: list[Vectors], features: tuple[str, ...]) -> int:
    arrays = {"rows": np.concatenate([own.rows for own in parts]), "features": np.array(features)}
    cells = [own.cells for own in parts if own.cells is not None]
    if cells:
        arrays["cells"] = np.concatenate(cells)
    with whole_file(path) as part, part.open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays)
    return len(arrays["rows"])
