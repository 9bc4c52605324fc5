"""Which features a classifier uses: those of events, and those of objects, shuffled among all objects of a type."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tabstar_lit.families.hep.batch import Columns, EventBatch, Features, Inputs, Objects
from tabstar_lit.metrics.importance import Importance, Shuffle, importances

Kind = Literal["numerical", "categorical"]


def feature_importances(
    network: nn.Module, batches: Sequence[EventBatch], inputs: Inputs, signal: int
) -> dict[str, Importance]:
    """Return how much the cross-entropy rises, in nats, by the weights of the events, where they are above 0.

    Parameters
    ----------
    network : nn.Module
        In evaluation mode.
    batches : sequence of EventBatch
        Held-out events, where the network is.
    inputs : Inputs
        Names of the features; those of objects are called ``<type>: <feature>``, their momenta are one.
    signal : int
        The class whose log-odds a single logit is.
    """

    def losses(batch: EventBatch) -> tuple[Tensor, Tensor]:
        logits: Tensor = network(batch.features).float()
        if logits.shape[1] == 1:
            expected = (batch.targets == signal).float()
            found = F.binary_cross_entropy_with_logits(logits[:, 0], expected, reduction="none")
        else:
            found = F.cross_entropy(logits, batch.targets, reduction="none")
        return found, batch.event_weights.clamp_min(0)

    return importances(losses, batches, dict(_shuffles(inputs, batches[0].features))) if batches else {}


def _shuffles(inputs: Inputs, features: Features) -> Iterator[tuple[str, Shuffle[EventBatch]]]:
    for kind, number, name in _named(inputs.events):
        yield name, partial(_shuffle_events, kind=kind, number=number)
    for objects, columns in inputs.objects.items():
        for kind, number, name in _named(columns):
            yield f"{objects}: {name}", partial(_shuffle_objects, objects=objects, kind=kind, number=number)
        if features.objects[objects].momenta.shape[-1]:
            yield f"{objects}: momenta", partial(_shuffle_objects, objects=objects, kind="momenta", number=None)


def _named(columns: Columns) -> Iterator[tuple[Kind, int, str]]:
    yield from (("numerical", number, name) for number, name in enumerate(columns.numerical))
    yield from (("categorical", number, name) for number, name in enumerate(columns.categorical))


def _shuffle_events(batch: EventBatch, order: Tensor, *, kind: Kind, number: int) -> EventBatch:
    features = batch.features
    values: Tensor = getattr(features, kind).clone()
    values[:, number] = values[order, number]
    changed: dict[str, Any] = {kind: values}
    return batch._replace(features=features._replace(**changed))


def _shuffle_objects(batch: EventBatch, order: Tensor, *, objects: str, kind: str, number: int | None) -> EventBatch:
    """Shuffle one feature, or with ``number`` None all columns together, among the objects there are."""
    features, own = batch.features, batch.features.objects[objects]
    values: Tensor = getattr(own, kind).clone()
    chosen = slice(None) if number is None else slice(number, number + 1)
    there = values[own.mask]
    there[:, chosen] = there[torch.randperm(len(there), device=there.device)][:, chosen]
    values[own.mask] = there
    changed: Objects = own._replace(**{kind: values})
    shuffled: Features = features._replace(objects={**features.objects, objects: changed})
    return batch._replace(features=shuffled)
