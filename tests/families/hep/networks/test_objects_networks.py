"""What every network of objects keeps: exact masks, order, empty events, fusion, tracing and export."""

from __future__ import annotations

import pytest
import torch
from hand_made_objects import events, inputs, padded, permuted, ragged_events
from torch import nn

from tabstar_lit.errors import ConfigError
from tabstar_lit.families.hep.architecture.jagged import (
    DeepSetsArchitecture,
    ObjectsArchitecture,
    ParticleTransformerArchitecture,
    SetTransformerArchitecture,
)
from tabstar_lit.families.hep.batch import Features, Inputs
from tabstar_lit.families.hep.networks.deepsets_jagged import DeepSets
from tabstar_lit.families.hep.networks.particle_transformer import ParticleTransformer
from tabstar_lit.families.hep.networks.set_transformer import SetTransformer

SMALL = {"embedding_dim": 8, "heads": 2, "dim_head": 4}
SETS = {**SMALL, "encoder_depth": 2, "decoder_depth": 1}
PARTICLES = {**SMALL, "particle_blocks": 2, "class_blocks": 1}
CHEAP = {"particle_attention": {"embedding_dim": 4, "embedding_layers": 1}}
DEEP = {"n_hidden": 8}

VARIANTS: dict[str, ObjectsArchitecture] = {
    "deepsets": DeepSetsArchitecture(model="DeepSets", **DEEP),
    "deepsets_cat": DeepSetsArchitecture(
        model="DeepSets", mean_pooling=False, act="GeGLU", flat_embeddings_fuse={"mode": "cat"}, **DEEP
    ),
    "deepsets_norms": DeepSetsArchitecture(
        model="DeepSets", post_embeddings={"batchnorm": True, "act": "GELU"}, embeddings={"reduction": "attn"}, **DEEP
    ),
    "set": SetTransformerArchitecture(model="SetTransformer", **SETS),
    "set_layernorm": SetTransformerArchitecture(
        model="SetTransformer",
        use_setnorm=False,
        seed_strategy="objects",
        set_predictor={"depth": 2, "act": "GELU", "mean_pooling": True},
        flat_embeddings_fuse={"mode": "gate"},
        **SETS,
    ),
    "set_particles": SetTransformerArchitecture(
        model="SetTransformer",
        seed_strategy="particles",
        add_particle_types=True,
        valid_type_values={"jets": {"flavour": ("#1", "#2")}},
        first_attn_no_residual=True,
        embeddings={"ple": True, "reduction": "conv1d"},
        **SETS,
    ),
    "particle": ParticleTransformerArchitecture(model="ParticleTransformer", **CHEAP, **PARTICLES),
    "particle_cat": ParticleTransformerArchitecture(
        model="ParticleTransformer",
        flat_embeddings={"embedding_dim": 4},
        flat_embeddings_fuse={"mode": "cat"},
        particle_attention={"objects": ("jets",), "embedding_dim": 4, "quantities": ("kt", "m2"), "rest_mass": 0.1},
        **PARTICLES,
    ),
    "particle_plain": ParticleTransformerArchitecture(
        model="ParticleTransformer",
        particle_attention=None,
        add_particle_types=True,
        sdp_backend={"enable_flash": False},
        **PARTICLES,
    ),
}
NETWORKS: dict[str, type[nn.Module]] = {
    "DeepSets": DeepSets,
    "SetTransformer": SetTransformer,
    "ParticleTransformer": ParticleTransformer,
}


def build(variant: str, given: Inputs | None = None, outputs: int = 3) -> nn.Module:
    """Return the network with all parameters off their start, where zeros and ones may hide something."""
    torch.manual_seed(0)
    config = VARIANTS[variant]
    network = NETWORKS[config.model](config, given or inputs(), outputs)
    for parameter in network.parameters():
        parameter.data += 0.2 * torch.randn_like(parameter)
    return network


def trained(network: nn.Module) -> nn.Module:
    """Return it in evaluation, with running statistics that are not those of the start."""
    network.train()
    with torch.no_grad():
        network(ragged_events())
    return network.eval()


@pytest.fixture(params=VARIANTS)
def network(request: pytest.FixtureRequest) -> nn.Module:
    return build(request.param)


def without_dropout(network: nn.Module) -> nn.Module:
    """Return it in training, where batch statistics count, without what is random."""
    network.train()
    for module in network.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
        if hasattr(module, "dropout") and isinstance(module.dropout, float):
            module.dropout = 0.0
    return network


@pytest.mark.parametrize("training", [False, True])
def test_more_padding_changes_no_output(network: nn.Module, training: bool) -> None:
    network = without_dropout(network) if training else trained(network)
    expected = network(ragged_events())
    for more in (0, 1, 7):
        torch.testing.assert_close(network(padded(ragged_events(), more)), expected, atol=1e-6, rtol=1e-6)


