"""What each role minimises, and what its steps report."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor
from torch.nn import functional

from tabstar_lit.families.experts.architecture import ExpertsTraining, Role
from tabstar_lit.families.experts.networks.diffusion_model import DiffusionModel, noise_error
from tabstar_lit.families.experts.networks.masked_diffusion import MaskedExpert
from tabstar_lit.families.experts.networks.mixture import Mixture
from tabstar_lit.families.experts.networks.text_model import TextModel
from tabstar_lit.families.experts.text.batch import NO_TARGET, TokenBatch
from tabstar_lit.losses.classification import at_least_single

EVALUATION_SEED = 0
"""Of the noise that diffusion is evaluated with."""


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
    """Return minus the log-probabilities ``[B, T]`` of targets ``[B, T]`` under logits ``[B, T, V]``, float32 or up."""
    flat = functional.cross_entropy(
        at_least_single(logits.flatten(0, -2)), targets.flatten(), ignore_index=NO_TARGET, reduction="none"
    )
    return flat.view_as(targets)


def token_nats(network: Any, batch: TokenBatch) -> Tensor:
    """Return minus the log-probability ``[B, T]`` of each target of a batch, 0 where there is none."""
    return nats_of(network.logits(network(batch.tokens, batch.documents)), batch.targets)


def next_token(network: Any, batch: TokenBatch, training: ExpertsTraining) -> Measured:
    """Minimise the cross-entropy of the next token."""
    nats = token_nats(network, batch)
    return Measured(nats.sum() / max(batch.n_targets, 1), nats)


def denoising(network: DiffusionModel, batch: TokenBatch, training: ExpertsTraining) -> Measured:
    """Minimise the error of the noise that is found in a transformer's states (arXiv 2006.11239).

    Each row has a step of its own. In evaluation steps and noise are always the same, and the denoised states also
    predict the next token.
    """
    states = network.encoded(batch.tokens, batch.documents)
    generator = None if network.training else torch.Generator(states.device).manual_seed(EVALUATION_SEED)
    expert, there = network.expert, batch.targets != NO_TARGET
    steps = torch.randint(len(expert.shares), (len(states),), device=states.device, generator=generator)
    noise = torch.randn(states.shape, device=states.device, generator=generator)
    sight = expert.sight(states, batch.documents, generator)
    found = expert.predicted_noise(expert.noised(states, steps, noise), steps, sight)
    loss = noise_error(found, noise, there, batch.n_targets)
    if network.training:
        return Measured(loss, None, {"mse": loss})
    nats = nats_of(network.logits(expert(states, batch.documents)), batch.targets)
    return Measured(loss, nats, {"mse": loss, "nll": nats.sum() / max(batch.n_targets, 1)})


def filling(network: TextModel, batch: TokenBatch, training: ExpertsTraining) -> Measured:
    """Minimise a bound on the cross-entropy: fill in hidden targets, of each block a random number (arXiv 2503.09573).

    Where ``k`` of ``n`` targets of a block are hidden, theirs count ``n / k`` times; the mean over ``k`` and over which
    they are is a bound on the loss of the block, in whatever order it is filled in. In evaluation the draws are always
    the same, and the targets are also predicted one after the other, which gives a likelihood.
    """
    generator = None if network.training else torch.Generator(batch.tokens.device).manual_seed(EVALUATION_SEED)
    expert = cast(MaskedExpert, network.expert)
    there = batch.targets != NO_TARGET
    hidden, counted = expert.hide(there, batch.documents, generator)
    tokens, targets = (network.dropout(network.embedding(ids.clamp(min=0))) for ids in (batch.tokens, batch.targets))
    states = expert.fill(tokens, targets, hidden, batch.documents)
    bound = (nats_of(network.logits(states), batch.targets) * counted).sum() / max(batch.n_targets, 1)
    if network.training:
        return Measured(bound, None, {"nll_bound": bound})
    nats = token_nats(network, batch)
    return Measured(bound, nats, {"nll_bound": bound, "nll": nats.sum() / max(batch.n_targets, 1)})


def diffusing(network: TextModel, batch: TokenBatch, training: ExpertsTraining) -> Measured:
    """Minimise what the kind of diffusion has to."""
    if isinstance(network, DiffusionModel):
        return denoising(network, batch, training)
    return filling(network, batch, training)


def mixing(network: Mixture, batch: TokenBatch, training: ExpertsTraining) -> Measured:
    """Minimise the cross-entropy of the next token, and reward weights that are spread over the experts.

    ``router_entropy`` is the mean entropy of the weights in nats, at most ln 3; ``balance`` is what the use of the
    experts over the batch is above equal use: 0 where it is equal, 2 where one of three does all.
    """
    there = batch.targets != NO_TARGET
    mixed = network.mixed(batch.tokens, batch.documents)
    nats = nats_of(network.logits(mixed.states), batch.targets)
    each = torch.special.entr(mixed.weights).sum(-1)
    count = max(batch.n_targets, 1)
    nll, entropy = nats.sum() / count, torch.where(there, each, 0.0).sum() / count
    use = (mixed.weights * there[..., None]).sum((0, 1)) / count
    balance = len(use) * use.square().sum() - 1
    loss = nll - training.entropy_reg * entropy + training.balance_reg * balance
    if network.training:
        network.remember(batch.tokens, there)
    rows = there.sum(1, keepdim=True).clamp(min=1)
    columns = {
        "router": ((mixed.weights * there[..., None]).sum(1) / rows)[:, None],
        "router_entropy": torch.where(there, each, 0.0).sum(1, keepdim=True) / rows,
    }
    terms = {"nll": nll, "router_entropy": entropy, "balance": balance}
    return Measured(loss, nats, terms, {name: column.detach() for name, column in columns.items()})


Objective = Callable[[Any, TokenBatch, ExpertsTraining], Measured]

OBJECTIVES: Mapping[Role, Objective] = {
    "transformer": next_token,
    "state_space": next_token,
    "diffuser": diffusing,
    "mixture": mixing,
}
"""What each role minimises."""
