"""The S6 block against the Mamba of `transformers`, with its weights."""

from __future__ import annotations

import pytest
import torch
from benchmarks.experts_networks import mamba_gradients, mamba_pair
from experts_networks import architecture, packed_documents
from torch import nn

from tabstar_lit.families.experts.networks.state_space import StateSpaceBlock, StateSpaceExpert


@pytest.mark.parametrize("rank", [1, 3])
def test_values_and_gradients_are_those_of_mamba(rank: int) -> None:
    for own, other in mamba_gradients(*mamba_pair(rank)):
        torch.testing.assert_close(own, other, atol=1e-5, rtol=1e-5)


def test_step_sizes_start_between_a_thousandth_and_a_tenth() -> None:
    block = StateSpaceBlock(8, 500, d_state=2, d_conv=4, dt_rank=1)
    steps = nn.functional.softplus(block.step.bias)
    assert 1e-3 <= steps.min() < 2e-3
    assert 0.05 < steps.max() <= 0.1001


def test_packed_documents_are_read_as_each_alone() -> None:
    torch.manual_seed(0)
    expert = StateSpaceExpert(architecture()).eval()
    x = torch.randn(2, 40, 16)
    packed = expert(x, packed_documents(2))
    alone = torch.cat([expert(x[:, :15]), expert(x[:, 15:35])], dim=1)
    assert torch.equal(packed[:, :35], alone)


def test_later_tokens_may_say_again_that_they_are_of_the_same_document() -> None:
    torch.manual_seed(0)
    expert = StateSpaceExpert(architecture()).eval()
    x, cache = torch.randn(2, 12, 16), expert.start()
    parts = [expert(x[:, at : at + 3], torch.zeros(2, 3, dtype=torch.int64), cache) for at in range(0, 12, 3)]
    torch.testing.assert_close(torch.cat(parts, 1), expert(x), atol=1e-6, rtol=0)
