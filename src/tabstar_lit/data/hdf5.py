"""HDF5 files that are either whole and verified, or refused with a reason.

Files are written beside their target and renamed into place, so that a killed process never leaves half a
file under the final name. Every array carries a Fletcher-32 checksum per chunk, which turns bit rot into an error,
and is compressed. Strings are stored as one UTF-8 byte array with offsets: variable-length HDF5 strings
do not compress.
"""

from __future__ import annotations

import hashlib
import json
import os
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from tabstar_lit.arrays import Array
from tabstar_lit.errors import DataError
from tabstar_lit.files import replacement

FILTERS: dict[str, Any] = {"compression": "gzip", "compression_opts": 4, "shuffle": True, "fletcher32": True}
"""Filters of every array: available in each HDF5 build, so a file can be read anywhere."""

PLAIN: dict[str, Any] = {"fletcher32": True}
"""Filters of arrays that gzip hardly shortens: they are read several times as fast."""

WORTHWHILE = 0.8
"""gzip is for arrays of which it leaves at most this share."""

SAMPLE_BYTES = 1 << 15

CHUNK_BYTES = 1 << 18
"""Aim for chunks of 256 KiB: whole rows, a few of them per read."""

MAX_EXPANSION = 1100
"""A file may declare so many times the bytes that it stores: gzip ends at 1032."""

_H5_ERRORS = (OSError, KeyError, RuntimeError, ValueError, TypeError)  # all of these come out of damaged files


