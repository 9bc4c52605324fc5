"""Numbers of parameters against those of the published networks."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hand_made_samples import some_facts
from torch import nn

from tabstar_lit.families.microbes.architecture import MicrobesArchitecture, PredictorArchitecture
from tabstar_lit.families.microbes.build import build_network
from tabstar_lit.families.microbes.facts import StudyFacts

PUBLISHED = {
    (128, 4, 2): (1_344_007, 2_138_505),
    (128, 4, 4): (2_533_639, 4_121_225),
    (768, 6, 4): (85_980_679, 142_692_105),
    (1152, 12, 8): (383_954_695, 639_010_953),
}


def as_published(width: int, heads: int, layers: int) -> MicrobesArchitecture:
    return MicrobesArchitecture(
        embedding_dim=width,
        heads=heads,
        asv_layers=layers,
        sample_layers=layers,
        encoder_layers=layers,
        count_embedding="none",
        compat=True,
        predictor=PredictorArchitecture(count_layers=layers, target_layers=layers),
    )


def a_study() -> StudyFacts:
    return some_facts(max_bases=150, targets=("age",), train_targets=np.arange(4.0)[:, None], categories={}, taxa=())


def parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize("sizes", PUBLISHED)
def test_networks_have_as_many_parameters_as_published(sizes: tuple[int, int, int]) -> None:
    with torch.device("meta"):
        networks = [build_network(role, as_published(*sizes), a_study()) for role in ("encoder", "predictor")]
    assert tuple(map(parameters, networks)) == PUBLISHED[sizes]


def test_parts_of_the_default_have_as_many_parameters_as_published() -> None:
    base = build_network("encoder", as_published(128, 4, 4), a_study()).base
    assert parameters(base.asv_encoder) == 814_855
    assert parameters(base.sample_encoder.transformer) == 793_344
    assert parameters(base.sample_encoder) == 793_344 + 131_712
    assert parameters(base.encoder) == 793_344
    assert parameters(base.pooling) == 384


def test_without_learned_positions_of_asvs_their_parameters_are_gone() -> None:
    config = as_published(128, 4, 4).model_copy(update={"compat": False})
    assert parameters(build_network("encoder", config, a_study())) == 2_533_639 - 131_712
