"""Operations that a training step on events asks for: those of its linear layers, for the objects that are there."""

from __future__ import annotations

from weakref import WeakKeyDictionary

from torch import Tensor, nn

from tabstar_lit.families.hep.batch import Features
from tabstar_lit.nn.flops import linear_cost, may_have_peak, passes

_PER_VECTOR: WeakKeyDictionary[nn.Module, float] = WeakKeyDictionary()  # counting takes as long as a small step


def dense_flops(network: nn.Module, features: Features) -> float | Tensor | None:
    """Return the operations of a training step, a tensor where objects have to be counted; None on the CPU.

    Attention and pairs of objects are not counted, so this is a lower bound.
    """
    if not may_have_peak(features.numerical):
        return None
    per_vector = _PER_VECTOR.get(network)
    if per_vector is None:
        per_vector = _PER_VECTOR[network] = linear_cost(network).token * passes(network)
    if not features.objects:
        return per_vector * len(features.numerical)
    counts: Tensor = sum(objects.mask.sum() for objects in features.objects.values())  # type: ignore[assignment]  # never 0
    return counts * per_vector
