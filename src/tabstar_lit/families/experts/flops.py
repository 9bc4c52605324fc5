"""Operations that a training step of a text expert, or of a mixture of them, asks for."""

from __future__ import annotations

from typing import Any, cast

from torch import nn

from tabstar_lit.families.experts.networks.block_denoiser import BlockDiffuser
from tabstar_lit.families.experts.networks.denoiser import DiffuserExpert
from tabstar_lit.families.experts.networks.diffusion_model import DiffusionModel
from tabstar_lit.families.experts.networks.expert import Expert
from tabstar_lit.families.experts.networks.masked_diffusion import MaskedExpert
from tabstar_lit.families.experts.networks.mixture import Mixture
from tabstar_lit.families.experts.networks.state_space import StateSpaceExpert
from tabstar_lit.families.experts.networks.text_model import TextModel
from tabstar_lit.families.experts.text.batch import NO_TARGET, TokenBatch
from tabstar_lit.nn.flops import (
    FORWARD,
    THROUGH,
    TRAINED,
    Cost,
    Number,
    attention_cost,
    linear_cost,
    passes,
    weights_met,
)


def batch_flops(cost: Cost, batch: TokenBatch) -> Number:
    """Return the operations of a training step on a batch, from the :func:`step_cost` of the network."""
    pairs = (batch.positions + 1).masked_fill(batch.targets == NO_TARGET, 0).sum()
    return cost.of(batch.n_targets, pairs, len(batch))


def step_cost(network: nn.Module) -> Cost:
    """Return what a training step of a network of any role costs."""
    if isinstance(network, Mixture):
        return _mixture_cost(network)
    model = cast(TextModel, network)
    if isinstance(model, DiffusionModel):  # learns noise alone, and predicts no token
        return _expert_cost(model.encoder) * FORWARD + _expert_cost(model.expert) * passes(model.expert)
    copies = 2 if isinstance(model.expert, MaskedExpert) else 1  # the text, and the slots beside it
    return (_expert_cost(model.expert) * copies + _head_cost(model)) * TRAINED


def _mixture_cost(network: Mixture) -> Cost:
    width = network.embedding.embedding_dim
    own = linear_cost(network.attention, network.router) + attention_cost(width) + _head_cost(network)
    found = Cost()
    if network.memory is not None:
        own = own + linear_cost(network.memory.add)
        found = Cost(token=2 * network.memory.store.vectors.numel())
    each = cast(list[Expert], list(network.experts.values()))
    read = sum((_expert_cost(expert) * _times_read(expert) for expert in each), Cost())
    return own * TRAINED + found * FORWARD + read * THROUGH


def _times_read(expert: Expert) -> int:
    """Return how often an expert runs over a text that it reads as part of a mixture."""
    if isinstance(expert, MaskedExpert):
        return 1 + expert.block
    if isinstance(expert, DiffuserExpert):
        return len(expert.steps) * (expert.block if isinstance(expert, BlockDiffuser) else 1)
    return 1


def _expert_cost(expert: Expert) -> Cost:
    """Return the cost of a forward pass of an expert."""
    if isinstance(expert, StateSpaceExpert):
        return linear_cost(expert)
    blocks: Any = expert.blocks
    once = [expert.time, *(block.modulation for block in blocks)] if isinstance(expert, DiffuserExpert) else []
    by_row = Cost(-2 * weights_met(*once), row=2 * weights_met(*once))  # embedded steps of the noise
    return linear_cost(expert) + attention_cost(blocks[0].attention.query.in_features, len(blocks)) + by_row


def _head_cost(network: TextModel | Mixture) -> Cost:
    return Cost(token=2 * network.embedding.weight.numel())
