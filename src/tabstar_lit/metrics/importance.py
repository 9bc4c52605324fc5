"""Which inputs a network uses: how much the loss rises when one of them is shuffled among the rows (arXiv 1801.01489).

Of two inputs that say the same, each may seem to matter little: the other still says it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor

B = TypeVar("B")
Losses = Callable[[B], tuple[Tensor, Tensor]]
"""Returns the loss of each row of a batch and its weight, ``[B]`` each; weights are at least 0."""
Shuffle = Callable[[B, Tensor], B]
"""Returns a batch with one input of its rows in another order ``[B]``."""


class Importance(NamedTuple):
    """The rise of the mean loss over rows, and its statistical error."""

    rise: float
    error: float


def importances(losses: Losses[B], batches: Iterable[B], inputs: Mapping[str, Shuffle[B]]) -> dict[str, Importance]:
    """Return the importance of each input, the largest first; of no rows there is none.

    Parameters
    ----------
    losses : callable
        Of the rows of a batch.
    batches : iterable
        Inputs are shuffled within a batch, all in the same order.
    inputs : mapping of str to callable
        Name -> what shuffles it.
    """
    rises: dict[str, list[Tensor]] = {name: [] for name in inputs}
    weights = []
    for batch in batches:
        base, weight = losses(batch)
        order = torch.randperm(len(base), device=base.device)
        for name, shuffle in inputs.items():
            rises[name].append((losses(shuffle(batch, order))[0] - base).double())
        weights.append(weight.double())
    if not weights or not (total := (rows := torch.cat(weights)).sum()) > 0:
        return {}
    found = {name: _mean(torch.cat(parts), rows / total) for name, parts in rises.items()}
    return dict(sorted(found.items(), key=lambda entry: -entry[1].rise))


def _mean(values: Tensor, shares: Tensor) -> Importance:
    """Return the mean of values ``[N]`` with shares ``[N]`` of the whole, and its error."""
    mean = (shares * values).sum()
    return Importance(float(mean), float((shares * (values - mean)).square().sum().sqrt()))
