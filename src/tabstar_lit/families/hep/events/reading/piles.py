"""What piles, the HDF5 files of SeeSawML, say of themselves: labels by name, and the values that pad their tables."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import h5py

from tabstar_lit.errors import DataError

METADATA = "metadata"
MAX_BYTES = 1 << 24


class PileFacts(NamedTuple):
    """The part of the metadata that is about events.

    Attributes
    ----------
    labels : dict of str to int
        Code of each label in the column that holds them.
    pads : dict of str to float
        Table of objects -> the value that fills its empty slots.
    notes : tuple of str
        What a user should know.
    """

    labels: dict[str, int]
    pads: dict[str, float]
    notes: tuple[str, ...]


def pile_facts(file: h5py.File, path: Path) -> PileFacts:
    """Read the ``metadata`` of a file; of one without, nothing is known.

    Raises
    ------
    DataError
        There are metadata of a pile, and they cannot be read.
    """
    item = file.get(METADATA, getlink=True)
    dataset = file[METADATA] if isinstance(item, h5py.HardLink) else None
    if not isinstance(dataset, h5py.Dataset) or dataset.shape != () or not h5py.check_string_dtype(dataset.dtype):
        return PileFacts({}, {}, ())
    try:
        content = json.loads(dataset[()]) if dataset.dtype.itemsize <= MAX_BYTES else None
    except ValueError:
        content = None
    if not isinstance(content, dict):
        return PileFacts({}, {}, (f"{path.name}: '{METADATA}' is no JSON mapping, and is passed over",))
    labels, pads = (_numbers(content, key, path) for key in ("labels", "pad_values"))
    padding = ((table, f"slots of {table} that are {pad:g} throughout") for table, pad in pads.items())
    notes = tuple(f"{slots} are padding, as '{METADATA}' says" for table, slots in padding if table in file)
    return PileFacts({name: int(code) for name, code in labels.items()}, pads, notes)


def _numbers(content: Mapping[str, Any], key: str, path: Path) -> dict[str, float]:
    found = content.get(key) or {}
    if not isinstance(found, dict) or not all(type(value) in (int, float, type(None)) for value in found.values()):
        raise DataError(f"{path}: '{key}' of '{METADATA}' is no mapping of names to numbers, but {str(found)[:100]}")
    return {name: value for name, value in found.items() if value is not None}
