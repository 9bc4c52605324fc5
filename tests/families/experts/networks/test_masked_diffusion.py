"""The masked diffusion expert: what is hidden, and that its bound is one."""

from __future__ import annotations

import math
from itertools import permutations
from typing import Any

import pytest
import torch
from experts_networks import VOCABULARY, architecture, enliven, packed_documents, small_network, token_batch
from torch import Tensor

from tabstar_lit.families.experts.architecture import ExpertsTraining
from tabstar_lit.families.experts.networks.build import build
from tabstar_lit.families.experts.networks.masked_diffusion import MaskedExpert
from tabstar_lit.families.experts.networks.objectives import filling, nats_of, token_nats


def masked(block: int) -> Any:
    torch.manual_seed(0)
    network = build("diffuser", architecture(diffuser={"kind": "masked", "block": block}), VOCABULARY)
    enliven(network)
    return network.eval()


@pytest.mark.parametrize("packed", [False, True])
def test_of_each_block_a_random_number_is_hidden(packed: bool) -> None:
    expert = MaskedExpert(architecture(diffuser={"kind": "masked", "block": 4}))
    there = torch.ones(500, 40, dtype=torch.bool)
    there[:, 35:] = False
    hidden, counted = expert.hide(there, packed_documents(500) if packed else None)
    assert hidden[:, 35:].all()
    assert not counted[:, 35:].any()
    numbers = hidden[:, :4].sum(1)
    assert numbers.min() == 1
    torch.testing.assert_close(numbers.bincount().float()[1:] / 500, torch.full((4,), 0.25), atol=0.08, rtol=0)
    torch.testing.assert_close(counted[:, :4], torch.where(hidden[:, :4], 4 / numbers[:, None], 0.0))
    # What counts of a block adds up to its tokens; the last of the first document has three.
    torch.testing.assert_close(counted[:, 4:8].sum(1), torch.full((500,), 4.0))
    if packed:
        torch.testing.assert_close(counted[:, 12:15].sum(1), torch.full((500,), 3.0))
    assert 0.5 < hidden[:, :32].float().mean() < 0.75


def test_blocks_of_one_are_the_next_token() -> None:
    network, batch = masked(1), token_batch(packed=True)
    measured = filling(network, batch, ExpertsTraining())
    torch.testing.assert_close(measured.terms["nll_bound"], measured.terms["nll"])


def in_order(network: Any, tokens: Tensor, targets: Tensor, order: tuple[int, ...]) -> Tensor:
    """Return the nats of one block that is filled in an order, each target told those before it."""
    total = torch.zeros(())
    for place, slot in enumerate(order):
        hidden = torch.ones(1, len(order), dtype=torch.bool)
        hidden[0, list(order[:place])] = False
        states = network.expert.fill(network.embedding(tokens), network.embedding(targets), hidden)
        total = total + nats_of(network.logits(states), targets)[0, slot]
    return total


def test_the_bound_is_the_mean_over_all_orders() -> None:
    network, block = masked(3), 3
    tokens, targets = torch.randint(VOCABULARY, (2, 1, block))
    exact = torch.stack([in_order(network, tokens, targets, order) for order in permutations(range(block))]).mean()
    rows = 4000
    states = [network.embedding(x).expand(rows, -1, -1) for x in (tokens, targets)]
    hidden, counted = network.expert.hide(torch.ones(rows, block, dtype=torch.bool))
    with torch.no_grad():
        filled = network.expert.fill(*states, hidden)
        drawn = (nats_of(network.logits(filled), targets.expand(rows, -1)) * counted).sum(1)
    error = drawn.std().item() / math.sqrt(rows)
    assert abs(drawn.mean().item() - exact.item()) < 4 * error


def test_its_likelihood_is_that_of_filling_from_left_to_right() -> None:
    network, batch = masked(4), token_batch(1)
    nats = token_nats(network, batch)
    first = in_order(network, batch.tokens[:, :4], batch.targets[:, :4], (0, 1, 2, 3))
    torch.testing.assert_close(nats[0, :4].sum(), first, atol=1e-4, rtol=0)


def test_it_learns_an_order_of_tokens() -> None:
    torch.manual_seed(0)
    network = build("diffuser", architecture(dropout=0.0, diffuser={"kind": "masked", "block": 4}), VOCABULARY)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-2)
    batch = token_batch(8)
    batch.tokens[:] = (torch.arange(40) + torch.arange(8)[:, None]) % 7
    batch.targets[:, :35] = (batch.tokens[:, :35] + 1) % 7
    for _ in range(200):
        optimizer.zero_grad()
        filling(network, batch, ExpertsTraining()).loss.backward()
        optimizer.step()
    measured = filling(network.eval(), batch, ExpertsTraining())
    assert measured.terms["nll"].item() < 0.1
    assert measured.terms["nll_bound"].item() < 0.2


def test_evaluation_reports_bound_and_likelihood() -> None:
    network = small_network("masked diffuser").eval()
    assert set(filling(network, token_batch(), ExpertsTraining()).terms) == {"nll_bound", "nll"}
