"""Distances between embedded samples, and their loss: what UniFrac pretraining learns."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.nn.functional import all_gather
from torch.nn import functional

from tabstar_lit.engine.devices.distributed import has_met
from tabstar_lit.families.microbes.facts import Lookup
from tabstar_lit.losses.classification import at_least_single


def predicted_distances(embeddings: Tensor, scale: float | None) -> Tensor:
    """Return the UniFrac of all pairs, ``[B, D]`` to ``[B, B]``, in float32 or up.

    It is ``tanh(d / scale)`` of the Euclidean distance ``d``. A scale of None is for vectors of lineages: the length of
    those that one sample has, in units of that of those that any has, see ``networks/lineages.py``. Distances are sums
    of squared differences, not differences of products, so that near samples keep their digits.
    """
    plain = at_least_single(embeddings)
    distances = torch.cdist(plain, plain, compute_mode="donot_use_mm_for_euclid_dist")
    if scale is not None:
        return (distances / scale).tanh()
    unique, lengths = distances.square(), plain.square().sum(-1)
    return 2 * unique / (lengths[:, None] + lengths + unique).clamp(min=torch.finfo(torch.float32).tiny)


def unifrac_loss(embeddings: Tensor, distances: Tensor, scale: float | None) -> Tensor:
    """Mean squared error over all pairs of different samples whose distance is known; 0 where there is none.

    Parameters
    ----------
    embeddings : Tensor
        ``[B, D]``, any number of samples.
    distances : Tensor
        ``[B, B]`` UniFrac; NaN where unknown.
    scale : float or None
        See :func:`predicted_distances`.
    """
    known = ~distances.isnan()
    known = known.triu(diagonal=1)
    errors = torch.where(known, predicted_distances(embeddings, scale) - distances.nan_to_num(), 0.0)
    return errors.square().sum() / known.sum().clamp(min=1)


class Together(NamedTuple):
    """Samples of all processes: embeddings ``[B, D]`` and numbers in the study ``[B]``; here ``B`` counts them all."""

    embeddings: Tensor
    rows: Tensor


def across_ranks(embeddings: Tensor, rows: Tensor) -> Together:
    """Bring the samples of all processes together, with gradients, so that pairs of different processes count.

    The gradient that reaches this process is the sum of what all processes have; as they are averaged later, all pairs
    count as in one process.
    """
    sizes = rows.new_zeros(dist.get_world_size())
    sizes[dist.get_rank()] = len(rows)
    dist.all_reduce(sizes)
    each = sizes.tolist()  # processes may have batches of different size, and exchange equal ones only
    missing = max(each) - len(rows)
    vectors = all_gather(functional.pad(embeddings, (0, 0, 0, missing)).contiguous())  # type: ignore[no-untyped-call]  # torch's own
    numbers = all_gather(functional.pad(rows, (0, missing)).contiguous())  # type: ignore[no-untyped-call]  # torch's own
    return Together(
        torch.cat([own[:size] for own, size in zip(vectors, each, strict=True)]),
        torch.cat([own[:size] for own, size in zip(numbers, each, strict=True)]),
    )


def unifrac_of_all(
    embeddings: Tensor, rows: Tensor, distances: Tensor, lookup: Lookup | None, scale: float | None
) -> Tensor:
    """Return :func:`unifrac_loss` over the pairs of a batch, and of the batches of all processes where several train.

    Parameters
    ----------
    embeddings, rows, distances : Tensor
        ``[B, D]``, ``[B]`` and ``[B, B]`` of this process.
    lookup : callable or None
        Gives the distances between samples of different processes by their rows; None: those pairs do not count.
    scale : float or None
        See :func:`predicted_distances`.
    """
    if not has_met() or lookup is None or not embeddings.requires_grad:
        return unifrac_loss(embeddings, distances, scale)
    all_of_them = across_ranks(embeddings, rows)
    between = torch.from_numpy(lookup(all_of_them.rows.cpu().numpy())).to(embeddings.device)
    return unifrac_loss(all_of_them.embeddings, between, scale)
