"""A file of what frozen layers make of strings, which later runs with the same weights and strings read.

It is made whole, with room for all it will hold, and then filled in place, mapped into memory: group of strings by
group, each followed by its checksum. A group that a killed process left half-written, or that a disk has changed, has
none that fits, and is computed again.
"""

from __future__ import annotations

import glob
import hashlib
import logging
import os
import zlib
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np
import torch
from torch import Tensor

from tabstar_lit.data import hdf5
from tabstar_lit.data.tokens import StringTokens
from tabstar_lit.errors import DataError
from tabstar_lit.nn.text_encoder import TextEncoder

KIND = "tabstar_lit.states"
SCHEMA_VERSION = 1
REMEDY = "It is only a cache: delete it."
THERE = 1 << 32
"""Added to the checksum of a group, which is 0 where there is no group."""

log = logging.getLogger(__name__)


class StateLayout(NamedTuple):
    """What a file has room for: ``tokens`` rows of ``width`` numbers of a type, in ``groups``."""

    tokens: int
    width: int
    dtype: torch.dtype
    groups: int

    @property
    def row_bytes(self) -> tuple[int, int]:
        """Shape of the rows in bytes."""
        return self.tokens, self.width * self.dtype.itemsize


class StateFile:
    """Rows of tokens, in groups that are there or not.

    Parameters
    ----------
    path : Path
        Made where it is not there, or is of another layout.
    layout : StateLayout
        What it has room for.

    Attributes
    ----------
    rows : Tensor
        ``[T, D]`` on the host, mapped from the file; those of groups that were not found hold anything.

    Raises
    ------
    DataError
        It can neither be read nor made: no permission, or too little space, all of which is taken at once.
    """

    def __init__(self, path: Path, layout: StateLayout) -> None:
        places = _places(path, layout)
        if places is None:
            _create(path, layout)
            places = _places(path, layout)
        if places is None:
            raise DataError(f"{path}: another program is writing it, with another layout. {REMEDY}")
        rows, checksums = places
        self.rows = torch.from_numpy(np.memmap(path, np.uint8, "r+", rows, layout.row_bytes)).view(layout.dtype)
        self._checksums = np.memmap(path, np.uint64, "r+", checksums, (layout.groups,))
        os.utime(path)  # the files used last are kept longest

    def find(self, group: int, start: int, stop: int) -> Tensor | None:
        """Return the rows ``start`` to ``stop`` of a group, ``[stop - start, D]``; None where they are not there."""
        rows, checksum = self.rows[start:stop], int(self._checksums[group])
        return rows if checksum and checksum == _checksum(rows) else None

    def keep(self, group: int, start: int, states: Tensor) -> None:
        """Write the rows of a group, which begins at ``start``."""
        rows = self.rows[start : start + len(states)]
        self._checksums[group] = 0
        rows.copy_(states)
        self._checksums[group] = _checksum(rows)


def states_path(corpus: Path, key: str) -> Path:
    """Return where the states of a corpus are kept, by their key."""
    return corpus.with_name(f"{corpus.stem}.states-{key[:12]}.h5")


def states_key(encoder: TextEncoder, tokens: StringTokens, dtype: torch.dtype) -> str:
    """Return what tells states apart: weights, strings, precision, and all that rounding may depend on."""
    frozen = [encoder.embeddings, *list(encoder.encoder.layer)[: encoder.frozen_layers]]
    device = encoder.embeddings.word_embeddings.weight.device
    if device.type == "cuda":
        machine = torch.cuda.get_device_name(device)
    else:
        machine = f"{torch.backends.cpu.get_cpu_capability()}, {torch.get_num_threads()} threads"
    ragged = encoder.is_ragged(device)
    digest = hashlib.sha256(f"{dtype}, torch {torch.__version__}, {machine}, ragged {ragged}".encode())
    settings = {name: value for name, value in encoder.config.to_dict().items() if name != "_name_or_path"}
    digest.update(repr(sorted(settings.items())).encode())
    for module in frozen:
        for name, tensor in module.state_dict().items():
            digest.update(name.encode())
            digest.update(_bytes(tensor.detach().cpu()))
    strings = np.arange(len(tokens))
    digest.update(tokens.lengths_of(strings).tobytes())
    digest.update(tokens.gather(strings)[0].tobytes())
    return digest.hexdigest()


def remove_older(corpus: Path, path: Path, budget_bytes: int) -> None:
    """Remove files of states of a corpus, the least recently used first, until all take at most the budget."""
    others = [
        (file.stat(), file) for file in corpus.parent.glob(f"{glob.escape(corpus.stem)}.states-*.h5") if file != path
    ]
    left = budget_bytes - path.stat().st_size
    for about, file in sorted(others, key=lambda pair: pair[0].st_mtime, reverse=True):
        left -= about.st_size
        if left < 0:
            log.info("%s: removed, to make room for what other weights make of the strings", file)
            file.unlink(missing_ok=True)


def _create(path: Path, layout: StateLayout) -> None:
    """Make a file without groups. Its space is taken now: a mapped page that finds none would end the process."""
    with hdf5.atomic_file(path) as file:
        hdf5.write_text(file, "kind", KIND)
        file.attrs["schema_version"] = SCHEMA_VERSION
        hdf5.write_text(file, "dtype", str(layout.dtype))
        file.create_dataset("checksums", data=np.zeros(layout.groups, np.uint64))
        file.create_dataset("rows", data=np.zeros(layout.row_bytes, np.uint8))


def _places(path: Path, layout: StateLayout) -> tuple[int, int] | None:
    """Return where rows and checksums begin in a file; None where it is not there, or not what is wanted."""
    if not path.exists():
        return None
    shapes = {"rows": layout.row_bytes, "checksums": (layout.groups,)}
    try:
        with hdf5.open_file(path, kind=KIND, schema_version=SCHEMA_VERSION, remedy=REMEDY) as file:
            found: dict[str, h5py.Dataset] = {name: hdf5.require_stored(file, name, remedy=REMEDY) for name in shapes}
            if hdf5.read_text(file, "dtype") != str(layout.dtype) or any(
                found[name].shape != shape for name, shape in shapes.items()
            ):
                return None
            offsets = found["rows"].id.get_offset(), found["checksums"].id.get_offset()
    except DataError as error:
        log.warning("States of strings are computed again: %s", error)
        return None
    return None if None in offsets else offsets


def _bytes(tensor: Tensor) -> Any:
    """Return the memory of a tensor on the host."""
    return tensor.reshape(-1).view(torch.uint8).numpy()


def _checksum(rows: Tensor) -> int:
    return THERE | zlib.crc32(_bytes(rows))
