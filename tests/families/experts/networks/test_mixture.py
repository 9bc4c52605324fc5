"""The router, its terms, the memory of texts, and what a mixture of trained experts can be no worse than."""

from __future__ import annotations

import math

import pytest
import torch
from experts_networks import architecture, small_network, token_batch

from tabstar_lit.families.experts.architecture import ExpertsTraining
from tabstar_lit.families.experts.networks.mixture import Mixture
from tabstar_lit.families.experts.networks.objectives import mixing, nats_of
from tabstar_lit.families.experts.networks.prefixes import Seen
from tabstar_lit.families.experts.networks.vector_store import VectorStore, marks
from tabstar_lit.nn.masking import masked_mean


def test_weights_of_experts_sum_to_one_and_their_entropy_is_bounded() -> None:
    network = small_network("mixture").eval()
    mixed = network.mixed(token_batch().tokens)
    torch.testing.assert_close(mixed.weights.sum(-1), torch.ones(3, 40))
    entropy = mixing(network, token_batch(), ExpertsTraining()).terms["router_entropy"]
    assert 0 < entropy.item() <= math.log(3) + 1e-6


def test_the_loss_rewards_entropy_and_punishes_unequal_use() -> None:
    network, batch = small_network("mixture").eval(), token_batch()
    measured = mixing(network, batch, ExpertsTraining(entropy_reg=0.5, balance_reg=2.0))
    terms = measured.terms
    torch.testing.assert_close(measured.loss, terms["nll"] - 0.5 * terms["router_entropy"] + 2 * terms["balance"])
    with torch.no_grad():
        network.router.weight.zero_()
    terms = mixing(network, batch, ExpertsTraining()).terms
    assert terms["router_entropy"].item() == pytest.approx(math.log(3), abs=1e-6)
    assert terms["balance"].item() == pytest.approx(0, abs=1e-6)


def test_the_tracker_gets_the_mean_weights_of_each_row() -> None:
    network, batch = small_network("mixture").eval(), token_batch()
    columns = mixing(network, batch, ExpertsTraining()).columns
    weights = network.mixed(batch.tokens).weights[:, :35]
    torch.testing.assert_close(columns["router"][:, 0], weights.mean(1))
    torch.testing.assert_close(columns["router_entropy"][:, 0], torch.special.entr(weights).sum(-1).mean(1))


def test_at_first_experts_read_what_they_were_trained_on() -> None:
    torch.manual_seed(0)
    network = small_network("mixture", lively=False).eval()
    tokens = token_batch().tokens
    assert torch.equal(network.mixed(tokens).context, network.embedding(tokens))


def test_a_mixture_is_at_most_the_weighted_mean_of_its_experts_losses() -> None:
    network, batch = small_network("mixture").eval(), token_batch()
    mixed = network.mixed(batch.tokens)
    first = network.experts["transformer"](mixed.context)
    said = [first, network.experts["state_space"](mixed.context), network.experts["diffuser"](first)]
    alone = torch.stack([nats_of(network.logits(states), batch.targets) for states in said], dim=-1)
    mean = (alone * mixed.weights).sum(-1)
    nats = nats_of(network.logits(mixed.states), batch.targets)
    assert (nats <= mean + 1e-5).all()
    assert (nats < mean - 1e-3).any()


def test_experts_are_frozen_and_deterministic_while_the_rest_trains() -> None:
    network = small_network("mixture")
    assert not any(p.requires_grad for p in network.experts.parameters())
    assert {name.split(".")[0] for name, p in network.named_parameters() if p.requires_grad} == {
        "embedding",
        "norm",
        "attention",
        "router",
    }


def test_means_of_prefixes_are_those_of_each_document() -> None:
    torch.manual_seed(0)
    vectors, documents = torch.randn(1, 9, 4), torch.tensor([[0, 0, 0, 0, 1, 1, 1, 1, 1]])
    means = Seen.of(vectors, documents).means(9)[0]
    torch.testing.assert_close(means[2], vectors[0, :3].mean(0))
    torch.testing.assert_close(means[6], vectors[0, 4:7].mean(0))
    strided = Seen.of(vectors, documents).means(9, stride=2)[0]
    assert not strided[[0, 1, 4, 5]].any()
    torch.testing.assert_close(strided[3], vectors[0, :2].mean(0))
    torch.testing.assert_close(strided[8], vectors[0, 4:8].mean(0))


def test_the_nearest_are_found_exactly() -> None:
    torch.manual_seed(0)
    store, vectors = VectorStore(50, 8), torch.randn(30, 8)
    store.add(vectors, torch.arange(30))
    queries = torch.randn(4, 3, 8)
    found, there = store.nearest(queries, 5)
    unit = torch.nn.functional.normalize(vectors, dim=-1)
    best = (queries @ unit.T).argsort(-1, descending=True)[..., :5]
    torch.testing.assert_close(found, unit[best])
    assert there.all()


def test_a_text_does_not_find_itself_and_the_oldest_are_forgotten() -> None:
    store, vectors = VectorStore(4, 8), torch.eye(8)
    store.add(vectors[:3], torch.tensor([10, 11, 12]))
    found, there = store.nearest(vectors[None, :1], 4, torch.tensor([10]))
    assert there.tolist() == [[[True, True, False, False]]]
    assert not found[there][:, 0].any()
    store.add(vectors[3:6], torch.tensor([13, 14, 15]))
    assert sorted(store.owners.tolist()) == [12, 13, 14, 15]
    assert store.nearest(vectors[None, 5:6], 1)[0][0, 0, 0].tolist() == vectors[5].tolist()
    store.add(vectors, torch.arange(8))
    assert sorted(store.owners.tolist()) == [4, 5, 6, 7]


def test_rows_know_themselves_by_their_tokens() -> None:
    tokens = torch.randint(60, (200, 40))
    own = marks(tokens)
    assert len(own.unique()) == 200
    assert torch.equal(own, marks(tokens.clone()))
    assert marks(torch.tensor([[1, 2], [2, 1]])).unique().numel() == 2


def test_a_mixture_remembers_what_it_is_trained_on_and_nothing_else() -> None:
    network, batch = small_network("mixture with memory"), token_batch()
    network.memory.store.written.zero_()
    mixing(network.eval(), batch, ExpertsTraining())
    assert network.memory.store.written == 0
    mixing(network.train(), batch, ExpertsTraining())
    assert network.memory.store.written == 3
    there = torch.zeros(3, 40, dtype=torch.bool)
    there[:, :35] = True
    means = torch.nn.functional.normalize(masked_mean(network.embedding(batch.tokens), there), dim=-1)
    torch.testing.assert_close(network.memory.store.vectors[:3], means)
    saved = network.state_dict()
    assert torch.equal(saved["memory.store.vectors"], network.memory.store.vectors)


def test_what_is_remembered_has_an_effect() -> None:
    network, tokens = small_network("mixture with memory").eval(), token_batch().tokens
    before = network(tokens)
    network.memory.store.add(torch.randn(20, 16), torch.arange(20))
    after = network(tokens)
    assert torch.equal(before[:, :32], after[:, :32])
    assert not torch.equal(before[:, 32:], after[:, 32:])


def test_the_mixture_of_an_architecture_without_options_has_no_memory() -> None:
    assert small_network("mixture").memory is None
    assert isinstance(small_network("mixture"), Mixture)
    assert architecture().mixture.kv_latent_dim is None
