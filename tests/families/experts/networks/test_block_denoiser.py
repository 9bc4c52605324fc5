"""Blocks of the continuous diffusion expert: what is learned and what is read sees no block that follows."""

from __future__ import annotations

import pytest
import torch
from experts_networks import architecture, enliven, packed_documents

from tabstar_lit.families.experts.networks.block_denoiser import BlockDiffuser
from tabstar_lit.families.experts.networks.denoiser import DiffuserExpert

BLOCK = 4


def denoiser(block: int = BLOCK, **options: object) -> BlockDiffuser:
    torch.manual_seed(0)
    expert = BlockDiffuser(architecture(diffuser={"attention": "block", "block": block, **options}))
    enliven(expert)
    return expert.eval()


def whole_blocks(expert: BlockDiffuser, states: torch.Tensor, documents: torch.Tensor | None = None) -> torch.Tensor:
    """Return the noise that is found where all places of a block see each other."""
    positions = expert.sight(states, documents).positions
    sight = expert.seen_up_to(positions, documents, torch.full_like(positions, expert.block - 1))
    return expert.predicted_noise(states, torch.full((len(states),), 10), sight)


@pytest.mark.parametrize("packed", [False, True])
def test_a_block_sees_itself_and_none_after_it_bit_for_bit(packed: bool) -> None:
    expert, documents = denoiser(), packed_documents(2) if packed else None
    states = torch.randn(2, 40, 16)
    start = 15 if packed else 0  # where the document begins whose place is changed
    place = start + 2 * BLOCK + 1
    border = start + 2 * BLOCK
    changed = states.clone()
    changed[:, place:] = torch.randn(2, 40 - place, 16)
    one, two = (whole_blocks(expert, x, documents) for x in (states, changed))
    assert torch.equal(one[:, :border], two[:, :border])
    assert (one[:, border] != two[:, border]).any(-1).all(), "the first place of a block does not see the second"


def test_noise_is_learned_from_whole_blocks_and_from_their_beginnings() -> None:
    expert, states = denoiser(), torch.randn(64, 8, 16)
    mask = expert.sight(states, generator=torch.Generator().manual_seed(0)).mask
    assert mask is not None
    rows = {tuple(map(tuple, own.int().tolist())) for own in mask[:, :BLOCK, :BLOCK]}
    expected = set()
    for shown in range(BLOCK):
        ends = [max(shown, place) for place in range(BLOCK)]
        expected.add(tuple(tuple(int(other <= end) for other in range(BLOCK)) for end in ends))
    assert rows == expected
    assert mask[:, BLOCK:, :BLOCK].all()
    assert not mask[:, :BLOCK, BLOCK:].any()


def test_what_is_read_is_that_of_the_block_up_to_there() -> None:
    expert, states = denoiser(denoising_steps=2), torch.randn(2, 11, 16)
    read = expert(states)
    for length in range(1, 12):
        alone = expert(states[:, :length])[:, -1]
        torch.testing.assert_close(read[:, length - 1], alone, atol=2e-4, rtol=1e-4)


def test_blocks_of_one_place_are_the_causal_denoiser() -> None:
    expert = denoiser(block=1)
    causal = DiffuserExpert(architecture()).eval()
    causal.load_state_dict(expert.state_dict())
    states, documents = torch.randn(2, 40, 16), packed_documents(2)
    there = documents[0] >= 0
    torch.testing.assert_close(
        expert(states, documents)[:, there], causal(states, documents)[:, there], atol=1e-4, rtol=1e-4
    )
