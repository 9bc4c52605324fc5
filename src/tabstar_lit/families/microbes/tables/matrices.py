"""Matrices of distances: read from what others computed, matched by ids, and written as ``ssu`` writes them."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from tabstar_lit.arrays import Float64
from tabstar_lit.data import hdf5
from tabstar_lit.errors import DataError
from tabstar_lit.families.microbes.tables.payload import Payload, read_payload

MEMBERS = ("distance-matrix.tsv",)
TOLERANCE = 1e-4
"""How far a matrix may be from symmetric, and its diagonal from 0: that of files in single precision."""


@dataclass(frozen=True, eq=False)
class DistanceMatrix:
    """Distances between ``N`` samples.

    Attributes
    ----------
    ids : tuple of str
        ``[N]`` samples, in the order of the matrix.
    values : NDArray of float64
        ``[N, N]``.
    source : str
        Where it came from, for messages.
    """

    ids: tuple[str, ...]
    values: Float64
    source: str

    def __post_init__(self) -> None:
        """Refuse what are no distances."""
        n = len(self.ids)
        if self.values.shape != (n, n):
            raise DataError(
                f"{self.source}: a matrix of {self.values.shape} for {n} ids; it is square, with one id a row."
            )
        if len(set(self.ids)) < n:
            raise DataError(f"{self.source}: an id is there twice.")
        odd = ~(np.isfinite(self.values) & (self.values >= 0)) | (np.abs(self.values - self.values.T) > TOLERANCE)
        np.fill_diagonal(odd, np.abs(np.diagonal(self.values)) > TOLERANCE)
        if odd.any():
            i, j = np.argwhere(odd)[0]
            raise DataError(
                f"{self.source}: between '{self.ids[i]}' and '{self.ids[j]}' stands {self.values[i, j]:g}, and the "
                f"other way {self.values[j, i]:g}. Distances are symmetric, not negative, and 0 on the diagonal."
            )

    def of(self, sample_ids: Sequence[str]) -> Float64:
        """Return the distances of some samples in their own order, ``[n, n]``.

        Raises
        ------
        DataError
            A sample has none.
        """
        place = {name: row for row, name in enumerate(self.ids)}
        if absent := [name for name in sample_ids if name not in place]:
            raise DataError(
                f"{self.source}: {len(absent)} of {len(sample_ids)} samples of the table have no distances, such as "
                f"'{absent[0]}'; the matrix has {len(self.ids)}, such as '{self.ids[0]}'."
            )
        rows = [place[name] for name in sample_ids]
        return np.asarray(self.values[np.ix_(rows, rows)])


def read_distances(path: Path, ids: Path | None = None) -> DistanceMatrix:
    """Read distances: ``.npy`` with a file of ids, ``.h5`` with ``matrix`` and ``order``, TSV, or ``.qza``.

    Parameters
    ----------
    path : Path
        The file.
    ids : Path, optional
        Text file with the id of each row of a ``.npy`` file, one a line.

    Raises
    ------
    DataError
        It cannot be read, holds no distances, or does not say whose they are.
    """
    payload = read_payload(path, members=MEMBERS)
    if payload.suffix == ".npy":
        return _read_npy(payload, ids)
    if payload.suffix in (".h5", ".hdf5"):
        return _read_h5(payload)
    return _read_tsv(payload)


def write_distances(path: Path, ids: Sequence[str], values: Float64, *, metric: str) -> None:
    """Write distances as ``ssu`` of unifrac-binaries does: ``matrix`` and ``order``, here in double precision.

    Raises
    ------
    DataError
        The file cannot be written.
    """
    with hdf5.atomic_file(path) as file:
        file.create_dataset("order", data=np.array([name.encode() for name in ids], dtype=h5py.string_dtype()))
        hdf5.write_array(file, "matrix", values)
        hdf5.write_text(file, "metric", metric)


def _read_npy(payload: Payload, ids: Path | None) -> DistanceMatrix:
    if ids is None:
        raise DataError(
            f"{payload.source}: an .npy file does not say whose distances it holds. Name a text file with the id of "
            "each row, one a line, under 'ids'."
        )
    try:
        values = np.load(io.BytesIO(payload.content), allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise DataError(f"{payload.source}: no .npy file of numbers ({error}).") from error
    names = read_payload(ids, members=()).text().split("\n")
    return DistanceMatrix(
        tuple(name.strip() for name in names if name.strip()), np.asarray(values, dtype=np.float64), payload.source
    )


def _read_h5(payload: Payload) -> DistanceMatrix:
    try:
        with h5py.File(io.BytesIO(payload.content), "r") as file:
            order = [name.decode() if isinstance(name, bytes) else str(name) for name in file["order"][()]]
            values = np.asarray(file["matrix"][()], dtype=np.float64)
    except (OSError, KeyError, RuntimeError, ValueError, TypeError) as error:
        raise DataError(
            f"{payload.source}: no distances as ssu writes them: an HDF5 file with 'matrix' and 'order' ({error})."
        ) from error
    return DistanceMatrix(tuple(order), values, payload.source)


def _read_tsv(payload: Payload) -> DistanceMatrix:
    rows = csv.reader(io.StringIO(payload.text()), delimiter="\t")
    header, values, ids = list[str](), list[list[float]](), list[str]()
    for row in rows:
        if not row:
            continue
        if not header:
            header = row[1:]
            continue
        try:
            values.append([float(cell) for cell in row[1:]])
        except ValueError as error:
            raise DataError(f"{payload.source}:{rows.line_num}: {error}; distances are numbers.") from error
        ids.append(row[0])
    if ids != header or any(len(own) != len(ids) for own in values):
        raise DataError(
            f"{payload.source}: rows and columns of a matrix of distances have the same ids in the same order."
        )
    return DistanceMatrix(tuple(ids), np.array(values).reshape(len(ids), len(ids)), payload.source)
