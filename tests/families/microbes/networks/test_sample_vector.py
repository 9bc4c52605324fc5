"""The vector of a sample beside its lineages: it tells distances at first, and states of ASVs learn by it."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pytest
import torch
from hand_made_samples import a_batch, in_batches, small, some_facts

from tabstar_lit.config.tree import Problem
from tabstar_lit.families.microbes.architecture import MicrobesArchitecture, PredictorArchitecture
from tabstar_lit.families.microbes.build import build_network
from tabstar_lit.families.microbes.distances import predicted_distances
from tabstar_lit.families.microbes.frozen import FrozenReads
from tabstar_lit.families.microbes.networks.sample_vector import SampleVector
from tabstar_lit.families.microbes.networks.sequence_predictor import SequencePredictor

LINKAGE = {"lineages": 12, "lineage_start": "linkage"}


def predictor(reads: str, **changes: object) -> SequencePredictor:
    torch.manual_seed(0)
    network = build_network("predictor", small(**LINKAGE, predictor={"reads": reads, **changes}), some_facts())
    assert isinstance(network, SequencePredictor)
    torch.nn.init.normal_(network.head.linear.weight)  # that of vectors alone begins at zero
    return network.eval()


def test_before_any_training_vectors_are_as_far_apart_as_lineages() -> None:
    torch.manual_seed(0)
    one = (torch.rand(1, 2048) < 0.3).float()
    changed = (torch.rand(40, 2048) < torch.linspace(0.01, 0.3, 40)[:, None]).float()
    lineages = (one - changed).abs()
    vectors = SampleVector(512, 2048)(torch.zeros(40, 3, 512), torch.ones(40, 3, dtype=torch.bool), lineages).detach()
    pairs = np.triu_indices(40, 1)
    told, true = (torch.cdist(own, own)[pairs] for own in (vectors, lineages))
    assert np.corrcoef(told, true)[0, 1] > 0.9
    unifrac = predicted_distances(lineages, None)[pairs].mean()
    assert 0.5 < float(told.tanh().mean() / unifrac) < 2


@pytest.mark.parametrize(("reads", "of_asvs", "of_samples"), [("asvs", 1, 0), ("both", 1, 1), ("sample", 0, 1)])
def test_a_predictor_reads_what_it_is_told_to(reads: str, of_asvs: int, of_samples: int) -> None:
    network, batch = predictor(reads, count_layers=0), a_batch()
    read = network.read(batch)
    states, vector = (None if own is None else own.detach().requires_grad_() for own in read[:2])
    assert (states is not None, vector is not None) == (bool(of_asvs), bool(of_samples))
    network.predict(read._replace(states=states, vector=vector), batch).target.sum().backward()
    assert all(own is None or own.grad.abs().sum() > 0 for own in (states, vector))
    torch.testing.assert_close(network.predict(read, batch).target, network(batch).target)


@pytest.mark.parametrize("reads", ["asvs", "both", "sample"])
def test_what_is_kept_of_a_frozen_encoder_is_what_it_says(reads: str) -> None:
    network, every = predictor(reads), a_batch(7)
    kept = FrozenReads(network, lambda: in_batches(every, 3))
    for batch in in_batches(every, 2):
        found, asked = (network.predict(own, batch) for own in (kept.of(batch), network.read(batch)))
        torch.testing.assert_close(found.target, asked.target, rtol=0, atol=1e-6)
        torch.testing.assert_close(found.counts, asked.counts, rtol=0, atol=1e-6)
        torch.testing.assert_close(found.weights, asked.weights, rtol=0, atol=1e-6)


def test_weights_of_asvs_are_those_of_the_embedding_where_no_branch_has_some() -> None:
    network, batch = predictor("sample"), a_batch()
    predicted = network(batch)
    torch.testing.assert_close(predicted.weights, predicted.encoded.weights)
    assert network.target_branch is None


def test_without_a_branch_of_counts_there_are_none() -> None:
    network = predictor("both", count_layers=0)
    assert network(a_batch()).counts is None
    assert not any(name.startswith("count") for name, _ in network.named_parameters())


@pytest.mark.parametrize("reads", ["asvs", "sample"])
def test_lineages_at_random_have_a_vector_where_it_is_read(reads: Literal["asvs", "sample"]) -> None:
    config = MicrobesArchitecture(lineages=12, predictor=PredictorArchitecture(reads=reads))
    assert config.sample_vector is (reads == "sample")
    assert not MicrobesArchitecture(predictor=PredictorArchitecture(reads=reads)).sample_vector


def test_categories_that_nothing_reads_are_refused() -> None:
    found: list[Problem] = list(PredictorArchitecture(reads="sample", fusion="concat").problems())
    assert [own.path for own in found] == [("fusion",)]
