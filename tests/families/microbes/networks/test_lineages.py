"""Learned lineages: distances that are UniFrac's own where lineages are a tree's branches, and what they depend on."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hand_made_samples import a_batch, small
from scipy import sparse

from tabstar_lit.families.microbes.distances import predicted_distances
from tabstar_lit.families.microbes.networks.lineages import PACE, SHARPNESS, LineagePooling, Lineages
from tabstar_lit.families.microbes.networks.sequence_encoder import SequenceEncoder
from tabstar_lit.families.microbes.study.batch import NO_ASV
from tabstar_lit.families.microbes.tables.tree import parse_newick
from tabstar_lit.families.microbes.unifrac.branches import Branches
from tabstar_lit.families.microbes.unifrac.distances import unifrac


@pytest.mark.parametrize("given", [False, True])
def test_distances_of_the_branches_of_a_tree_are_unifrac(given: bool) -> None:
    ids, counts = tuple("ABCDE"), np.array([[3, 0, 1, 0, 2], [0, 4, 0, 1, 1], [1, 1, 0, 0, 0]])
    branches = Branches.of(sparse.csr_matrix(counts), ids, parse_newick("(((A:1,B:.5):.25,C:2):.5,(D:.3,E:1.5):.7);"))
    below = np.array(
        [(np.arange(5) >= f) & (np.arange(5) < e) for f, e in zip(branches.first, branches.end, strict=True)]
    )
    # An ASV lies surely within each branch above it, and surely outside all others.
    logits = torch.from_numpy(np.where(below.T, 60.0, -60.0)).float()
    pooling = LineagePooling(4, len(below), given=given)
    with torch.no_grad():
        pooling.log_lengths.copy_(torch.from_numpy(branches.lengths).log() / 2 / PACE)
    mask = torch.from_numpy(counts > 0)
    pooled = pooling(torch.zeros(3, 5, 4), logits, torch.arange(5).expand(3, -1), mask)
    distances = predicted_distances(pooled.vector, None).detach().numpy()
    np.testing.assert_allclose(distances, unifrac(branches), atol=1e-6)
    np.testing.assert_allclose(pooled.vector.square().sum(1).detach(), branches.faith_pd(), rtol=1e-6)
    assert (pooled.weights[~mask] == 0).all()
    np.testing.assert_allclose(pooled.weights.sum(1), 1.0, rtol=1e-6)


@pytest.mark.parametrize("given", [False, True])
def test_a_sample_without_sequences_has_no_lineage_and_no_distance_to_another_one(given: bool) -> None:
    pooling, nothing = LineagePooling(4, 6, given=given), torch.full((2, 3), NO_ASV)
    pooled = pooling(torch.zeros(2, 3, 4), torch.zeros(1, 6), nothing, nothing != NO_ASV)
    assert (pooled.vector == 0).all()
    assert (pooled.weights == 0).all()
    pooled.vector.requires_grad_()
    distances = predicted_distances(pooled.vector, None)
    assert (distances == 0).all()


def test_letters_alone_tell_the_same_as_states_that_have_no_say() -> None:
    torch.manual_seed(3)
    asvs, logits = torch.tensor([[0, 2, NO_ASV], [1, 2, 3]]), torch.randn(4, 6)
    states, mask = torch.randn(2, 3, 4), asvs != NO_ASV
    one, two = (LineagePooling(4, 6, given=own)(states, logits, asvs, mask) for own in (True, False))
    torch.testing.assert_close(one.vector, two.vector)
    torch.testing.assert_close(one.weights, two.weights)


def test_lineages_are_standardised_over_the_sequences_of_a_batch_and_later_by_what_was_seen() -> None:
    torch.manual_seed(0)
    lineages, letters = Lineages(30, 5), torch.nn.functional.one_hot(torch.randint(6, (40, 5)), 6).float()
    for _ in range(200):
        trained = lineages(letters)
    standard = (trained / SHARPNESS - PACE * lineages.thresholds).detach()
    np.testing.assert_allclose(standard.mean(0), 0, atol=1e-5)
    np.testing.assert_allclose(standard.std(0, unbiased=False), 1, atol=1e-3)
    lineages.eval()
    torch.testing.assert_close(lineages(letters), trained, rtol=0.1, atol=0.3)
    torch.testing.assert_close(lineages(letters[:1]), lineages(letters)[:1])
    torch.testing.assert_close(lineages.train()(letters[:1]), lineages.eval()(letters[:1]))
    # Shorter sequences are those whose further letters are padding.
    longer = torch.cat([letters[:, :3], torch.zeros(40, 2, 6)], 1)
    torch.testing.assert_close(lineages(letters[:, :3]), lineages(longer))


def test_hidden_letters_are_still_told_of_lineages_but_not_of_vectors() -> None:
    torch.manual_seed(1)
    encoder, batch = SequenceEncoder(small(lineages=12), max_bases=12).eval().asv_encoder, a_batch()
    hidden = torch.zeros_like(batch.sequences, dtype=torch.bool)
    hidden[:, 3] = True
    shown, told = encoder(batch.sequences), encoder(batch.sequences, hidden)
    torch.testing.assert_close(told.lineages, shown.lineages)
    assert not torch.allclose(told.vectors, shown.vectors)


def test_every_parameter_learns_from_distances_and_letters() -> None:
    torch.manual_seed(2)
    encoder, batch = SequenceEncoder(small(lineages=12), max_bases=12), a_batch()
    hidden = torch.rand(batch.sequences.shape) < 0.3
    for _ in range(2):  # the context of states begins at zero, and passes nothing on before its first step
        encoder.zero_grad()
        encoded = encoder(batch, hidden, letters=True)
        (predicted_distances(encoded.embedding, None).sum() + encoded.letters.square().sum()).backward()
        with torch.no_grad():
            encoder.pooling.context.weight -= 0.1 * encoder.pooling.context.weight.grad
    idle = [name for name, own in encoder.named_parameters() if own.grad is None or not own.grad.abs().any()]
    assert idle == []
