"""Parameters of every network of the size ``base``, counted in the original system."""

from __future__ import annotations

import pytest
from torch import nn

from tabstar_lit.families.experts.architecture import EXPERTS, ExpertsArchitecture, MixtureSection
from tabstar_lit.families.experts.networks.build import build
from tabstar_lit.families.experts.networks.mixture import Mixture

BASE = ExpertsArchitecture().resolved()


def count(network: nn.Module, *, trained: bool = False) -> int:
    return sum(p.numel() for p in network.parameters() if p.requires_grad or not trained)


@pytest.mark.parametrize(("vocabulary", "whole"), [(50_257, 49_225_728), (32_000, 42_215_040), (259, 30_026_496)])
def test_the_whole_model(vocabulary: int, whole: int) -> None:
    mixture = build("mixture", BASE, vocabulary)
    assert isinstance(mixture, Mixture)
    assert count(mixture) == whole
    assert count(mixture.embedding) == vocabulary * 384
    assert count(mixture, trained=True) == vocabulary * 384 + 590_208 + 1_152


def test_experts_and_their_parts() -> None:
    mixture = build("mixture", BASE, 259)
    assert isinstance(mixture, Mixture)
    assert [count(mixture.experts[name]) for name in EXPERTS] == [14_160_768, 5_573_760, 9_601_152]
    blocks = [next(iter(mixture.experts[name].blocks)) for name in EXPERTS]
    assert [count(block) for block in blocks] == [2_360_064, 928_896, 2_067_840]
    assert count(mixture.experts["diffuser"].time) == 1_181_568
    assert count(mixture.norm) + count(mixture.attention) == 590_208
    assert count(mixture.router) == 1_152


def test_latents_make_the_attention_smaller() -> None:
    latent = BASE.model_copy(update={"mixture": MixtureSection(kv_latent_dim=128)})
    mixture = build("mixture", latent, 259)
    assert isinstance(mixture, Mixture)
    # Query, latent and its norm, the shared key, keys of half a head, values, and the output.
    parts = 384 * 384 + 128 * 384 + 128 + 32 * 384 + 128 * 6 * 32 + 128 * 384 + 384 * 384
    assert count(mixture.attention) == parts


@pytest.mark.parametrize("role", EXPERTS)
def test_a_text_model_is_an_embedding_and_an_expert(role: str) -> None:
    model = build(role, BASE, 100)
    sizes = {"transformer": 14_160_768, "state_space": 5_573_760, "diffuser": 9_601_152}
    encoder = sizes["transformer"] if role == "diffuser" else 0
    assert count(model) == 100 * 384 + encoder + sizes[role]
    assert count(model, trained=True) == sizes[role] + (0 if role == "diffuser" else 100 * 384)
