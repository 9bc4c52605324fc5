"""The study file: samples with the sequences counted in them, what is known of the samples, and their distances.

Layout (version 1)::

    /            attributes kind, schema_version, fingerprint (of the sources), checksum (of the arrays)
    sample_ids, asv_ids, sequences   strings; no sequences where the table had ids only
    members/{asvs,offsets}           row of asv_ids for each ASV of each sample, end to end
    counts       [T] int64           reads of each member
    distances    [N, N] float32      UniFrac; absent where there was no tree
    faith_pd     [N] float64         likewise
    asv_taxa     [F] int32           number of the taxon of each ASV; absent without a taxonomy
    numbers/<column>  [N] float64    NaN where missing
    classes/<column>  [N] int32      -1 where missing
    about        JSON: name, group column, labels of classes, taxa, metric, how it was made, what was left out
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from tabstar_lit.arrays import Array, Float32, Float64, Int32, Int64
from tabstar_lit.config.tree import suggestion
from tabstar_lit.data import hdf5
from tabstar_lit.data.ragged import Ragged
from tabstar_lit.errors import DataError

KIND = "tabstar_lit.study"
SCHEMA_VERSION = 1
REMEDY = "Make it again with: tabstar_lit convert microbiome CONFIG.yaml -o STUDY.h5"


@dataclass(frozen=True, eq=False)
class Classes:
    """A column of categories.

    Attributes
    ----------
    codes : NDArray of int32
        ``[N]`` position in ``labels``; -1 where missing.
    labels : tuple of str
        All categories.
    """

    codes: Int32
    labels: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Study:
    """``N`` samples in which ``F`` amplicon sequence variants (ASVs) were counted.

    Attributes
    ----------
    name : str
        Of the study.
    sample_ids : tuple of str
        ``[N]``.
    asv_ids : tuple of str
        ``[F]``; the sequences themselves, or hashes.
    sequences : tuple of str
        ``[F]`` in A, C, G, T and N; empty where only ids are known.
    members : Ragged
        ``[N]`` rows: numbers of the ASVs in each sample, int32, ascending.
    counts : NDArray of int64
        ``[T]`` reads of each member, end to end as in ``members.flat``.
    numbers : mapping of str to NDArray of float64
        Columns of numbers ``[N]``, NaN where missing.
    classes : mapping of str to Classes
        Columns of categories.
    group : str or None
        Column of :attr:`classes` whose samples belong together, such as subjects.
    distances : NDArray of float32 or None
        ``[N, N]`` UniFrac.
    faith_pd : NDArray of float64 or None
        ``[N]``.
    asv_taxa : NDArray of int32 or None
        ``[F]`` position in ``taxa`` of each ASV; -1 where unknown.
    taxa : tuple of str
        Names.
    made_from : mapping
        Plain data about how it was made and what was left out.
    """

    name: str
    sample_ids: tuple[str, ...]
    asv_ids: tuple[str, ...]
    sequences: tuple[str, ...]
    members: Ragged
    counts: Int64
    numbers: Mapping[str, Float64] = field(default_factory=dict)
    classes: Mapping[str, Classes] = field(default_factory=dict)
    group: str | None = None
    distances: Float32 | None = None
    faith_pd: Float64 | None = None
    asv_taxa: Int32 | None = None
    taxa: tuple[str, ...] = ()
    made_from: Mapping[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        """Return the number of samples ``N``."""
        return len(self.sample_ids)

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of all columns of metadata."""
        return (*self.numbers, *self.classes)

    @property
    def checksum(self) -> str:
        """SHA-256 of all arrays and ids."""
        arrays = {**_arrays(self), "members": self.members.flat, "offsets": self.members.offsets}
        texts = {"sample_ids": self.sample_ids, "asv_ids": self.asv_ids, "sequences": self.sequences}
        joined = {name: np.frombuffer("\n".join(own).encode(), dtype=np.uint8) for name, own in texts.items()}
        return hdf5.checksum({**arrays, **joined})

    def groups(self) -> tuple[str, ...]:
        """Return the group of every sample; a sample without one, or of a study without groups, is its own."""
        if self.group is None:
            return self.sample_ids
        column = self.classes[self.group]
        return tuple(
            column.labels[code] if code >= 0 else f"sample {own}"
            for code, own in zip(column.codes.tolist(), self.sample_ids, strict=True)
        )

    def require_column(self, name: str, key: str) -> None:
        """Refuse a name that is no column.

        Raises
        ------
        DataError
            Says what there is.
        """
        if name not in self.columns:
            hint = suggestion(name, self.columns, listed="It has")
            raise DataError(f"{key}: the study '{self.name}' has no column '{name}'.{hint}")


