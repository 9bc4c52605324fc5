"""A linear model of reads beside a network: its sums, its hash, and what changes nothing."""

from __future__ import annotations

from dataclasses import replace

import torch
from hand_made_samples import MAX_BASES, a_batch, small, some_facts

from tabstar_lit.families.microbes.build import build_network
from tabstar_lit.families.microbes.networks.sequence_predictor import SequencePredictor
from tabstar_lit.families.microbes.networks.wide import N_PLACES, WideReads
from tabstar_lit.families.microbes.study.batch import NO_ASV, PAD, SampleBatch

pad = torch.nn.functional.pad


def lively() -> WideReads:
    torch.manual_seed(0)
    wide = WideReads(MAX_BASES + 5, 2)
    torch.nn.init.normal_(wide.weights.weight)
    return wide


def test_sums_are_those_of_weights_and_logarithms_of_shares() -> None:
    wide, batch = lively(), a_batch()
    found = wide(batch)
    places = wide.places(batch.sequences).tolist()
    for row in range(len(batch)):
        own = [(places[asv], count) for asv, count in zip(*_pairs(batch, row), strict=True)]
        total = sum(count for _, count in own)
        expected = sum(
            wide.weights.weight[place] * torch.tensor(1 + count / total / 1e-3).log() for place, count in own
        )
        torch.testing.assert_close(found[row], expected / len(own) ** 0.5)


def test_order_and_padding_change_nothing() -> None:
    wide, batch = lively(), a_batch()
    moved = replace(batch, asvs=batch.asvs.flip(1), counts=batch.counts.flip(1))
    torch.testing.assert_close(wide(moved), wide(batch))
    longer = replace(
        batch,
        sequences=pad(batch.sequences, (0, 3, 0, 2), value=PAD),
        asvs=pad(batch.asvs, (0, 4), value=NO_ASV),
        counts=pad(batch.counts, (0, 4)),
    )
    torch.testing.assert_close(wide(longer), wide(batch))


def test_sequences_are_told_apart_and_keep_their_place() -> None:
    letters = torch.randint(1, 5, (5000, 101), generator=torch.Generator().manual_seed(1))
    wide = WideReads(101, 1)
    places = wide.places(letters)
    assert places.min() >= 0
    assert places.max() < N_PLACES
    assert len(torch.unique(places)) > 4850
    assert torch.equal(WideReads(101, 1).places(letters), places)
    neighbours = letters[:1].repeat(100, 1)
    neighbours[torch.arange(100), torch.arange(100)] = 6
    assert len(torch.unique(wide.places(neighbours))) == 100


def test_it_starts_without_effect_and_learns_of_trained_sequences_alone() -> None:
    torch.manual_seed(0)
    network = build_network("predictor", small(predictor={"wide": True, "quantiles": [0.1, 0.9]}), some_facts())
    assert isinstance(network, SequencePredictor)
    assert network.wide is not None
    batch = a_batch()
    with torch.no_grad():
        assert not network.wide(batch).any()
    network(batch).target.sum().backward()
    gradient = network.wide.weights.weight.grad
    assert gradient is not None
    touched = gradient.abs().sum(1).nonzero()[:, 0]
    seen = network.wide.places(batch.sequences[torch.unique(batch.asvs[batch.asvs >= 0])])
    assert torch.equal(touched, torch.unique(seen))


def _pairs(batch: SampleBatch, row: int) -> tuple[list[int], list[float]]:
    there = batch.asvs[row] >= 0
    return batch.asvs[row][there].tolist(), batch.counts[row][there].tolist()
