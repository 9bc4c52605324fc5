"""Count tables: BIOM 2.1 (HDF5), TSV, CSV, and both inside QIIME 2 artifacts."""

from __future__ import annotations

import csv
import io
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import h5py
import numpy as np
from scipy import sparse

from tabstar_lit.arrays import Array, Bool, Int64
from tabstar_lit.errors import DataError
from tabstar_lit.families.microbes.tables.payload import Payload, read_payload

MEMBERS = ("feature-table.biom",)
SEPARATORS = {".tsv": "\t", ".txt": "\t", ".csv": ","}
TAXONOMY = {"taxonomy", "taxon", "consensus lineage"}
"""Last columns of TSV tables that hold no counts."""
_H5_ERRORS = (OSError, KeyError, RuntimeError, ValueError, TypeError)


@dataclass(frozen=True, eq=False)
class CountTable:
    """Reads of ``F`` features in ``N`` samples.

    Attributes
    ----------
    sample_ids : tuple of str
        ``[N]``.
    ids : tuple of str
        ``[F]`` sequences, or hashes of them.
    counts : csr_matrix of int64
        ``[N, F]``, without stored zeros, columns in order.
    source : str
        Where it came from, for messages.
    """

    sample_ids: tuple[str, ...]
    ids: tuple[str, ...]
    counts: sparse.csr_matrix
    source: str = "table"

    def __post_init__(self) -> None:
        """Refuse ids that are there twice."""
        for what, own in (("sample", self.sample_ids), ("feature", self.ids)):
            if len(set(own)) < len(own):
                twice = Counter(own).most_common(1)[0][0]
                raise DataError(f"{self.source}: the {what} {twice!r} is there twice; sum or rename them first.")

    @property
    def depths(self) -> Int64:
        """Reads of each sample: ``[N]``."""
        return np.asarray(self.counts.sum(axis=1), dtype=np.int64).ravel()

    def take(self, samples: Bool | Int64 | None = None, features: Bool | Int64 | None = None) -> CountTable:
        """Return some samples and features, by masks or positions in a new order."""
        rows = _positions(samples, len(self.sample_ids))
        columns = _positions(features, len(self.ids))
        counts = self.counts[rows][:, columns]
        counts.sort_indices()
        names = tuple(self.sample_ids[i] for i in rows), tuple(self.ids[i] for i in columns)
        return replace(self, sample_ids=names[0], ids=names[1], counts=counts)


def read_table(path: Path) -> CountTable:
    """Read a count table: ``.biom``, ``.tsv``, ``.txt``, ``.csv`` or ``.qza``.

    Raises
    ------
    DataError
        It cannot be read, or holds what is no count: says where.
    """
    payload = read_payload(path, members=MEMBERS)
    if payload.suffix == ".biom":
        return _read_biom(payload)
    if payload.suffix in SEPARATORS:
        return _read_text(payload, SEPARATORS[payload.suffix])
    known = ", ".join([".biom", *SEPARATORS, ".qza"])
    raise DataError(f"{path}: a table of an unknown kind '{payload.suffix}'; known are {known}.")


def _read_biom(payload: Payload) -> CountTable:
    if payload.content[:100].lstrip().startswith(b"{"):
        raise DataError(
            f"{payload.source}: a BIOM file of version 1 (JSON), and version 2 (HDF5) is read here. Convert it with: "
            "biom convert --to-hdf5 -i TABLE -o NEW.biom"
        )
    try:
        with h5py.File(io.BytesIO(payload.content), "r") as file:
            samples, ids = (_names(file[f"{axis}/ids"]) for axis in ("sample", "observation"))
            shape = len(samples), len(ids)
            if "sample/matrix" in file:
                counts = sparse.csr_matrix(_parts(file["sample/matrix"]), shape=shape)
            else:
                counts = sparse.csc_matrix(_parts(file["observation/matrix"]), shape=shape)
            counts.check_format()
    except _H5_ERRORS as error:
        raise DataError(
            f"{payload.source}: no BIOM file of version 2 (HDF5), or a damaged one ({error}). Export or copy it again."
        ) from error
    return _counted(samples, ids, counts.tocsr(), payload.source)