def write_study(path: Path, study: Study, *, fingerprint: str = "") -> None:
    """Write a study in one step.

    Parameters
    ----------
    path : Path
        Replaced when all is written.
    study : Study
        What to write.
    fingerprint : str
        Of what it was made from.

    Raises
    ------
    DataError
        The file cannot be written.
    """
    with hdf5.atomic_file(path) as file:
        hdf5.write_text(file, "kind", KIND)
        file.attrs["schema_version"] = SCHEMA_VERSION
        if fingerprint:
            hdf5.write_text(file, "fingerprint", fingerprint)
        hdf5.write_text(file, "checksum", study.checksum)
        for name in ("sample_ids", "asv_ids", "sequences"):
            hdf5.write_strings(file, name, getattr(study, name))
        study.members.write(file, "members", flat="asvs")
        for name, array in _arrays(study).items():
            hdf5.write_array(file, name, array)
        hdf5.write_json(file, "about", _about(study))


def read_study(path: Path) -> Study:
    """Read a study and check it against its checksum.

    Raises
    ------
    DataError
        The file is missing, damaged, of another kind or version.
    """
    with hdf5.open_file(path, kind=KIND, schema_version=SCHEMA_VERSION, remedy=REMEDY) as file:
        study, expected = _read(file), hdf5.read_text(file, "checksum")
    if study.checksum != expected:
        raise DataError(f"{path}: differs from its checksum: damaged. {REMEDY}")
    return study


def read_fingerprint(path: Path) -> str:
    """Return the fingerprint of what a study file was made from; empty where it keeps none."""
    with hdf5.open_file(path, kind=KIND, schema_version=SCHEMA_VERSION, remedy=REMEDY) as file:
        return hdf5.read_text(file, "fingerprint")


def _arrays(study: Study) -> dict[str, Array]:
    optional = {"distances": study.distances, "faith_pd": study.faith_pd, "asv_taxa": study.asv_taxa}
    return {
        "counts": study.counts,
        **{name: array for name, array in optional.items() if array is not None},
        **{f"numbers/{_key(name)}": array for name, array in study.numbers.items()},
        **{f"classes/{_key(name)}": column.codes for name, column in study.classes.items()},
    }


def _key(column: str) -> str:
    """Return a name of a dataset: in HDF5 a slash parts groups, and a dot is the group itself."""
    return column.replace("/", "\u2215").replace(".", "\u2024")


def _about(study: Study) -> dict[str, Any]:
    return {
        "name": study.name,
        "group": study.group,
        "numbers": list(study.numbers),
        "classes": {name: list(column.labels) for name, column in study.classes.items()},
        "taxa": list(study.taxa),
        "made_from": dict(study.made_from),
    }


def _read(file: h5py.File) -> Study:
    about = hdf5.read_json(file, "about", remedy=REMEDY)

    def array(name: str) -> Any:
        return hdf5.read_array(file, name, remedy=REMEDY)

    def optional(name: str) -> Any:
        return array(name) if name in file else None

    return Study(
        name=about["name"],
        sample_ids=hdf5.read_strings(file, "sample_ids", remedy=REMEDY),
        asv_ids=hdf5.read_strings(file, "asv_ids", remedy=REMEDY),
        sequences=hdf5.read_strings(file, "sequences", remedy=REMEDY),
        members=Ragged.read(file, "members", remedy=REMEDY, flat="asvs"),
        counts=array("counts"),
        numbers={name: array(f"numbers/{_key(name)}") for name in about["numbers"]},
        classes={
            name: Classes(array(f"classes/{_key(name)}"), tuple(labels)) for name, labels in about["classes"].items()
        },
        group=about["group"],
        distances=optional("distances"),
        faith_pd=optional("faith_pd"),
        asv_taxa=optional("asv_taxa"),
        taxa=tuple(about["taxa"]),
        made_from=about["made_from"],
    )
