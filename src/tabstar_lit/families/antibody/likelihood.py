"""The likelihood of antibodies, token by token, and what becomes of it when a condition is another pair's.

Shapes: ``B`` pairs, ``T`` tokens, ``V`` the vocabulary.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from tabstar_lit.families.antibody.pairs.batch import REGION_NAMES
from tabstar_lit.families.antibody.pairs.tokens import PAD
from tabstar_lit.losses.classification import at_least_single

SAME_PKD = 1e-4
"""Values of pKd that differ by less are one value."""


class TokenLosses(NamedTuple):
    """Of each token of an antibody but the first, ``[B, T - 1]``; 0 for padding.

    Attributes
    ----------
    nll : Tensor
        Its negative log-likelihood in nats, after the tokens before it.
    smooth : Tensor
        The mean of that over all tokens of the vocabulary.
    correct : Tensor
        1 where it is the likeliest token, else 0.
    there : Tensor
        1 where there is a token, else 0.
    """

    nll: Tensor
    smooth: Tensor
    correct: Tensor
    there: Tensor


def token_losses(logits: Tensor, antibodies: Tensor) -> TokenLosses:
    """Compare logits ``[B, T - 1, V]`` of the next token with the tokens ``[B, T]`` themselves."""
    targets = antibodies[:, 1:]
    likelihoods = at_least_single(logits).log_softmax(-1)
    there = (targets != PAD).to(likelihoods.dtype)
    nll = -likelihoods.gather(-1, targets[..., None]).squeeze(-1)
    correct = (logits.argmax(-1) == targets).to(likelihoods.dtype)
    return TokenLosses(nll * there, -likelihoods.mean(-1) * there, correct * there, there)


def by_class(values: Tensor, classes: Tensor, count: int) -> Tensor:
    """Sum values ``[B, T]`` by the class ``[B, T]`` of their token: ``[B, count]``."""
    return values.new_zeros(len(values), count).scatter_add_(1, classes.long(), values)


def region_sums(values: Tensor, regions: Tensor) -> Tensor:
    """Sum values ``[B, T - 1]`` by the region ``[B, T]`` of their token: ``[B, R]``, see ``REGION_NAMES``."""
    return by_class(values, regions[:, 1:], len(REGION_NAMES))


class Partners(NamedTuple):
    """Another pair of the batch for each.

    Attributes
    ----------
    rows : Tensor
        ``[B]`` int64.
    found : Tensor
        ``[B]`` bool, False where there is none in the batch.
    """

    rows: Tensor
    found: Tensor


def other_antigens(antigens: Tensor) -> Partners:
    """Return for each row of ``[B, A]`` the next one in the batch, round its end, with another antigen."""
    return _next((antigens[:, None] != antigens[None]).any(-1))


def other_pkds(pkd: Tensor) -> Partners:
    """Return for each of ``[B]`` the next one in the batch with another pKd; both must be known."""
    return _next((pkd[:, None] - pkd[None]).abs() > SAME_PKD)


def _next(allowed: Tensor) -> Partners:
    """Return the first allowed column after the diagonal of ``[B, B]``, in a circle."""
    size = len(allowed)
    places = torch.arange(size, device=allowed.device)
    ahead = (places[:, None] + places) % size  # row i, distance d: column i + d
    in_turn = allowed.gather(1, ahead).int()
    distance = in_turn.argmax(1)  # the first of the greatest
    return Partners((places + distance) % size, in_turn.any(1))


def smoothed(losses: TokenLosses, share: float) -> Tensor:
    """Return the mean loss over tokens, with ``share`` of each target spread over the vocabulary."""
    per_token = (1 - share) * losses.nll + share * losses.smooth
    return per_token.sum() / losses.there.sum().clamp(min=1.0)


def contrast(own: TokenLosses, other: TokenLosses, found: Tensor, temperature: float) -> Tensor:
    """Return the mean of ``log(1 + exp(-d / temperature))`` over pairs that have another antigen beside them.

    ``d`` is by how much the mean negative log-likelihood of a token rises with that antigen.
    """
    count = own.there.sum(1).clamp(min=1.0)
    rise = (other.nll - own.nll).sum(1) / count
    losses = functional.softplus(-rise / temperature)
    return torch.where(found, losses, 0.0).sum() / found.sum().clamp(min=1)
