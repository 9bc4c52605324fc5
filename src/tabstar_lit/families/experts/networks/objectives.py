"""What each role minimises, and what its steps report."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from torch import Tensor
from torch.nn import functional

from tabstar_lit.families.experts.architecture import ExpertsTraining, Role
from tabstar_lit.families.experts.text.batch import NO_TARGET, TokenBatch


class Measured(NamedTuple):
    """What a network makes of a batch.

    Attributes
    ----------
    loss : Tensor
        Scalar that is minimised.
    nats : Tensor or None
        ``[B, T]`` minus the log-probability of each target, 0 where there is none; None where the step has no need.
    terms : Mapping of str to Tensor
        Scalars that are reported beside the loss.
    columns : Mapping of str to Tensor
        ``[B, ...]`` for the tracker.
    """

    loss: Tensor
    nats: Tensor | None
    terms: Mapping[str, Tensor] = {}
    columns: Mapping[str, Tensor] = {}


def nats_of(logits: Tensor, targets: Tensor) -> Tensor:
    """Return minus the log-probabilities ``[B, T]`` of targets ``[B, T]`` under logits ``[B, T, V]``, in float32."""
    flat = functional.cross_entropy(
        logits.flatten(0, -2).float(), targets.flatten(), ignore_index=NO_TARGET, reduction="none"
    )
    return flat.view_as(targets)


def token_nats(network: Any, batch: TokenBatch) -> Tensor:
    """Return minus the log-probability ``[B, T]`` of each target of a batch, 0 where there is none."""
    return nats_of(network.logits(network(batch.tokens, batch.documents)), batch.targets)


def next_token(network: Any, batch: TokenBatch, training: ExpertsTraining) -> Measured:
    """Minimise the cross-entropy of the next token."""
    nats = token_nats(network, batch)
    return Measured(nats.sum() / max(batch.n_targets, 1), nats)


Objective = Callable[[Any, TokenBatch, ExpertsTraining], Measured]

OBJECTIVES: Mapping[Role, Objective] = {"transformer": next_token, "state_space": next_token}
"""What each role minimises."""