def test_more_padding_changes_no_gradient(network: nn.Module) -> None:
    network = without_dropout(network)
    gradients = []
    for features in (ragged_events(), padded(ragged_events(), 3)):
        network.zero_grad()
        network(features).square().sum().backward()
        gradients.append([p.grad.clone() for p in network.parameters() if p.grad is not None])
    for plain, with_padding in zip(*gradients, strict=True):
        torch.testing.assert_close(with_padding, plain, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("jets", "leptons"), [([3, 0, 5, 1], [2, 0, 0, 1]), ([0, 0, 0], [0, 0, 0]), ([1, 1], [0, 0]), ([0, 0], [1, 2])]
)
def test_gradients_are_finite_with_and_without_objects(network: nn.Module, jets: list[int], leptons: list[int]) -> None:
    network.train()
    network(padded(events(jets, leptons), 2)).square().sum().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is None or torch.isfinite(parameter.grad).all(), name
    assert all(torch.isfinite(buffer).all() for buffer in network.buffers() if buffer.is_floating_point())


def test_every_parameter_learns(network: nn.Module) -> None:
    without_dropout(network)(ragged_events()).square().sum().backward()
    assert [name for name, parameter in network.named_parameters() if parameter.grad is None] == []


def test_the_order_of_objects_does_not_matter(network: nn.Module) -> None:
    network = trained(network)
    shuffled = permuted(ragged_events(), [4, 2, 0, 3, 1])
    torch.testing.assert_close(network(shuffled), network(ragged_events()), atol=1e-5, rtol=1e-5)


def test_events_do_not_see_each_other_in_evaluation(network: nn.Module) -> None:
    network = trained(network)
    everything = network(ragged_events())
    for event in range(4):
        alone = network(one_event(ragged_events(), event))
        torch.testing.assert_close(alone[0], everything[event], atol=1e-5, rtol=1e-5)


def one_event(features: Features, event: int) -> Features:
    """Return a batch of one."""
    row = slice(event, event + 1)
    parts = {name: type(o)(*(part[row] for part in o)) for name, o in features.objects.items()}
    return Features(features.numerical[row], features.categorical[row], parts)


def test_objects_and_event_features_are_read(network: nn.Module) -> None:
    network, features = trained(network), ragged_events()
    before = network(features)
    jets = features.objects["jets"]
    changed = features._replace(objects={**features.objects, "jets": jets._replace(numerical=jets.numerical * 2)})
    assert (network(changed)[[0, 2, 3]] - before[[0, 2, 3]]).abs().sum(dim=1).min() > 1e-5
    other_event = network(features._replace(numerical=features.numerical + 1))
    assert (other_event[[0, 2, 3]] - before[[0, 2, 3]]).abs().sum(dim=1).min() > 1e-5


def test_double_precision(network: nn.Module) -> None:
    network = trained(network)
    expected = network(ragged_events())
    features = ragged_events()
    doubled = {
        name: o._replace(numerical=o.numerical.double(), momenta=o.momenta.double())
        for name, o in features.objects.items()
    }
    got = network.double()(Features(features.numerical.double(), features.categorical, doubled))
    assert got.dtype == torch.float64
    torch.testing.assert_close(got.float(), expected, atol=1e-4, rtol=1e-4)


def test_the_trace_is_complete(network: nn.Module) -> None:
    network = trained(network)
    compiled = torch.compile(network, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(ragged_events()), network(ragged_events()))


@pytest.mark.parametrize("model", NETWORKS)
def test_works_without_event_features(model: str) -> None:
    variant = {"DeepSets": "deepsets", "SetTransformer": "set", "ParticleTransformer": "particle"}[model]
    network = build(variant, inputs(event=False), outputs=1).eval()
    assert network(ragged_events(event=False)).shape == (4, 1)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"valid_type_values": {"jet": {"flavour": (1,)}}}, ["'jet'", "jets, leptons", "Did you mean 'jets'"]),
        ({"valid_type_values": {"jets": {"flavor": (1,)}}}, ["valid_type_values.jets", "Did you mean 'flavour'"]),
        ({"valid_type_values": {"leptons": {"pt": (1,)}}}, ["'pt'", "none"]),
        ({"particle_attention": {"objects": ("lepton",)}}, ["particle_attention.objects", "Did you mean 'leptons'"]),
        ({"particle_attention": {"rest_mass": {"muons": 0.1}}}, ["particle_attention.rest_mass", "'muons'"]),
    ],
)
def test_unknown_names_are_refused(options: dict[str, object], words: list[str]) -> None:
    config = ParticleTransformerArchitecture.model_validate({"model": "ParticleTransformer", **PARTICLES, **options})
    with pytest.raises(ConfigError, match="architecture_config") as refusal:
        ParticleTransformer(config, inputs(), 1)
    assert [word for word in words if word not in str(refusal.value)] == []
