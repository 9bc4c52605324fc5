"""Which columns of a table a network uses, by shuffling the elements of one among the rows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from tabstar_lit.families.tabstar.batch import TableBatch
from tabstar_lit.families.tabstar.network import TabStarNetwork
from tabstar_lit.metrics.importance import Importance, importances


class Elements(NamedTuple):
    """The elements of ``B`` rows as vectors ``[B, S, D]``, the target elements first, and the targets ``[B]``."""

    vectors: Tensor
    targets: Tensor
    n_targets: int


def column_importances(
    network: TabStarNetwork, batches: Iterable[TableBatch], columns: Mapping[str, Sequence[str]]
) -> dict[str, dict[str, Importance]]:
    """Return how much the loss rises by table, named with its rows: cross-entropy, or the squared error of z-scores.

    Strings are read once; only what interacts is computed again for each column.

    Parameters
    ----------
    network : TabStarNetwork
        In evaluation mode.
    batches : iterable of TableBatch
        Held-out rows, at most one batch of each table, where the network is.
    columns : mapping of str to sequence of str
        Names of the features in use, by table.
    """
    found = {}
    for batch in batches:
        shuffles = {name: partial(_shuffled, place=place) for place, name in enumerate(columns[batch.source])}
        own = Elements(network.elements(batch), batch.targets, batch.n_targets)
        found[f"{batch.source} ({len(batch)} rows)"] = importances(partial(_losses, network), [own], shuffles)
    return found


def _losses(network: TabStarNetwork, batch: Elements) -> tuple[Tensor, Tensor]:
    states = network.tabular_encoder(batch.vectors, batch.n_targets)
    if batch.n_targets == 1:
        losses = (network.reg_head(states).flatten() - batch.targets).square()
    else:
        losses = F.cross_entropy(network.cls_head(states).squeeze(-1).float(), batch.targets, reduction="none")
    return losses, torch.ones_like(losses)


def _shuffled(batch: Elements, order: Tensor, *, place: int) -> Elements:
    vectors = batch.vectors.clone()
    vectors[:, batch.n_targets + place] = vectors[order, batch.n_targets + place]
    return batch._replace(vectors=vectors)
