"""Particle Transformer: who takes part in the bias, what it sees, and what it is told when momenta are missing."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
import torch
from hand_made_objects import events, inputs, ragged_events
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from tabstar_lit.errors import ConfigError
from tabstar_lit.families.hep.architecture.jagged import ParticleAttention, ParticleTransformerArchitecture
from tabstar_lit.families.hep.batch import Features
from tabstar_lit.families.hep.networks.pairwise import PairwiseBias
from tabstar_lit.families.hep.networks.particle_transformer import ParticleTransformer


def bias_of(features: Features, **options: object) -> Tensor:
    torch.manual_seed(0)
    config = ParticleAttention.model_validate({"embedding_dim": 4, **options})
    mask = torch.cat([objects.mask for objects in features.objects.values()], dim=1)
    bias: Tensor = PairwiseBias(config, ("jets", "leptons"), heads=2).eval()(features.objects, mask)
    return bias


def test_only_the_listed_types_take_part() -> None:
    features = events([5, 5], [2, 2])
    everyone, jets = bias_of(features), bias_of(features, objects=("jets",))
    assert everyone.shape == (2, 2, 7, 7)
    assert everyone.ne(0).all()
    torch.testing.assert_close(jets[..., :5, :5], everyone[..., :5, :5])
    assert jets[..., 5:, :].eq(0).all()
    assert jets[..., :, 5:].eq(0).all()


def test_types_that_take_no_part_need_no_momenta() -> None:
    features = ragged_events()
    leptons = features.objects["leptons"]
    without = leptons._replace(momenta=leptons.momenta[..., :0])
    features = features._replace(objects={**features.objects, "leptons": without})
    assert torch.isfinite(bias_of(features, objects=("jets",))).all()
    with pytest.raises(ConfigError, match="momenta of leptons"):
        bias_of(features)


def test_the_rest_mass_of_a_type_reaches_its_pairs() -> None:
    features = events([5, 5], [2, 2])
    jets = features.objects["jets"]
    massless = jets._replace(momenta=jets.momenta * torch.tensor([1.0, 1.0, 1.0, 0.0]))
    features = features._replace(objects={**features.objects, "jets": massless})
    light, heavy = bias_of(features), bias_of(features, rest_mass={"jets": 50.0})
    assert (light - heavy)[..., :5, :5].abs().min() > 0
    torch.testing.assert_close(light[..., 5:, 5:], heavy[..., 5:, 5:])


def test_the_bias_steers_the_answer_and_follows_physics_only() -> None:
    torch.manual_seed(0)
    config = ParticleTransformerArchitecture.model_validate(
        {"model": "ParticleTransformer", "embedding_dim": 8, "heads": 2, "dim_head": 4, "particle_blocks": 1}
    )
    network = ParticleTransformer(config, inputs(), 1).eval()
    for parameter in network.parameters():
        parameter.data += 0.2 * torch.randn_like(parameter)
    features = events([5, 4], [2, 1])

    def moved(**changes: Tensor) -> Tensor:
        parts = {
            name: objects._replace(
                momenta=torch.stack(
                    [changes.get(column, torch.zeros(())) + objects.momenta[..., place] for place, column in COLUMNS],
                    -1,
                )
            )
            for name, objects in features.objects.items()
        }
        logits: Tensor = network(features._replace(objects=parts))
        return logits

    torch.testing.assert_close(moved(phi=torch.tensor(1.0)), network(features), atol=1e-5, rtol=1e-5)
    assert (moved(energy=torch.tensor(100.0)) - network(features)).abs().min() > 1e-4


class Operators(TorchDispatchMode):
    """Count the operators that run."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.counts[func.overloadpacket.__name__] += 1
        return func(*args, **(kwargs or {}))


def test_gradients_of_pairs_are_read_and_not_added_up_place_by_place() -> None:
    torch.manual_seed(0)
    config = ParticleTransformerArchitecture(
        model="ParticleTransformer", embedding_dim=8, heads=2, dim_head=4, particle_blocks=2
    )
    network = ParticleTransformer(config, inputs(), 1)
    loss = network(events([5, 4], [2, 1])).square().sum()
    with Operators() as ran:
        loss.backward()
    assert network.bias is not None
    assert float(network.bias.embed.head.weight.grad.abs().max()) > 0  # type: ignore[union-attr]  # it has one now
    assert ran.counts["index_select"] >= 2, "the matrix of pairs is read twice"
    slow = ("index_put", "index_put_", "_index_put_impl_", "index_add", "index_add_", "scatter_add", "scatter_add_")
    assert not {name: ran.counts[name] for name in slow if name in ran.counts}


COLUMNS = list(enumerate(("pt", "eta", "phi", "energy")))
