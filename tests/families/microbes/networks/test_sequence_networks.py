"""Encoders and predictors: what changes nothing, what must change something, and what is saved."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from hand_made_samples import CATEGORIES, a_batch, chosen, small, some_facts
from torch import Tensor

from tabstar_lit.errors import ConfigError, DataError
from tabstar_lit.families.microbes.architecture import EncoderType, Fusion, MicrobesArchitecture
from tabstar_lit.families.microbes.build import build_network
from tabstar_lit.families.microbes.networks.sequence_encoder import EncoderNetwork
from tabstar_lit.families.microbes.networks.sequence_predictor import SequencePredictor
from tabstar_lit.families.microbes.study.batch import NO_ASV, PAD, SampleBatch

FUSIONS: tuple[Fusion, ...] = ("none", "concat", "add", "gmu", "cross_attention", "perceiver")
TYPES: tuple[EncoderType, ...] = ("unifrac", "faith_pd", "taxonomy", "combined")
COUNTS = ("none", "add", "concat", "film")
EXACT = {"rtol": 0, "atol": 1e-6}


def encoder(**changes: Any) -> EncoderNetwork:
    torch.manual_seed(0)
    network = build_network("encoder", small(**changes), some_facts())
    assert isinstance(network, EncoderNetwork)
    return network.eval()


def predictor(
    config: MicrobesArchitecture | None = None, kind: str = "regression", **changes: Any
) -> SequencePredictor:
    torch.manual_seed(0)
    network = build_network("predictor", config or small(predictor=changes), some_facts(kind))
    assert isinstance(network, SequencePredictor)
    return network.eval()


def permuted(batch: SampleBatch) -> tuple[SampleBatch, Tensor]:
    """Return the batch with its sequences, and the ASVs within each sample, in another order, and that order."""
    torch.manual_seed(3)
    order = torch.randperm(len(batch.sequences))
    place = torch.empty_like(order)
    place[order] = torch.arange(len(order))
    asvs = torch.where(batch.asvs >= 0, place[batch.asvs.clamp(min=0)], NO_ASV)
    slots = torch.stack([torch.randperm(asvs.shape[1]) for _ in asvs])
    moved = replace(
        batch,
        sequences=batch.sequences[order],
        asvs=asvs.gather(1, slots),
        counts=batch.counts.gather(1, slots),
    )
    return moved, slots


def padded(batch: SampleBatch, slots: int = 40, letters: int = 0, sequences: int = 7) -> SampleBatch:
    """Return the batch with more room than it needs."""
    pad = torch.nn.functional.pad
    return replace(
        batch,
        sequences=pad(batch.sequences, (0, letters, 0, sequences), value=PAD),
        asvs=pad(batch.asvs, (0, slots), value=NO_ASV),
        counts=pad(batch.counts, (0, slots)),
    )


@pytest.mark.parametrize("counts", COUNTS)
@pytest.mark.parametrize(("per_token", "lineages"), [(1, 0), (4, 0), (4, 12)])
def test_order_of_asvs_and_padding_change_nothing(counts: str, per_token: int, lineages: int) -> None:
    network, batch = encoder(count_embedding=counts, bases_per_token=per_token, lineages=lineages), a_batch()
    expected = network(batch)
    moved, slots = permuted(batch)
    found = network(moved)
    torch.testing.assert_close(found.embedding, expected.embedding, **EXACT)
    torch.testing.assert_close(found.weights, expected.weights.gather(1, slots), **EXACT)
    torch.testing.assert_close(network(padded(batch)).embedding, expected.embedding, **EXACT)


@pytest.mark.parametrize("fusion", FUSIONS)
def test_order_of_asvs_and_padding_change_no_prediction(fusion: Fusion) -> None:
    network, batch = predictor(fusion=fusion), a_batch()
    expected = network(batch)
    moved, slots = permuted(batch)
    found, wide = network(moved), network(padded(batch))
    torch.testing.assert_close(found.target, expected.target, **EXACT)
    torch.testing.assert_close(wide.target, expected.target, **EXACT)
    torch.testing.assert_close(found.weights, expected.weights.gather(1, slots), **EXACT)
    torch.testing.assert_close(wide.weights[:, : batch.asvs.shape[1]], expected.weights, **EXACT)
    torch.testing.assert_close(expected.weights.sum(1) > 0, torch.ones(len(batch), dtype=torch.bool))


def test_each_sample_is_predicted_as_it_would_be_alone() -> None:
    network, batch = predictor(), a_batch()
    alone = torch.cat([network(chosen(batch, torch.tensor([row]))).target for row in range(len(batch))])
    torch.testing.assert_close(alone, network(batch).target, **EXACT)


def test_learned_positions_make_the_order_of_asvs_matter() -> None:
    network, batch = encoder(compat=True), a_batch()
    found, expected = network(permuted(batch)[0]).embedding, network(batch).embedding
    assert (found - expected).abs().max() > 1e-4


@pytest.mark.parametrize("counts", COUNTS)
def test_counts_matter_where_they_are_embedded(counts: str) -> None:
    network, batch = encoder(count_embedding=counts), a_batch()
    changed = replace(batch, counts=batch.counts * 3)
    same = torch.equal(network(changed).embedding, network(batch).embedding)
    assert same is (counts == "none")


def test_a_base_that_changes_changes_the_samples_that_have_its_sequence_and_no_other() -> None:
    network, batch = encoder(), a_batch()
    sequences = batch.sequences.clone()
    sequences[0, 3] = sequences[0, 3] % 4 + 1
    moved = (network(replace(batch, sequences=sequences)).embedding - network(batch).embedding).abs().amax(1) > 1e-7
    assert torch.equal(moved, (batch.asvs == 0).any(1))


def test_hidden_bases_are_told_from_their_neighbours_alone() -> None:
    network, batch = encoder(), a_batch()
    hidden = torch.zeros_like(batch.sequences, dtype=torch.bool)
    hidden[:, 4] = True
    other = batch.sequences.clone()
    other[:, 4] = other[:, 4] % 4 + 1
    one, two = (
        network(replace(batch, sequences=own), hidden, letters=True).letters for own in (batch.sequences, other)
    )
    assert one is not None
    torch.testing.assert_close(one, two)


def test_sequences_read_in_parts_are_what_they_are_at_once() -> None:
    batch = a_batch()
    torch.testing.assert_close(encoder(asvs_at_once=2)(batch).embedding, encoder()(batch).embedding, **EXACT)


@pytest.mark.parametrize("fusion", [own for own in FUSIONS if own != "none"])
def test_every_fusion_reads_the_categories(fusion: Fusion) -> None:
    network, batch = predictor(fusion=fusion), a_batch()
    other = replace(batch, categories=(batch.categories + 1) % 3)
    assert (network(other).target - network(batch).target).abs().max() > 1e-6


def test_without_fusion_categories_have_no_part() -> None:
    network, batch = predictor(), a_batch()
    assert torch.equal(network(replace(batch, categories=batch.categories * 0)).target, network(batch).target)
    assert not any("categor" in name for name, _ in network.named_parameters())


def test_asvs_choose_among_categories() -> None:
    """With one key every weight would be 1, and each ASV would be moved alike."""
    network, batch = predictor(fusion="cross_attention"), a_batch()
    states = network.read(batch).states
    categories = network.target_branch.categories(batch.categories)
    moved = network.target_branch.join(states, categories) - states
    there = batch.asvs[0] >= 0
    assert moved[0, there].std(0).max() > 1e-5


@pytest.mark.parametrize("scaled", [True, False])
def test_scales_of_categories_start_without_effect_and_then_have_one(scaled: bool) -> None:
    batch = a_batch()
    plain = predictor()
    network = predictor(category_scale="site" if scaled else None, learnable_scale=not scaled)
    network.load_state_dict(plain.state_dict(), strict=False)
    torch.testing.assert_close(network(batch).target, plain(batch).target)
    factors = network.head.by_category.scale.weight if scaled else network.head.scale
    assert factors is not None
    with torch.no_grad():
        factors[:] = 2
    torch.testing.assert_close(network(batch).target, 2 * plain(batch).target)


@pytest.mark.parametrize("bound", ["sigmoid", "relu", "softplus", "exp"])
def test_bounds_hold(bound: str) -> None:
    found = predictor(bound=bound)(a_batch()).target
    assert (found >= 0).all()
    assert bound != "sigmoid" or (found <= 1).all()


@pytest.mark.parametrize(("head", "hidden"), [("linear", ()), ("mlp", (8,)), ("residual", (8, 4))])
@pytest.mark.parametrize("quantiles", [(), (0.1, 0.5, 0.9)])
def test_heads_give_every_target_and_quantile(head: str, hidden: tuple[int, ...], quantiles: tuple[float, ...]) -> None:
    batch = a_batch()
    found = predictor(head=head, hidden_dims=hidden, quantiles=quantiles)(batch).target
    assert found.shape == (len(batch), 2, *([3] if quantiles else []))


@pytest.mark.parametrize("encoder_type", TYPES)
@pytest.mark.parametrize("kind", ["regression", "classification"])
def test_what_is_saved_predicts_the_same(encoder_type: EncoderType, kind: str) -> None:
    config, batch = small(encoder_type=encoder_type, predictor={"fusion": "concat"}), a_batch(kind=kind)
    saved = predictor(config, kind).state_dict()
    torch.manual_seed(1)
    other = build_network("predictor", config, some_facts(kind)).eval()
    other.load_state_dict(saved)
    assert torch.equal(other(batch).target, predictor(config, kind)(batch).target)


def test_an_encoder_fits_into_a_predictor_under_its_name() -> None:
    base = {name for name in encoder().state_dict() if name.startswith("base.")}
    assert base == {name for name in predictor().state_dict() if name.startswith("base.")}


@pytest.mark.parametrize(
    ("config", "facts", "message"),
    [
        (small(), some_facts(None), "a predictor needs a target"),
        (
            small(predictor={"category_scale": "colour"}),
            some_facts(),
            "'colour' is no column of categories. There are site",
        ),
        (small(predictor={"fusion": "gmu"}), some_facts(categories={}), "gmu joins categories"),
        (small(predictor={"bound": "relu"}), some_facts("classification"), "quantiles and bound are of numbers"),
    ],
)
def test_a_predictor_of_what_there_is_not_is_refused(config: MicrobesArchitecture, facts: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build_network("predictor", config, facts)


def test_longer_sequences_than_learned_are_refused() -> None:
    batch = a_batch()
    with pytest.raises(DataError, match="the network learned 13 positions"):
        encoder()(replace(batch, sequences=torch.nn.functional.pad(batch.sequences, (0, 3), value=1)))


def test_an_unknown_category_has_zeros() -> None:
    network = predictor(fusion="add")
    embedded = network.target_branch.categories(torch.zeros(2, len(CATEGORIES), dtype=torch.int64))
    assert not embedded.any()
