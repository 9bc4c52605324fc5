"""Hidden bases: where they may be, how many, and the same ones in validation."""

from __future__ import annotations

from typing import Literal

import pytest
import torch
from hand_made_samples import a_batch

from tabstar_lit.families.microbes.networks.masks import hide_bases
from tabstar_lit.families.microbes.study.batch import A, T
from tabstar_lit.families.microbes.training_config import Masking

KINDS: tuple[Literal["independent", "spans", "mixed"], ...] = ("independent", "spans", "mixed")


def many_sequences(n: int = 4000, length: int = 60) -> torch.Tensor:
    bases = torch.randint(A, T + 1, (n, length), generator=torch.Generator().manual_seed(0))
    return torch.nn.functional.pad(torch.nn.functional.pad(bases, (1, 0), value=5), (0, 3), value=0)


@pytest.mark.parametrize("kind", KINDS)
def test_as_many_bases_are_hidden_as_asked_for_and_nothing_else(kind: Literal["independent", "spans", "mixed"]) -> None:
    torch.manual_seed(0)
    sequences = many_sequences()
    hidden = hide_bases(sequences, Masking(kind=kind, rate=0.15))
    bases = (sequences >= A) & (sequences <= T)
    assert not (hidden & ~bases).any()
    assert hidden[bases].double().mean() == pytest.approx(0.15, abs=0.004)
    torch.testing.assert_close(hidden[:, 1:61].double().mean(0), torch.full((60,), 0.15).double(), rtol=0, atol=0.03)


def test_spans_are_three_to_five_neighbours_unless_they_meet() -> None:
    torch.manual_seed(0)
    hidden = hide_bases(many_sequences(), Masking(kind="spans", rate=0.02))
    inner = hidden[:, 6:56]
    runs = inner.long().diff(dim=1, prepend=torch.zeros(len(inner), 1, dtype=torch.long))
    assert inner.sum() / (runs == 1).sum() > 2.5
    single = hide_bases(many_sequences(), Masking(kind="independent", rate=0.02))[:, 6:56]
    runs = single.long().diff(dim=1, prepend=torch.zeros(len(single), 1, dtype=torch.long))
    assert single.sum() / (runs == 1).sum() < 1.1


@pytest.mark.parametrize("kind", KINDS)
def test_fixed_masks_are_the_same_and_leave_torchs_generator_alone(
    kind: Literal["independent", "spans", "mixed"],
) -> None:
    sequences, config = a_batch().sequences, Masking(kind=kind, rate=0.5)
    state = torch.get_rng_state()
    one, two = hide_bases(sequences, config, fixed=True), hide_bases(sequences, config, fixed=True)
    assert torch.equal(one, two)
    assert torch.equal(torch.get_rng_state(), state)
    assert not torch.equal(hide_bases(sequences, config), hide_bases(sequences, config))
