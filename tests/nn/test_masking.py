"""Masks by hand, and tokens hidden at the rate that was asked for, never where they must not be."""

from __future__ import annotations

import pytest
import torch

from tabstar_lit.nn.masking import (
    block_causal_mask,
    causal_mask,
    choose_spans,
    choose_tokens,
    document_mask,
    padding_mask,
)

CHOICES = [choose_tokens, choose_spans]


def test_padding_stands_on_the_right_or_on_the_left() -> None:
    lengths = torch.tensor([0, 2, 3])
    assert padding_mask(lengths, 3).int().tolist() == [[0, 0, 0], [1, 1, 0], [1, 1, 1]]
    assert padding_mask(lengths, 3, left=True).int().tolist() == [[0, 0, 0], [0, 1, 1], [1, 1, 1]]


def test_an_order_ends_with_all_keys() -> None:
    assert causal_mask(2, 4).int().tolist() == [[[1, 1, 1, 0], [1, 1, 1, 1]]]
    assert torch.equal(causal_mask(5, 5)[0], torch.ones(5, 5).tril().bool())


def test_blocks_see_themselves_and_those_before() -> None:
    assert block_causal_mask(5, 2).int().tolist() == [
        [[1, 1, 0, 0, 0], [1, 1, 0, 0, 0], [1, 1, 1, 1, 0], [1, 1, 1, 1, 0], [1, 1, 1, 1, 1]]
    ]
    assert torch.equal(block_causal_mask(5, 1), causal_mask(5, 5))


def test_documents_see_themselves_and_nothing_sees_padding() -> None:
    assert document_mask(torch.tensor([[3, 3, 1, -1]])).int().tolist() == [
        [[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 0]]
    ]


@pytest.mark.parametrize("choose", CHOICES)
@pytest.mark.parametrize("rate", [0.0, 0.15, 0.5, 1.0])
def test_every_place_is_chosen_at_the_rate(choose: object, rate: float) -> None:
    chosen = choose(torch.ones(20_000, 12, dtype=torch.bool), rate, torch.Generator().manual_seed(1))
    spread = 5 * (rate * (1 - rate) / 20_000) ** 0.5
    assert (chosen.float().mean(0) - rate).abs().max() <= spread


@pytest.mark.parametrize("choose", CHOICES)
def test_special_tokens_are_never_chosen(choose: object) -> None:
    maskable = torch.rand(500, 12, generator=torch.Generator().manual_seed(0)) < 0.5
    chosen = choose(maskable, 0.9)
    assert chosen.any()
    assert not (chosen & ~maskable).any()


@pytest.mark.parametrize("choose", CHOICES)
def test_a_seed_fixes_the_choice(choose: object) -> None:
    maskable = torch.ones(50, 12, dtype=torch.bool)
    first, again, other = (choose(maskable, 0.3, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_spans_are_as_long_as_asked_for() -> None:
    chosen = choose_spans(torch.ones(4000, 40, dtype=torch.bool), 0.02, torch.Generator().manual_seed(3), shortest=3)
    inner = "".join("1" if place else "0" for row in chosen[:, 1:-1] for place in [0, *row.tolist(), 0])
    alone = [len(run) for run in inner.split("0") if run]
    assert min(len(run) for row in chosen.int().tolist() for run in runs_inside(row)) == 3
    assert sum(length > 5 for length in alone) < 0.15 * len(alone)  # spans that touch
    lengths = torch.tensor([len(run) for row in chosen.int().tolist() for run in runs_inside(row)])
    counts = torch.bincount(lengths, minlength=6)[3:6].float()
    assert (counts / counts.sum() - 1 / 3).abs().max() < 0.05


def runs_inside(row: list[int]) -> list[str]:
    """Runs of chosen tokens that neither begin nor end the row."""
    return [run for run in "".join(map(str, row)).lstrip("1").rstrip("1").split("0") if run]


def test_single_tokens_are_spans_of_length_one() -> None:
    chosen = choose_spans(torch.ones(300, 50, dtype=torch.bool), 0.3, shortest=1, longest=1)
    pairs = (chosen[:, 1:] & chosen[:, :-1]).float().mean()
    assert pairs.item() == pytest.approx(0.09, abs=0.02)
