"""Waves of numbers: the formula of their paper, an option that leaves everything else as it is, and what it is for."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from torch import nn

from tabstar_lit.commands.train import train_tabstar
from tabstar_lit.families.tabstar.config import TabstarArchitecture
from tabstar_lit.nn.tabstar import PeriodicFeatures, SixNumberFusion
from tabstar_lit.nn.tabstar_config import TextEncoderConfig

WIDTH = 16


def fusion(frequencies: int) -> SixNumberFusion:
    torch.manual_seed(5)
    text = TextEncoderConfig(name="random")
    return SixNumberFusion(TabstarArchitecture(text_encoder=text, dropout=0.0), WIDTH, frequencies)


def six(z: torch.Tensor) -> torch.Tensor:
    """Return the six numbers of z-scores ``[N]`` that are evenly spread over [-3, 3]: ``[N, 1, 6]``."""
    place = (z + 3) / 6
    return torch.stack([z, place, place, torch.zeros_like(z), torch.zeros_like(z), torch.ones_like(z)], dim=-1)[:, None]


def test_waves_are_those_of_the_paper() -> None:
    waves, numbers = PeriodicFeatures(2, 3).double(), torch.randn(4, 5, 2).double()
    weights = waves.frequencies.detach().numpy()
    angles = 2 * math.pi * np.einsum("bsk,pk->bsp", numbers.numpy(), weights)
    expected = np.concatenate([np.sin(angles), np.cos(angles)], axis=-1)
    np.testing.assert_allclose(waves(numbers).detach().numpy(), expected, atol=1e-12)


def test_half_precision_does_not_round_angles() -> None:
    waves, numbers = PeriodicFeatures(2, 3), 3 * torch.randn(4, 5, 2)
    with torch.autocast("cpu", torch.bfloat16):
        rough = waves(numbers)
    assert torch.equal(rough, waves(numbers))


def test_without_them_weights_are_those_of_the_package_and_with_them_they_are_learned() -> None:
    plain, waving = fusion(0).state_dict(), fusion(4)
    assert set(waving.state_dict()) - set(plain) == {"periodic.frequencies"}
    assert waving.state_dict()["scalar_embedder.0.weight"].shape[1] == plain["scalar_embedder.0.weight"].shape[1] + 8
    waving(torch.randn(7, 1, WIDTH), six(torch.linspace(-3, 3, 7))).square().sum().backward()
    assert waving.periodic is not None
    assert waving.periodic.frequencies.grad is not None
    assert waving.periodic.frequencies.grad.abs().min() > 0


def test_waves_see_digits_that_the_six_numbers_lose() -> None:
    near, text = six(torch.tensor([2.0, 2.001])), torch.zeros(2, 1, WIDTH)
    same, other = (torch.diff(fusion(frequencies)(text, near), dim=0).abs().max() for frequencies in (0, 4))
    assert same < 1e-5
    assert other > 1e-3


def test_a_bent_curve_is_learned_in_fewer_steps() -> None:
    z = torch.linspace(-3, 3, 256)
    numbers, text, wanted = six(z), torch.zeros(256, 1, WIDTH), torch.sin(5 * z)

    def left(frequencies: int) -> float:
        own = nn.ModuleList([fusion(frequencies), nn.Linear(WIDTH, 1)])
        optimizer = torch.optim.AdamW(own.parameters(), lr=1e-2)
        for _ in range(150):
            loss = (own[1](own[0](text, numbers)).flatten() - wanted).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        return float(loss.detach())

    assert left(16) < 0.5 * left(0)


def test_waves_of_bins_are_refused() -> None:
    key = "model_config.architecture_config.number_frequencies=8"
    done = CliRunner().invoke(train_tabstar, [key, "--print-config"])
    assert done.exit_code == 2
    assert "waves are of numbers that are told by six, and numbers is bins: set numbers to six" in done.output


@pytest.mark.parametrize("count", [-1, 1.5])
def test_their_number_is_a_count(count: float) -> None:
    done = CliRunner().invoke(train_tabstar, [f"model_config.architecture_config.number_frequencies={count}"])
    assert done.exit_code == 2
    assert "number_frequencies" in done.output
