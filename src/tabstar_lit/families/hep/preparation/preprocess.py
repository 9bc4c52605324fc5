"""From an event file to tensors: one path for training, prediction and export, rebuilt from a checkpoint's payload."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tabstar_lit.arrays import Array, Float64, Int64
from tabstar_lit.errors import DataError
from tabstar_lit.families.hep.batch import EventBatch, Inputs
from tabstar_lit.families.hep.events.file import ColumnInfo, EventFile
from tabstar_lit.families.hep.preparation.blocks import EventBlock, ObjectBlock
from tabstar_lit.families.hep.preparation.recipes import (
    SPECTATOR_REMEDY,
    BlockRecipe,
    Place,
    as_numbers,
    refuse_missing,
)
from tabstar_lit.families.hep.preparation.selection import class_table
from tabstar_lit.families.hep.preparation.trimming import Multiplicities
from tabstar_lit.families.hep.preparation.weights import Policy, usable_weights

PAYLOAD_VERSION = 1


@dataclass(frozen=True)
class ObjectRecipe:
    """How the objects of one type are prepared.

    Attributes
    ----------
    features : BlockRecipe
        Their features.
    slots : int
        Objects kept of an event; batches are padded to it.
    order_by : str or None
        Column by whose falling value they are ordered before the rest is cut off; None keeps the file's order.
    momentum : dict of str to (str or None)
        Columns pt, eta, phi, energy or mass; empty where momenta are not asked for.
    """

    features: BlockRecipe
    slots: int
    order_by: str | None
    momentum: dict[str, str | None]

    def names(self) -> list[str]:
        """Return the columns of the file that are needed."""
        extra = [self.order_by, *self.momentum.values()]
        return list(dict.fromkeys([*self.features.names(), *(name for name in extra if name is not None)]))

    def to_plain(self) -> dict[str, Any]:
        """Return what a checkpoint keeps."""
        return vars(self) | {"features": self.features.to_plain(), "momentum": dict(self.momentum)}

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> ObjectRecipe:
        """Return the recipe a checkpoint kept."""
        features = BlockRecipe.from_plain(plain["features"])
        return cls(features, plain["slots"], plain["order_by"], dict(plain["momentum"]))


@dataclass(frozen=True)
class Preprocessor:
    """Everything learned from the training events that new events need.

    Attributes
    ----------
    classes : dict of str to tuple of str
        Labels by class, in order.
    signal : tuple of str
        The classes that are signal.
    spectators : tuple of str
        Columns carried along.
    events : BlockRecipe
        Features of the events themselves.
    objects : dict of str to ObjectRecipe
        By type, in the order networks concatenate them.
    class_weights : tuple of float
        Factor of each class in the loss; ones where not used.
    use_mc_weights : bool
        The weights of the file enter the loss.
    negative_weights : str
        Policy for negative ones there.
    """

    classes: dict[str, tuple[str, ...]]
    signal: tuple[str, ...]
    spectators: tuple[str, ...]
    events: BlockRecipe
    objects: dict[str, ObjectRecipe]
    class_weights: tuple[float, ...]
    use_mc_weights: bool
    negative_weights: Policy

    @property
    def inputs(self) -> Inputs:
        """What a network is built for."""
        objects = {name: recipe.features.columns(recipe.slots) for name, recipe in self.objects.items()}
        return Inputs(self.events.columns(), objects, tuple(self.classes), self.signal)

    def to_payload(self) -> dict[str, Any]:
        """Return what a checkpoint keeps: plain values only."""
        return {
            "version": PAYLOAD_VERSION,
            "inputs": self.inputs.to_plain(),
            "classes": {name: list(labels) for name, labels in self.classes.items()},
            "signal": list(self.signal),
            "spectators": list(self.spectators),
            "events": self.events.to_plain(),
            "objects": {name: recipe.to_plain() for name, recipe in self.objects.items()},
            "class_weights": list(self.class_weights),
            "use_mc_weights": self.use_mc_weights,
            "negative_weights": self.negative_weights,
        }

    @classmethod
    def from_payload(cls, payload: Mapping[str, Any], *, spectators: bool = True) -> Preprocessor:
        """Return the preprocessor that a checkpoint kept.

        Parameters
        ----------
        payload : mapping
            From :meth:`to_payload`.
        spectators : bool, default True
            Ask the file for the spectators too; a network does not need them.
        """
        if payload.get("version") != PAYLOAD_VERSION:
            raise DataError(
                f"The checkpoint keeps its preprocessing in version {payload.get('version')}, this release reads "
                f"{PAYLOAD_VERSION}: use the release that wrote it."
            )
        return cls(
            classes={name: tuple(labels) for name, labels in payload["classes"].items()},
            signal=tuple(payload["signal"]),
            spectators=tuple(payload["spectators"]) if spectators else (),
            events=BlockRecipe.from_plain(payload["events"]),
            objects={name: ObjectRecipe.from_plain(plain) for name, plain in payload["objects"].items()},
            class_weights=tuple(payload["class_weights"]),
            use_mc_weights=payload["use_mc_weights"],
            negative_weights=payload["negative_weights"],
        )

    def batch(self, event_file: EventFile, rows: Int64) -> EventBatch:
        """Return the events ``rows`` of a file; for many batches of one file use :class:`EventReader`."""
        return EventReader(self, event_file).batch(rows)


class EventReader:
    """A file read through a preprocessor: keeps what every range of events needs.

    Parameters
    ----------
    preprocessor : Preprocessor
        From training, or from a checkpoint.
    file : EventFile
        Any file that has its columns; classes may be missing.
    """

    def __init__(self, preprocessor: Preprocessor, file: EventFile) -> None:
        self.preprocessor = preprocessor
        self.file = file
        self.targets = class_table(preprocessor.classes, file.classes)[file.labels()]
        self.weights = file.weights()
        self._offsets = {name: file.offsets(name) for name in preprocessor.objects}

    def batch(self, rows: Int64) -> EventBatch:
        """Return the events ``rows`` of the file; neighbouring rows are read fastest.

        Parameters
        ----------
        rows : ndarray of int64 [B]
            At least one row number.
        """
        start = int(rows.min())
        return self.block(start, int(rows.max()) + 1).select(torch.from_numpy(rows - start))

    def block(self, start: int, stop: int) -> EventBlock:
        """Read and prepare the events ``start:stop``.

        Raises
        ------
        DataError
            A column is missing or damaged, or holds values that it must not.
        """
        own = self.preprocessor
        arrays = self.file.read(list(dict.fromkeys([*own.events.names(), *own.spectators])), start, stop)
        places = {name: Place(f"{self.file.path}: column '{name}'", start) for name in arrays}
        numerical, categorical = own.events.encode(arrays, self.file.columns, places, stop - start)
        spectators = [
            as_numbers(arrays[name], self.file.columns[name], places[name], SPECTATOR_REMEDY) for name in own.spectators
        ]
        return EventBlock(
            first=start,
            numerical=numerical,
            categorical=categorical,
            targets=torch.from_numpy(self.targets[start:stop]),
            loss_weights=_float32(self.loss_weights(start, stop)),
            event_weights=_float32(self.weights[start:stop]),
            spectators=_float32(np.stack(spectators, axis=1) if spectators else np.empty((stop - start, 0))),
            objects={name: self._objects(name, recipe, start, stop) for name, recipe in own.objects.items()},
        )

    def multiplicities(self) -> Multiplicities:
        """Return how many objects of each type the events have, of those that are kept."""
        counts = {name: np.diff(offsets) for name, offsets in self._offsets.items()}
        return Multiplicities(counts, {name: recipe.slots for name, recipe in self.preprocessor.objects.items()})

    def loss_weights(self, start: int = 0, stop: int | None = None) -> Float64:
        """Return the weights in the loss of the events ``start:stop``; 0 for events of no class."""
        targets = self.targets[start:stop]
        factors = np.array([*self.preprocessor.class_weights, 0.0])[targets]
        if self.preprocessor.use_mc_weights:
            factors = factors * usable_weights(self.weights[start:stop], self.preprocessor.negative_weights)
        return np.asarray(factors)

    def _objects(self, name: str, recipe: ObjectRecipe, start: int, stop: int) -> ObjectBlock:
        offsets = self._offsets[name][start : stop + 1]
        first, last = int(offsets[0]), int(offsets[-1])
        infos = self.file.objects[name].columns
        arrays = self.file.read_objects(name, recipe.names(), first, last)
        places = {column: Place(f"{self.file.path}: column '{name}.{column}'", first) for column in arrays}
        rows, counts = arrange(
            offsets - first, None if recipe.order_by is None else arrays[recipe.order_by], recipe.slots
        )
        numerical, categorical = recipe.features.encode(arrays, infos, places, last - first)
        return ObjectBlock(
            numerical=_with_padding(numerical, rows),
            categorical=_with_padding(categorical, rows),
            momenta=_with_padding(_momenta(recipe, arrays, infos, places, last - first), rows),
            starts=torch.from_numpy(np.cumsum(counts) - counts),
            counts=torch.from_numpy(counts),
            slots=recipe.slots,
        )


def arrange(offsets: Int64, keys: Array | None, slots: int) -> tuple[Int64, Int64]:
    """Order the objects of each event and cut off those beyond ``slots``.

    Parameters
    ----------
    offsets : ndarray of int64 [n + 1]
        Where the objects of each event begin, from 0.
    keys : ndarray [m] or None
        Objects are put in the order of falling keys, missing ones last; None keeps their order.
    slots : int
        Objects kept of an event.

    Returns
    -------
    rows : ndarray of int64 [kept]
        Objects in their new order.
    counts : ndarray of int64 [n]
        How many each event keeps.
    """
    counts = np.diff(offsets)
    rows = np.arange(offsets[-1])
    if keys is None and counts.max(initial=0) <= slots:
        return rows, counts
    if keys is not None:
        rows = np.lexsort((-keys, np.repeat(np.arange(len(counts)), counts)))
    place = np.arange(offsets[-1]) - np.repeat(offsets[:-1], counts)
    return rows[place < slots], np.minimum(counts, slots)


def _momenta(
    recipe: ObjectRecipe,
    arrays: Mapping[str, Array],
    infos: Mapping[str, ColumnInfo],
    places: Mapping[str, Place],
    n: int,
) -> Tensor:
    """Return pt, eta, phi, energy ``[n, 4]``; the energy follows from the mass where the file has that."""
    if not recipe.momentum:
        return torch.empty((n, 0))
    values = {}
    for part, column in recipe.momentum.items():
        if column is not None:
            values[part] = as_numbers(arrays[column], infos[column], places[column])
            refuse_missing(values[part], places[column], allowed=False)
    if "energy" not in values:
        values["energy"] = np.hypot(values["pt"] * np.cosh(values["eta"]), values["mass"])
    return _float32(np.stack([values[part] for part in ("pt", "eta", "phi", "energy")], axis=1))


def _with_padding(table: Tensor, rows: Int64) -> Tensor:
    """Return the rows of ``table`` in a new order, and a row of zeros after them."""
    padded = table.new_zeros((len(rows) + 1, table.shape[1]))
    torch.index_select(table, 0, torch.from_numpy(rows), out=padded[:-1])
    return padded


def _float32(values: Float64) -> Tensor:
    return torch.from_numpy(values.astype(np.float32))