def filters_for(values: Array) -> dict[str, Any]:
    """Return the filters of an array that begins with these values; too few of them tell nothing."""
    sample = values[: SAMPLE_BYTES // values.itemsize]
    if sample.nbytes < SAMPLE_BYTES // 8:
        return FILTERS
    shuffled = np.frombuffer(sample.tobytes(), np.uint8).reshape(-1, values.itemsize).T.tobytes()
    left = len(zlib.compress(shuffled, FILTERS["compression_opts"])) / len(shuffled)
    return FILTERS if left <= WORTHWHILE else PLAIN


@contextmanager
def atomic_file(path: Path) -> Iterator[h5py.File]:
    """Open an HDF5 file for writing that appears under ``path`` only once it is complete and on disk.

    Parameters
    ----------
    path : Path
        Target. Missing parent directories are made; an existing file is replaced in one step.

    Yields
    ------
    h5py.File
        The file to fill; it lies beside the target under a temporary name.

    Raises
    ------
    DataError
        If the directory cannot be written to or the disk is full. The old file stays as it was.
    """
    try:
        with (
            replacement(path) as part,
            h5py.File(part, "w", libver="v110", locking="best-effort") as file,  # checksums metadata too
        ):
            yield file
    except OSError as error:
        raise DataError(
            f"{path}: cannot be written ({error}). Check free space and permissions of {path.parent}, "
            "or give another output path."
        ) from error


@contextmanager
def open_file(path: Path, *, kind: str, schema_version: int, remedy: str) -> Iterator[h5py.File]:
    """Open an HDF5 file of a known kind for reading.

    Parameters
    ----------
    path : Path
        The file.
    kind : str
        Value that its attribute ``kind`` must have.
    schema_version : int
        The layout version this program reads; any other is refused.
    remedy : str
        What the user does to get a good file; ends every message.

    Yields
    ------
    h5py.File
        Open for reading only; close it before forking.

    Raises
    ------
    DataError
        If the file is missing, a directory, empty, truncated, not HDF5, of another kind or version.
    """
    _check_regular_file(path, remedy)
    try:
        file = h5py.File(path, "r", locking="best-effort")
        found_kind, found = read_text(file, "kind"), file.attrs.get("schema_version")
    except _H5_ERRORS as error:
        raise DataError(f"{path}: damaged or truncated HDF5 file ({error}). {remedy}") from error
    with file:
        if found_kind != kind:
            raise DataError(f"{path}: not a {kind} file (its attribute 'kind' is {found_kind!r}). {remedy}")
        if found != schema_version:
            cause = "a newer release wrote it: upgrade tabstar_lit" if _newer(found, schema_version) else remedy
            raise DataError(f"{path}: layout version {found}, this release reads {schema_version}; {cause}")
        try:
            yield file
        except _H5_ERRORS as error:
            if isinstance(error, DataError):
                raise
            raise DataError(f"{path}: damaged HDF5 file ({error}). {remedy}") from error


def write_text(item: h5py.Group, name: str, text: str) -> None:
    """Set an attribute to a text of fixed length.

    Variable-length attributes live in HDF5's global heap, which has no checksum and can trap the library in an
    endless loop once it is damaged; fixed ones lie in the checksummed header.

    Parameters
    ----------
    item : h5py.Group
        The file or group.
    name : str
        Name of the attribute.
    text : str
        Not empty.
    """
    item.attrs[name] = np.bytes_(text.encode("utf-8", errors="replace"))


def read_text(item: h5py.Group, name: str) -> str:
    """Read what :func:`write_text` wrote.

    Parameters
    ----------
    item : h5py.Group
        The file or group.
    name : str
        Name of the attribute.

    Returns
    -------
    str
        The text; empty if there is none of fixed length.
    """
    if name not in item.attrs or item.attrs.get_id(name).dtype.kind != "S":
        return ""
    return bytes(item.attrs[name]).decode(errors="replace")


def write_array(group: h5py.Group, name: str, array: Array) -> None:
    """Store ``array`` under ``name``, chunked by whole rows, compressed and checksummed.

    Parameters
    ----------
    group : h5py.Group
        Where to create the dataset.
    name : str
        Its name.
    array : ndarray
        Any numeric array of at least one dimension; the first dimension counts the rows.
    """
    if array.size == 0:  # HDF5 has no chunks, hence no filters, for empty extents
        group.create_dataset(name, data=array)
        return
    row_bytes = max(1, array.nbytes // len(array))
    rows = min(len(array), max(1, CHUNK_BYTES // row_bytes))
    group.create_dataset(name, data=array, chunks=(rows, *array.shape[1:]), **FILTERS)


def read_array(group: h5py.Group, name: str, *, remedy: str) -> Array:
    """Read a whole array, its checksums included.

    Parameters
    ----------
    group : h5py.Group
        Where the dataset lies.
    name : str
        Its name.
    remedy : str
        What the user does to get a good file.

    Returns
    -------
    ndarray
        The array in memory.

    Raises
    ------
    DataError
        If it is missing, damaged, or lies in another file (links and virtual datasets are refused).
    """
    place = f"{group.file.filename}: dataset '{group.name}/{name}'"
    try:
        array: Array = require_stored(group, name, remedy=remedy)[()]
    except DataError:
        raise
    except _H5_ERRORS as error:
        raise DataError(
            f"{place} cannot be read ({error}). A checksum error means a damaged disk or copy. {remedy}"
        ) from error
    return array


def require_stored(group: h5py.Group, name: str, *, remedy: str = "", expansion: int = MAX_EXPANSION) -> h5py.Dataset:
    """Return a dataset that lies in this file, whole: no link leads to it, and it holds the bytes it declares.

    Parameters
    ----------
    group : h5py.Group
        Where the path begins; every part of it from the root of the file on is looked at.
    name : str
        Path of the dataset.
    remedy : str
        What the user does to get a good file.
    expansion : int
        How many times the bytes it stores the dataset may declare.

    Returns
    -------
    h5py.Dataset
        To be read.

    Raises
    ------
    DataError
        If it is missing, no dataset, behind a link to elsewhere, virtual, kept in another file, or much larger by its
        own account than what is stored.
    """
    place = f"{group.file.filename}: dataset '{group.name.rstrip('/')}/{name}'"
    item: Any = group.file
    for part in [*group.name.split("/"), *name.split("/")]:
        if not part:
            continue
        link = item.get(part, getlink=True) if isinstance(item, h5py.Group) else None
        if not isinstance(link, h5py.HardLink):
            raise DataError(f"{place} is missing, or a link to somewhere else ('{part}'). {remedy}".rstrip())
        item = item[part]
    if not isinstance(item, h5py.Dataset) or item.is_virtual or item.external:
        raise DataError(f"{place} is not an array stored in this file. {remedy}".rstrip())
    stored = item.id.get_storage_size()
    if item.nbytes > expansion * (stored + CHUNK_BYTES):
        declared = f"declares {item.nbytes} bytes and stores {stored}"
        raise DataError(f"{place} {declared}: more than any compression gives back. {remedy}".rstrip())
    return item


def write_strings(group: h5py.Group, name: str, strings: Sequence[str]) -> None:
    """Store strings as ``name/bytes`` (UTF-8, end to end) and ``name/offsets`` [len(strings) + 1].

    Parameters
    ----------
    group : h5py.Group
        Where to create them.
    name : str
        Name of the pair.
    strings : sequence of str
        Any Unicode text; lone surrogates, which no file can hold, are replaced by a question mark.
    """
    encoded = [text.encode("utf-8", errors="replace") for text in strings]
    pair = group.create_group(name)
    write_array(pair, "bytes", np.frombuffer(b"".join(encoded), dtype=np.uint8))
    write_array(pair, "offsets", np.cumsum([0, *map(len, encoded)], dtype=np.int64))


def read_strings(group: h5py.Group, name: str, *, remedy: str) -> tuple[str, ...]:
    """Read what :func:`write_strings` wrote.

    Parameters
    ----------
    group : h5py.Group
        Where the pair lies.
    name : str
        Its name.
    remedy : str
        What the user does to get a good file.

    Returns
    -------
    tuple of str
        The strings in order.

    Raises
    ------
    DataError
        If a part is missing or damaged.
    """
    text = read_array(group, f"{name}/bytes", remedy=remedy).tobytes()
    offsets = read_array(group, f"{name}/offsets", remedy=remedy).tolist()
    try:
        return tuple(text[start:end].decode() for start, end in pairwise(offsets))
    except UnicodeDecodeError as error:
        raise DataError(f"{group.file.filename}: '{group.name}/{name}' is not UTF-8 text. {remedy}") from error


def write_json(group: h5py.Group, name: str, value: object) -> None:
    """Store plain data as JSON text (attributes end at 64 KiB, datasets do not).

    Parameters
    ----------
    group : h5py.Group
        Where to create the dataset.
    name : str
        Its name.
    value : object
        Anything :func:`json.dumps` takes; NaN is refused.
    """
    text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    write_array(group, name, np.frombuffer(text.encode("utf-8", errors="replace"), dtype=np.uint8))


def read_json(group: h5py.Group, name: str, *, remedy: str) -> Any:
    """Read what :func:`write_json` wrote.

    Parameters
    ----------
    group : h5py.Group
        Where the dataset lies.
    name : str
        Its name.
    remedy : str
        What the user does to get a good file.

    Returns
    -------
    object
        The plain data.

    Raises
    ------
    DataError
        If it is missing, damaged or not JSON.
    """
    text = read_array(group, name, remedy=remedy).tobytes()
    try:
        return json.loads(text)
    except ValueError as error:
        raise DataError(f"{group.file.filename}: '{group.name}/{name}' is not JSON. {remedy}") from error


def checksum(arrays: Mapping[str, Array]) -> str:
    """Return the SHA-256 over names, types, shapes and bytes of ``arrays``.

    Parameters
    ----------
    arrays : mapping of str to ndarray
        Arrays of numbers; their order does not matter.

    Returns
    -------
    str
        64 hexadecimal digits.
    """
    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        digest.update(f"{name}|{array.dtype.str}|{array.shape}|".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def _check_regular_file(path: Path, remedy: str) -> None:
    if not path.exists():
        raise DataError(f"{path}: no such file. {remedy}")
    if path.is_dir():
        raise DataError(f"{path}: is a directory, not an HDF5 file. {remedy}")
    if path.stat().st_size == 0:
        raise DataError(f"{path}: is an empty file. {remedy}")
    if not os.access(path, os.R_OK):
        raise DataError(f"{path}: may not be read by this user (permission denied). {remedy}")
    if not h5py.is_hdf5(path):
        raise DataError(f"{path}: is not an HDF5 file, or only the first bytes of one. {remedy}")


def _newer(found: object, schema_version: int) -> bool:
    return isinstance(found, (int, np.integer)) and int(found) > schema_version
