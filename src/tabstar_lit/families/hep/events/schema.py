"""What an event file holds, column by column, and the names of its parts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

KIND = "tabstar_lit.events"
SCHEMA_VERSION = 1
REMEDY = "Make it again with: tabstar_lit convert events CONFIG.yaml -o EVENTS.h5"

Kind = Literal["numerical", "categorical"]


@dataclass(frozen=True, slots=True)
class ColumnInfo:
    """What is known about one column of an event file.

    Attributes
    ----------
    name : str
        Name of the column.
    kind : {"numerical", "categorical"}
        Numbers are stored as float32, categories as int32 codes.
    unit : str or None
        Unit of the values, such as GeV.
    nullable : bool
        Values may be missing: NaN among numbers, -1 among codes. Without it there is no NaN.
    categories : tuple of str
        Text of each code, in the order of the codes; empty for numbers.
    """

    name: str
    kind: Kind = "numerical"
    unit: str | None = None
    nullable: bool = False
    categories: tuple[str, ...] = ()

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the stored values."""
        return np.dtype(np.float32 if self.kind == "numerical" else np.int32)

    def to_plain(self) -> dict[str, Any]:
        """Return what the file's metadata keep."""
        plain = {"kind": self.kind, "unit": self.unit, "nullable": self.nullable, "categories": list(self.categories)}
        return plain | {"missing_code": {"numerical": "NaN", "categorical": -1}[self.kind] if self.nullable else None}

    @classmethod
    def from_plain(cls, name: str, plain: Mapping[str, Any]) -> ColumnInfo:
        """Return the column that metadata describe."""
        return cls(name, plain["kind"], plain["unit"], plain["nullable"], tuple(plain["categories"]))


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """One type of objects of an event file.

    Attributes
    ----------
    columns : dict of str to ColumnInfo
        By name.
    n_objects : int
        Objects of this type in all events together.
    max_length : int
        The most of them in one event.
    """

    columns: dict[str, ColumnInfo]
    n_objects: int
    max_length: int


@dataclass(frozen=True, slots=True)
class EventSchema:
    """What a new event file will hold.

    Attributes
    ----------
    classes : tuple of str
        Names of the classes in the order of their numbers; empty for events without labels, whose label is -1.
    columns : dict of str to ColumnInfo
        Columns with one value an event.
    objects : dict of str to dict of str to ColumnInfo
        Columns with one value an object, by type of object.
    has_weights : bool
        The weights mean something; otherwise they are ones.
    variations : tuple of str
        Names of further weights.
    """

    classes: tuple[str, ...]
    columns: dict[str, ColumnInfo] = field(default_factory=dict)
    objects: dict[str, dict[str, ColumnInfo]] = field(default_factory=dict)
    has_weights: bool = False
    variations: tuple[str, ...] = ()

    def stored(self) -> dict[str, ColumnInfo]:
        """Return all columns by the name of their dataset in the file."""
        paths = {column_path(name): info for name, info in self.columns.items()}
        for objects, columns in self.objects.items():
            paths |= {object_path(objects, name): info for name, info in columns.items()}
        return paths


def column_path(name: str) -> str:
    """Return where a column with one value an event lies in the file."""
    return f"events/{escaped(name)}"


def object_path(objects: str, name: str) -> str:
    """Return where a column, or ``offsets``, of a type of objects lies in the file."""
    return f"objects/{escaped(objects)}/{escaped(name)}"


def variation_path(name: str) -> str:
    """Return where further weights of the events lie in the file."""
    return f"weights/{escaped(name)}"


def escaped(name: str) -> str:
    """Return a name as a link of HDF5, where ``/``, and ``.`` alone, mean something else."""
    return "%2E" if name == "." else name.replace("%", "%25").replace("/", "%2F")
