"""The corpus: many tables in one HDF5 file, verbalised and scaled once, read whole tables at a time.

Layout (version 1)::

    /            attributes kind, schema_version, fingerprint
    /index       JSON list of the table names, in order
    /tables/<n>  attributes task, target, fingerprint (of the source), checksum (of the arrays)
      vocabulary/{bytes,offsets}  the unique strings of the table, targets first
      codes        [N, M]  row of the vocabulary for each cell; smallest unsigned type
      numbers      [N, K]  float32 z-scores of the K numeric columns, which are the last K elements; NaN: missing
      targets      [N]     float32 class index, or z-scored target
      target_codes [C]     row of the vocabulary for each target element
      is_validation [N]    bool
      row_ids      [N]     uint64
      weights      [N]     float32 how much each row counts; only where rows differ
      schema       JSON: columns, kinds, scaler statistics, bins, dates, classes, source, warnings
"""

from __future__ import annotations

import hashlib
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import h5py
import numpy as np

from tabstar_lit.arrays import Array, Bool, Float32, Int32, UInt64
from tabstar_lit.config.tree import suggestion
from tabstar_lit.data import hdf5
from tabstar_lit.errors import DataError

KIND = "tabstar_lit.corpus"
SCHEMA_VERSION = 1
REMEDY = "Make it again with: tabstar_lit convert tables MANIFEST.yaml -o CORPUS.h5"

Task = Literal["classification", "regression"]


@dataclass(frozen=True, eq=False)
class Table:
    """One table of a corpus, ready for batching, all arrays in memory.

    An *element* is one token of the interaction encoder: first the C target elements, then the M features.
    Features stand in the order of the official package: text columns as in the table, then numeric columns
    sorted by name.

    Attributes
    ----------
    name : str
        Name of the table in the corpus.
    task : str
        ``classification`` or ``regression``.
    vocabulary : tuple of str
        The unique strings of the table, target elements included.
    codes : ndarray of int32 [N, M]
        Row of ``vocabulary`` for each cell.
    numbers : ndarray of float32 [N, M]
        z-score; 0 for text, NaN where missing. Corpora of older releases have them clipped to [-3, 3], missing at 0.
    targets : ndarray of float32 [N]
        Class index, or the z-scored target; in corpora of older releases clipped to [-3, 3].
    target_codes : ndarray of int32 [C]
        Row of ``vocabulary`` for each target element; C = 1 for regression.
    classes : tuple of str
        Class names in index order; empty for regression.
    feature_names : tuple of str
        Names of the M features, in element order.
    is_validation : ndarray of bool [N]
        True for the rows held out.
    row_ids : ndarray of uint64 [N]
        Hash of each row's content, the same wherever the row stands in the file.
    target_mean, target_std : float
        What turns a regression output into the target's unit; 0 and 1 for classification.
    weights : ndarray of float32 [N], or None
        How much each row counts in the loss, 1 in the mean over training rows; None: all alike.
    schema : dict
        All that is needed to prepare new rows in the same way, and where the table came from.
    """

    name: str
    task: Task
    vocabulary: tuple[str, ...]
    codes: Int32
    numbers: Float32
    targets: Float32
    target_codes: Int32
    classes: tuple[str, ...]
    feature_names: tuple[str, ...]
    is_validation: Bool
    row_ids: UInt64
    target_mean: float
    target_std: float
    schema: dict[str, Any]
    weights: Float32 | None = None

    def __len__(self) -> int:
        """Return the number of rows, N."""
        return len(self.targets)


@dataclass(frozen=True)
class Corpus:
    """A verified corpus file. Holds no open handle, so it may cross a fork.

    Attributes
    ----------
    path : Path
        The file.
    tables : tuple of str
        Names of its tables, in the order of the manifest.
    fingerprint : str
        SHA-256 over the checksums of all tables: equal contents, equal fingerprint.
    """

    path: Path
    tables: tuple[str, ...]
    fingerprint: str

    @classmethod
    def open(cls, path: Path | str) -> Corpus:
        """Open a corpus and verify its layout (not yet its arrays: that is done by :meth:`load`).

        Parameters
        ----------
        path : Path or str
            A file made by ``tabstar_lit convert``.

        Returns
        -------
        Corpus
            The names and the fingerprint.

        Raises
        ------
        DataError
            If the file is missing, truncated, foreign, of another version, or lacks a table.
        """
        path = Path(path)
        with _open(path) as file:
            tables = tuple(hdf5.read_json(file, "index", remedy=REMEDY))
            groups = {name: _group(file, name) for name in tables}
            fingerprint = _fingerprint({name: hdf5.read_text(group, "checksum") for name, group in groups.items()})
            if fingerprint != hdf5.read_text(file, "fingerprint"):
                raise DataError(f"{path}: fingerprint and tables disagree: the file was changed. {REMEDY}")
        return cls(path=path, tables=tables, fingerprint=fingerprint)

    def load(self, name: str) -> Table:
        """Read one table into memory and check it against its checksum.

        Parameters
        ----------
        name : str
            One of :attr:`tables`.

        Returns
        -------
        Table
            The table.

        Raises
        ------
        DataError
            If there is no such table or its data are damaged.
        """
        with _open(self.path) as file:
            return _read_table(_group(file, name), name)

    def source_fingerprint(self, name: str) -> str:
        """Return the fingerprint of the source file, manifest entry and converter that a table was made from.

        Parameters
        ----------
        name : str
            One of :attr:`tables`.

        Returns
        -------
        str
            64 hexadecimal digits.
        """
        with _open(self.path) as file:
            return hdf5.read_text(_group(file, name), "fingerprint")

    def stored_bytes(self, name: str) -> int:
        """Return what a table takes on disk, compressed.

        Parameters
        ----------
        name : str
            One of :attr:`tables`.

        Returns
        -------
        int
            Bytes of its arrays.
        """
        sizes: list[int] = []
        with _open(self.path) as file:
            _group(file, name).visititems(lambda _, item: sizes.append(_stored_bytes(item)))
        return sum(sizes)


