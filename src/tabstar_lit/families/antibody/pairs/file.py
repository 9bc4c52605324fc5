"""The pairs file: antigens, antibodies, affinities, regions and germline distances in HDF5, read whole into memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tabstar_lit.arrays import Array, Float32, Int8, Int64
from tabstar_lit.config.paths import roots
from tabstar_lit.data import hdf5
from tabstar_lit.data.ragged import Ragged
from tabstar_lit.errors import DataError

KIND = "antibody pairs"
SCHEMA_VERSION = 1
TEXTS = ("antigens", "antigen_names", "antibodies")
NUMBERS = ("clusters", "antigen", "pkd", "censored")
RAGGED = ("regions", "germline")
"""Parts of a file, by how they are stored."""

REMEDY = "Make it anew with `tabstar_lit convert antibody`."


@dataclass(frozen=True, eq=False)
class Pairs:
    """N pairs of an antigen and an antibody.

    Attributes
    ----------
    antigens : tuple of str
        M different antigens; several chains are joined by ``|``.
    antigen_names : tuple of str
        ``[M]``; empty where the source names none.
    clusters : NDArray of int64
        ``[M]`` cluster of each antigen: the number of the first antigen of it.
    antigen : NDArray of int64
        ``[N]`` antigen of each pair.
    antibodies : tuple of str
        ``[N]`` texts as :func:`~tabstar_lit.families.antibody.pairs.tokens.antibody_text` writes them.
    pkd : NDArray of float32
        ``[N]`` −log10 of the dissociation constant in mol/l; NaN where unknown.
    censored : NDArray of int8
        ``[N]`` −1 where ``pkd`` is an upper bound (a weaker binder), 1 where it is a lower one, 0 where it is measured.
    regions, germline : Ragged
        N rows of int8, one value for each letter of the antibody's text: see
        :class:`~tabstar_lit.families.antibody.pairs.batch.PairBatch`.
    about : mapping
        Plain data: what the file was made from and how.
    """

    antigens: tuple[str, ...]
    antigen_names: tuple[str, ...]
    clusters: Int64
    antigen: Int64
    antibodies: tuple[str, ...]
    pkd: Float32
    censored: Int8
    regions: Ragged
    germline: Ragged
    about: Mapping[str, Any]

    def __len__(self) -> int:
        """Return the number of pairs."""
        return len(self.antibodies)

    @property
    def arrays(self) -> dict[str, Array]:
        """All numbers by name."""
        return {
            "clusters": self.clusters,
            "antigen": self.antigen,
            "pkd": self.pkd,
            "censored": self.censored,
            "regions": self.regions.flat,
            "germline": self.germline.flat,
        }

    @property
    def fingerprint(self) -> str:
        """SHA-256 of everything that training sees."""
        texts = {name: _bytes(getattr(self, name)) for name in ("antigens", "antibodies")}
        return hdf5.checksum(self.arrays | texts)


def write_pairs(path: Path, pairs: Pairs) -> None:
    """Write a pairs file in one step.

    Raises
    ------
    DataError
        The folder cannot be written to.
    """
    with hdf5.atomic_file(path) as file:
        hdf5.write_text(file, "kind", KIND)
        file.attrs["schema_version"] = SCHEMA_VERSION
        hdf5.write_text(file, "fingerprint", pairs.fingerprint)
        for name in TEXTS:
            hdf5.write_strings(file, name, getattr(pairs, name))
        for name in NUMBERS:
            hdf5.write_array(file, name, getattr(pairs, name))
        for name in RAGGED:
            getattr(pairs, name).write(file, name)
        hdf5.write_json(file, "about", dict(pairs.about))


def read_pairs(path: Path) -> Pairs:
    """Read a pairs file and verify it.

    Raises
    ------
    DataError
        It is missing, of another kind, or damaged.
    """
    with hdf5.open_file(path, kind=KIND, schema_version=SCHEMA_VERSION, remedy=REMEDY) as file:
        parts: dict[str, Any] = {name: hdf5.read_strings(file, name, remedy=REMEDY) for name in TEXTS}
        parts |= {name: hdf5.read_array(file, name, remedy=REMEDY) for name in NUMBERS}
        parts |= {name: Ragged.read(file, name, remedy=REMEDY) for name in RAGGED}
        pairs = Pairs(**parts, about=hdf5.read_json(file, "about", remedy=REMEDY))
        kept = hdf5.read_text(file, "fingerprint")
    if kept != pairs.fingerprint:
        raise DataError(f"{path}: its contents do not have the fingerprint that was stored with them. {REMEDY}")
    return pairs


def pairs_path(name: str) -> Path:
    """Return where the file that ``dataset_config.files`` names is: as given, or below the data root."""
    path = Path(name)
    below = roots().data / path
    return path if path.exists() or not below.exists() else below


def _bytes(texts: tuple[str, ...]) -> Array:
    return np.frombuffer("\n".join(texts).encode(), dtype=np.uint8)
