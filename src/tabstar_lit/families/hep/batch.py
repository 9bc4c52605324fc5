"""What flows between data, networks and losses: tuples of tensors, so that they trace, compile and move as one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from torch import Tensor


class Objects(NamedTuple):
    """The objects of one type (jets, electrons, constituents) of ``B`` events, padded to ``P`` slots.

    Attributes
    ----------
    numerical : Tensor
        ``[B, P, F]`` float32, scaled; the training mean where missing, 0 where padded.
    categorical : Tensor
        ``[B, P, C]`` int64 codes; 0 is the unknown bucket and the padding.
    mask : Tensor
        ``[B, P]`` bool, True where there is an object.
    momenta : Tensor
        ``[B, P, 4]`` float32 pt, eta, phi, energy as they are in the file, unscaled; ``[B, P, 0]`` where not asked for.
    """

    numerical: Tensor
    categorical: Tensor
    mask: Tensor
    momenta: Tensor


class Features(NamedTuple):
    """What a network sees of ``B`` events.

    Attributes
    ----------
    numerical : Tensor
        ``[B, F]`` float32, scaled; the training mean where missing.
    categorical : Tensor
        ``[B, C]`` int64 codes; 0 is the unknown bucket.
    objects : dict of str to Objects
        By object type; empty for flat data.
    """

    numerical: Tensor
    categorical: Tensor
    objects: dict[str, Objects]


class EventBatch(NamedTuple):
    """A batch of ``B`` events.

    Attributes
    ----------
    features : Features
        The inputs of the network.
    targets : Tensor
        ``[B]`` int64 class numbers.
    loss_weights : Tensor
        ``[B]`` float32, at least 0: event weight under the policy for negative ones, times class weight; ones where
        none are used.
    event_weights : Tensor
        ``[B]`` float32 physical weights as in the file, signed, for metrics and figures.
    spectators : Tensor
        ``[B, S]`` float32 columns carried along, in the file's units.
    rows : Tensor
        ``[B]`` int64 row numbers in the file.
    """

    features: Features
    targets: Tensor
    loss_weights: Tensor
    event_weights: Tensor
    spectators: Tensor
    rows: Tensor


@dataclass(frozen=True, slots=True)
class Columns:
    """The features of one block: the event's own, or those of an object type.

    Attributes
    ----------
    numerical : tuple of str
        Names of the ``F`` numerical features in the order of the tensors, missing-value indicators included.
    categorical : tuple of str
        Names of the ``C`` categorical features.
    cardinalities : tuple of int
        Number of codes of each categorical feature, the unknown bucket 0 included.
    bin_edges : tuple of tuple of float
        For piecewise-linear embeddings, rising edges of each numerical feature on its scaled values; quantiles of the
        training rows. Empty where not asked for.
    max_objects : int
        Slots ``P`` of an object type; 0 for the event's own features.
    categories : tuple of tuple of str
        What the codes 1, 2, … of each categorical feature stand for.
    """

    numerical: tuple[str, ...] = ()
    categorical: tuple[str, ...] = ()
    cardinalities: tuple[int, ...] = ()
    bin_edges: tuple[tuple[float, ...], ...] = ()
    max_objects: int = 0
    categories: tuple[tuple[str, ...], ...] = ()

    def to_plain(self) -> dict[str, Any]:
        """Return what a checkpoint keeps."""
        return {
            "numerical": list(self.numerical),
            "categorical": list(self.categorical),
            "cardinalities": list(self.cardinalities),
            "bin_edges": [list(edges) for edges in self.bin_edges],
            "max_objects": self.max_objects,
            "categories": [list(names) for names in self.categories],
        }

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Columns:
        """Return the columns a checkpoint kept."""
        return cls(
            numerical=tuple(plain["numerical"]),
            categorical=tuple(plain["categorical"]),
            cardinalities=tuple(plain["cardinalities"]),
            bin_edges=tuple(tuple(edges) for edges in plain["bin_edges"]),
            max_objects=plain["max_objects"],
            categories=tuple(tuple(names) for names in plain.get("categories", ())),
        )


@dataclass(frozen=True, slots=True)
class Inputs:
    """What a network is built for.

    Attributes
    ----------
    events : Columns
        The event's own features.
    objects : dict of str to Columns
        Features by object type, in the order networks concatenate them.
    classes : tuple of str
        Names of the classes in the order of their numbers.
    signal : tuple of str
        Those that are signal; of two classes the one whose log-odds the single logit is.
    """

    events: Columns
    objects: dict[str, Columns]
    classes: tuple[str, ...] = ()
    signal: tuple[str, ...] = ()

    def to_plain(self) -> dict[str, Any]:
        """Return what a checkpoint keeps."""
        objects = {name: columns.to_plain() for name, columns in self.objects.items()}
        return {
            "events": self.events.to_plain(),
            "objects": objects,
            "classes": list(self.classes),
            "signal": list(self.signal),
        }

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Inputs:
        """Return the inputs a checkpoint kept."""
        objects = {name: Columns.from_plain(columns) for name, columns in plain["objects"].items()}
        classes, signal = (tuple(plain.get(key, ())) for key in ("classes", "signal"))
        return cls(Columns.from_plain(plain["events"]), objects, classes, signal)