def _parts(group: h5py.Group) -> tuple[Array, Array, Array]:
    return group["data"][()], group["indices"][()], group["indptr"][()]


def _names(dataset: h5py.Dataset) -> tuple[str, ...]:
    return tuple(name.decode() if isinstance(name, bytes) else str(name) for name in dataset[()])


def _read_text(payload: Payload, separator: str) -> CountTable:
    """Read features in rows, samples in columns, as ``biom convert --to-tsv`` writes them."""
    rows = csv.reader(io.StringIO(payload.text()), delimiter=separator)
    header: list[str] = []
    ids: list[str] = []
    values: list[list[str]] = []
    for cells in rows:
        if not cells or (not header and cells[0].startswith("# ")):
            continue
        if not header:
            header = cells
            continue
        if len(cells) != len(header):
            raise DataError(
                f"{payload.source}:{rows.line_num}: {len(cells)} cells in a row, and the header has {len(header)}. "
                "Save the table again with one separator."
            )
        ids.append(cells[0])
        values.append(cells[1:])
    if len(header) < 2 or not ids:
        raise DataError(f"{payload.source}: no table of features in rows and samples in columns, with a header.")
    n_samples = len(header) - 1 - (header[-1].strip().lower() in TAXONOMY)
    numbers = np.empty((len(ids), n_samples))
    for feature, own in enumerate(values):
        try:
            numbers[feature] = own[:n_samples]
        except ValueError:
            raise _odd_cell(payload.source, ids[feature], header[1:], own[:n_samples]) from None
    return _counted(tuple(header[1 : n_samples + 1]), tuple(ids), sparse.csr_matrix(numbers.T), payload.source)


def _odd_cell(source: str, feature: str, samples: list[str], cells: list[str]) -> DataError:
    sample, cell = next(pair for pair in zip(samples, cells, strict=False) if not _is_number(pair[1]))
    return DataError(f"{source}: feature {_short(feature)}, sample '{sample}': {cell!r} is no count. Write 0 for none.")


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _counted(samples: tuple[str, ...], ids: tuple[str, ...], counts: sparse.csr_matrix, source: str) -> CountTable:
    """Refuse what is no count or nothing at all, and leave out stored zeros."""
    if not samples or not ids:
        raise DataError(f"{source}: an empty table, of {len(samples)} samples and {len(ids)} features.")
    values = counts.data
    odd = ~((values >= 0) & (values == np.floor(values)) & np.isfinite(values))
    if odd.any():
        entry = int(np.flatnonzero(odd)[0])
        sample = int(np.searchsorted(counts.indptr, entry, side="right")) - 1
        what = "negative" if values[entry] < 0 else "fractional" if np.isfinite(values[entry]) else "not finite"
        raise DataError(
            f"{source}: sample '{samples[sample]}', feature {_short(ids[counts.indices[entry]])}: {values[entry]:g} "
            f"is no count but {what}, and so are {int(odd.sum()) - 1} more of {len(values)} values. Give raw reads: "
            "UniFrac, rarefaction and the network need whole numbers, not shares or transformed values."
        )
    whole = counts.astype(np.int64)
    whole.eliminate_zeros()
    whole.sort_indices()
    return CountTable(samples, ids, whole, source)


def _short(feature: str) -> str:
    return f"'{feature}'" if len(feature) <= 40 else f"'{feature[:37]}...'"


def _positions(chosen: Bool | Int64 | None, size: int) -> Int64:
    if chosen is None:
        return np.arange(size)
    return np.flatnonzero(chosen) if chosen.dtype == bool else np.asarray(chosen, dtype=np.int64)
