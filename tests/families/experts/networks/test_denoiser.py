"""The noise schedule and the denoising of the continuous diffusion expert."""

from __future__ import annotations

import pytest
import torch
from experts_networks import architecture, small_network, token_batch

from tabstar_lit.families.experts.architecture import ExpertsTraining
from tabstar_lit.families.experts.networks.denoiser import DiffuserExpert, signal_shares
from tabstar_lit.families.experts.networks.objectives import denoising


def test_the_schedules_are_those_of_the_original() -> None:
    cosine = signal_shares(100)
    torch.testing.assert_close(cosine[[0, 50, 99]], torch.tensor([0.99937, 0.4783, 2.43e-7]), atol=5e-5, rtol=1e-3)
    assert signal_shares(100, "linear")[99].item() == pytest.approx(0.3636, abs=5e-5)
    assert (cosine.diff() < 0).all()


def test_the_cosine_schedule_is_its_formula_until_it_is_clipped() -> None:
    steps = torch.arange(101, dtype=torch.float64) / 100
    shares = torch.cos((steps + 0.008) / 1.008 * torch.pi / 2) ** 2
    torch.testing.assert_close(signal_shares(100)[:90].double(), (shares[1:] / shares[0])[:90], atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("passes", [1, 2, 5])
def test_who_knows_the_noise_gets_the_states_back(passes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    expert = DiffuserExpert(architecture(diffuser={"denoising_steps": passes, "noise_step": 10})).eval()
    states = torch.randn(2, 7, 16)

    def knowing(noised: torch.Tensor, steps: torch.Tensor, *_: object) -> torch.Tensor:
        share = expert.shares[steps][:, None, None]
        return (noised - share.sqrt() * states) / (1 - share).sqrt()

    monkeypatch.setattr(expert, "predicted_noise", knowing)
    torch.testing.assert_close(expert(states), states, atol=1e-5, rtol=0)


def test_denoising_starts_at_the_step_that_states_are_noised_to() -> None:
    expert = DiffuserExpert(architecture(diffuser={"denoising_steps": 2, "noise_step": 10}))
    assert expert.steps == [10, 5]


def test_a_denoiser_that_learned_brings_states_closer_than_their_noise() -> None:
    torch.manual_seed(0)
    expert = DiffuserExpert(architecture(dropout=0.0, diffuser={"noise_step": 30}))
    optimizer = torch.optim.Adam(expert.parameters(), lr=3e-3)
    directions = torch.nn.functional.normalize(torch.randn(4, 16), dim=-1) * 4
    for _ in range(300):
        states = directions[torch.randint(4, (16, 12))]
        steps, noise = torch.randint(100, (16,)), torch.randn(16, 12, 16)
        loss = (expert.predicted_noise(expert.noised(states, steps, noise), steps) - noise).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    expert.eval()
    states = directions[torch.randint(4, (16, 12))]
    share = expert.shares[30]
    noise_alone = (1 - share) / share
    denoised = (expert(states) - states).square().mean()
    assert denoised < 0.5 * noise_alone


def test_the_noise_of_a_place_stays_when_texts_become_longer() -> None:
    expert = DiffuserExpert(architecture()).eval()
    states = torch.randn(2, 50, 16)
    short = expert(states[:, :3]).clone()
    torch.testing.assert_close(expert(states)[:, :3], short, atol=1e-5, rtol=0)


def test_padding_has_no_part_in_the_loss() -> None:
    network = small_network("continuous diffuser").eval()
    batch = token_batch(packed=True)
    before = denoising(network, batch, ExpertsTraining()).loss
    batch.tokens[:, 35:] = 3
    assert torch.equal(denoising(network, batch, ExpertsTraining()).loss, before)