def write_corpus(
    path: Path | str,
    tables: Iterable[Table],
    *,
    order: Sequence[str],
    keep: Corpus | None = None,
    broken: Container[str] = (),
) -> None:
    """Write a corpus in one atomic step.

    Parameters
    ----------
    path : Path or str
        Target file; replaced only when all tables are written.
    tables : iterable of Table
        New tables; consumed one at a time.
    order : sequence of str
        Names of all tables of the result. Those that ``tables`` does not give are copied from ``keep``.
    keep : Corpus, optional
        An existing corpus to copy unchanged tables from; it may be the very file at ``path``.
    broken : container of str
        Names of ``order`` that there are no tables of after all; looked at when ``tables`` is used up.

    Raises
    ------
    DataError
        If the file cannot be written.
    """
    with hdf5.atomic_file(Path(path)) as file:
        folder = file.create_group("tables")
        for table in tables:
            _write_table(folder.create_group(table.name), table)
        order = [name for name in order if name not in broken]
        missing = [name for name in order if name not in folder]
        if keep is not None and missing:
            with _open(keep.path) as old:
                for name in missing:
                    old.copy(_group(old, name), folder, name)
        hdf5.write_json(file, "index", order)
        hdf5.write_text(file, "kind", KIND)
        file.attrs["schema_version"] = SCHEMA_VERSION
        checksums = {name: hdf5.read_text(folder[name], "checksum") for name in order}
        hdf5.write_text(file, "fingerprint", _fingerprint(checksums))


def _open(path: Path) -> Any:
    return hdf5.open_file(path, kind=KIND, schema_version=SCHEMA_VERSION, remedy=REMEDY)


def _group(file: h5py.File, name: str) -> h5py.Group:
    folder = file.get("tables")
    if isinstance(folder, h5py.Group) and "/" not in name and isinstance(group := folder.get(name), h5py.Group):
        return group
    names = list(folder) if isinstance(folder, h5py.Group) else []
    hint = suggestion(name, names, listed="It has") or " It has none."
    raise DataError(f"{file.filename}: no table '{name}'.{hint}")


def _arrays(table: Table) -> dict[str, Array]:
    n_text = sum(column["kind"] == "text" for column in table.schema["columns"])
    return {
        "codes": table.codes.astype(np.min_scalar_type(max(1, len(table.vocabulary) - 1))),
        "numbers": table.numbers[:, n_text:],
        "targets": table.targets,
        "target_codes": table.target_codes,
        "is_validation": table.is_validation,
        "row_ids": table.row_ids,
        **({} if table.weights is None else {"weights": table.weights}),
    }


def _write_table(group: h5py.Group, table: Table) -> None:
    for name, array in _arrays(table).items():
        hdf5.write_array(group, name, array)
    hdf5.write_strings(group, "vocabulary", table.vocabulary)
    hdf5.write_json(group, "schema", table.schema)
    hdf5.write_text(group, "task", table.task)
    hdf5.write_text(group, "target", table.schema["target"]["name"])
    hdf5.write_text(group, "fingerprint", table.schema["fingerprint"])
    hdf5.write_text(group, "checksum", hdf5.checksum(_stored(group)))


def _stored(group: h5py.Group) -> dict[str, Array]:
    names = ("codes", "numbers", "targets", "target_codes", "is_validation", "row_ids", "schema")
    pair = ("vocabulary/bytes", "vocabulary/offsets")
    more = ("weights",) if "weights" in group else ()
    return {name: hdf5.read_array(group, name, remedy=REMEDY) for name in (*names, *pair, *more)}


def _read_table(group: h5py.Group, name: str) -> Table:
    stored = _stored(group)
    if hdf5.checksum(stored) != hdf5.read_text(group, "checksum"):
        raise DataError(f"{group.file.filename}: table '{name}' differs from its checksum: damaged. {REMEDY}")
    schema = hdf5.read_json(group, "schema", remedy=REMEDY)
    n_text = sum(column["kind"] == "text" for column in schema["columns"])
    numbers = np.zeros(stored["codes"].shape, dtype=np.float32)
    numbers[:, n_text:] = stored["numbers"]
    return Table(
        name=name,
        task=schema["task"],
        vocabulary=hdf5.read_strings(group, "vocabulary", remedy=REMEDY),
        codes=stored["codes"].astype(np.int32),
        numbers=numbers,
        targets=stored["targets"],
        target_codes=stored["target_codes"],
        classes=tuple(schema["target"]["classes"]),
        feature_names=tuple(column["name"] for column in schema["columns"]),
        is_validation=stored["is_validation"],
        row_ids=stored["row_ids"],
        target_mean=schema["target"]["mean"],
        target_std=schema["target"]["std"],
        schema=schema,
        weights=stored.get("weights"),
    )


def _stored_bytes(item: h5py.Group | h5py.Dataset) -> int:
    return int(item.id.get_storage_size()) if isinstance(item, h5py.Dataset) else 0


def _fingerprint(checksums: Mapping[str, str]) -> str:
    return hashlib.sha256("\n".join(f"{name} {value}" for name, value in checksums.items()).encode()).hexdigest()
