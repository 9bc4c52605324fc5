"""Costs add up, and what is met by tokens is counted once."""

from __future__ import annotations

import torch
from torch import nn

from tabstar_lit.nn.flops import (
    FORWARD,
    TRAINED,
    Cost,
    attention_cost,
    causal_pairs,
    linear_cost,
    may_have_peak,
    passes,
    weights_met,
)


def test_costs_add_up_and_are_those_of_a_batch() -> None:
    cost = (Cost(1, 2) + Cost(row=3)) * 2
    assert cost == Cost(2, 4, 6)
    assert cost.of(10, 100, 1000) == 20 + 400 + 6000
    assert torch.equal(cost.of(torch.tensor(10), torch.tensor(100)), torch.tensor(420.0))
    assert linear_cost(nn.Linear(3, 5), nn.Linear(5, 2)) == Cost(token=2 * 25)
    assert attention_cost(8, layers=3) == Cost(pair=4 * 8 * 3)


def test_weights_are_those_of_maps_that_every_token_meets() -> None:
    network = nn.Sequential(nn.Embedding(9, 4), nn.LayerNorm(4), nn.Linear(4, 6), nn.Conv1d(6, 6, 3, groups=6))
    assert weights_met(network) == 24 + 18
    assert weights_met(nn.LSTM(4, 5, 2, bidirectional=True)) == 2 * (20 * 4 + 20 * 5 + 20 * 10 + 20 * 5)


def test_pairs_of_a_text_are_a_triangle() -> None:
    lengths = torch.tensor([[1, 4], [0, 7]])
    assert causal_pairs(lengths) == sum(torch.ones(n, n).tril().sum() for n in lengths.flatten().tolist())


def test_what_is_frozen_is_passed_once() -> None:
    layer, other = nn.Linear(2, 2), nn.Linear(2, 2).requires_grad_(False)
    assert passes(other) == FORWARD
    assert passes(layer, other) == TRAINED
    assert not may_have_peak(torch.zeros(1))
    assert may_have_peak(torch.zeros(1, device="meta"))
