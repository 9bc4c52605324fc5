"""Losses and shuffled conditions against torch and against loops."""

from __future__ import annotations

import pytest
import torch
from hand_made_pairs import pairs
from torch.nn import functional

from tabstar_lit.families.antibody import likelihood
from tabstar_lit.families.antibody.pairs.tokens import PAD, VOCABULARY_SIZE


@pytest.fixture
def logits() -> torch.Tensor:
    torch.manual_seed(1)
    batch, tokens = pairs().antibodies.shape
    return 2 * torch.randn(batch, tokens - 1, VOCABULARY_SIZE)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5])
def test_the_loss_is_torchs_cross_entropy(logits: torch.Tensor, share: float) -> None:
    antibodies = pairs().antibodies
    expected = functional.cross_entropy(
        logits.flatten(0, 1), antibodies[:, 1:].flatten(), ignore_index=PAD, label_smoothing=share
    )
    torch.testing.assert_close(likelihood.smoothed(likelihood.token_losses(logits, antibodies), share), expected)


def test_sums_by_region_are_those_of_a_loop(logits: torch.Tensor) -> None:
    batch = pairs()
    losses = likelihood.token_losses(logits, batch.antibodies)
    found = likelihood.region_sums(losses.nll, batch.regions)
    expected = torch.zeros_like(found)
    for row in range(len(found)):
        for place in range(1, batch.regions.shape[1]):
            expected[row, int(batch.regions[row, place])] += losses.nll[row, place - 1]
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(found.sum(1), losses.nll.sum(1))


def test_the_other_antigen_is_the_next_that_differs() -> None:
    antigens = torch.tensor([[1, 2], [1, 2], [1, 3], [1, 2]])
    partners = likelihood.other_antigens(antigens)
    assert partners.rows.tolist() == [2, 2, 3, 2]
    assert partners.found.all()


def test_where_there_is_one_antigen_there_is_no_other() -> None:
    assert not likelihood.other_antigens(torch.ones(3, 5)).found.any()


def test_the_other_pkd_is_known_and_differs() -> None:
    partners = likelihood.other_pkds(torch.tensor([7.0, torch.nan, 7.0, 8.0]))
    assert partners.found.tolist() == [True, False, True, True]
    assert partners.rows[partners.found].tolist() == [3, 3, 0]


def test_the_contrast_falls_as_the_other_antigen_explains_less(logits: torch.Tensor) -> None:
    antibodies = pairs().antibodies
    own = likelihood.token_losses(logits, antibodies)
    found = torch.tensor([True, True, False, True])
    losses = [
        float(likelihood.contrast(own, own._replace(nll=own.nll + rise * own.there), found, 0.1)) for rise in (0, 0.2)
    ]
    expected = [float(functional.softplus(torch.tensor(-rise / 0.1))) for rise in (0, 0.2)]
    assert losses == pytest.approx(expected, rel=1e-4)


def test_without_another_antigen_there_is_no_contrast(logits: torch.Tensor) -> None:
    own = likelihood.token_losses(logits, pairs().antibodies)
    assert float(likelihood.contrast(own, own, torch.zeros(4, dtype=torch.bool), 0.1)) == 0
