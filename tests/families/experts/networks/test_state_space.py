"""The S6 block against the Mamba of `transformers`, with its weights."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from experts_networks import architecture, packed_documents
from torch import nn

from tabstar_lit.families.experts.networks.state_space import StateSpaceBlock, StateSpaceExpert

WIDTH, CHANNELS = 32, 64


def pair(rank: int) -> tuple[StateSpaceBlock, Any]:
    """Return a block of ours and theirs with the same weights."""
    from transformers.models.mamba.modeling_mamba import MambaBlock, MambaConfig

    torch.manual_seed(0)
    ours = StateSpaceBlock(WIDTH, CHANNELS, d_state=16, d_conv=4, dt_rank=rank)
    config = MambaConfig(
        hidden_size=WIDTH,
        intermediate_size=CHANNELS,
        state_size=16,
        conv_kernel=4,
        time_step_rank=rank,
        layer_norm_epsilon=1e-6,
        num_hidden_layers=1,
        residual_in_fp32=False,
    )
    theirs = MambaBlock(config, 0)
    mixer = theirs.mixer
    with torch.no_grad():
        nn.init.normal_(ours.norm.weight)
        nn.init.normal_(ours.skip)
        theirs.norm.weight.copy_(ours.norm.weight)
        mixer.in_proj.weight.copy_(ours.into.weight)
        mixer.conv1d.load_state_dict(ours.convolution.state_dict())
        mixer.x_proj.weight.copy_(torch.cat([ours.select.weight[32:], ours.select.weight[:32]]))  # theirs: step first
        mixer.dt_proj.load_state_dict(ours.step.state_dict())
        mixer.A_log.copy_(ours.log_rates)
        mixer.D.copy_(ours.skip)
        mixer.out_proj.weight.copy_(ours.out.weight)
    return ours, theirs


@pytest.mark.parametrize("rank", [1, 3])
def test_values_and_gradients_are_those_of_mamba(rank: int) -> None:
    ours, theirs = pair(rank)
    x = torch.randn(2, 50, WIDTH, requires_grad=True)
    own, other = ours(x)[0], theirs(x)
    torch.testing.assert_close(own, other, atol=1e-5, rtol=0)
    weights = torch.randn_like(own)
    mixer = theirs.mixer
    mine = (x, ours.log_rates, ours.skip, ours.step.bias, ours.convolution.weight, ours.into.weight, ours.norm.weight)
    yours = (x, mixer.A_log, mixer.D, mixer.dt_proj.bias, mixer.conv1d.weight, mixer.in_proj.weight, theirs.norm.weight)
    found, expected = torch.autograd.grad(own, mine, weights), torch.autograd.grad(other, yours, weights)
    for one, two in zip(found, expected, strict=True):
        torch.testing.assert_close(one, two, atol=1e-5, rtol=1e-5)


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
