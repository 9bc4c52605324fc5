"""How objects of several types and the event become one set of vectors, and which of them count."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from hand_made_objects import EVENT, JETS, LEPTONS, events, inputs, ragged_events
from pydantic import TypeAdapter
from torch import nn
from torch.nn import functional

from tabstar_lit.errors import ConfigError
from tabstar_lit.families.hep.architecture.jagged import (
    DeepSetsArchitecture,
    ObjectEmbeddings,
    ParticleTransformerArchitecture,
)
from tabstar_lit.families.hep.architecture.sections import Embeddings, PostEmbeddings
from tabstar_lit.families.hep.architecture.union import SignalArchitecture
from tabstar_lit.families.hep.batch import Columns, Features, Inputs, Objects
from tabstar_lit.families.hep.networks.build import build_network, network_type
from tabstar_lit.families.hep.networks.deepsets_jagged import DeepSets
from tabstar_lit.families.hep.networks.features import OneHotFeatures, build_embedding
from tabstar_lit.families.hep.networks.objects import ObjectEmbedding, ProjectedType, TypeEmbedding, TypeMask
from tabstar_lit.families.hep.networks.pairwise import kinematics, pair_logs
from tabstar_lit.families.hep.networks.particle_transformer import ParticleTransformer
from tabstar_lit.nn.norms import MaskedBatchNorm, SetNorm

TWO = Columns((), ("jet_type", "charge"), (4, 3), max_objects=3, categories=(("5", "4", "15"), ("plus", "minus")))


def sets(**options: Any) -> DeepSetsArchitecture:
    return DeepSetsArchitecture.model_validate_json(json.dumps({"model": "DeepSets", "n_hidden": 8, **options}))


def codes(*pairs: tuple[int, int]) -> Objects:
    """Return one event with these objects of two categories, the last slot padded."""
    categorical = torch.tensor([[*pairs, (1, 1)]])
    mask = torch.arange(len(pairs) + 1)[None] < len(pairs)
    return Objects(torch.zeros(*mask.shape, 0), categorical, mask, torch.zeros(*mask.shape, 0))


@pytest.mark.parametrize(
    ("valid", "kept"),
    [
        ({}, [True, True, True, True, False]),
        ({"jet_type": ("5", "15")}, [True, False, True, True, False]),
        ({"charge": ("minus",)}, [True, True, False, False, False]),
        ({"charge": ("minus",), "jet_type": ("5", "15")}, [True, False, False, False, False]),
        ({"jet_type": ()}, [False] * 5),
        (("5", "15"), [True, False, True, True, False]),  # of the feature whose name ends in type
        ({"jet_type": ("#1", "#3"), "charge": ("#0",)}, [False, False, False, True, False]),  # codes of old checkpoints
    ],
)
def test_objects_count_whose_every_category_is_listed(valid: Any, kept: list[bool]) -> None:
    objects = codes((1, 2), (2, 2), (3, 1), (3, 0))
    assert TypeMask(TWO, valid, "jets")(objects).tolist() == [kept]


def test_values_are_those_of_the_file_whatever_their_codes() -> None:
    """5 is the category, not the fifth; numbers and names may be mixed."""
    read = sets(valid_type_values={"jets": [5, "15"], "leptons": {"charge": ["minus"]}}).valid_type_values
    assert read == {"jets": ("5", "15"), "leptons": {"charge": ("minus",)}}


@pytest.mark.parametrize(
    ("valid", "words"),
    [
        ({"jet_type": ("3",)}, r"jets\.jet_type lists '3', which no training event has\. It has: 5, 4, 15\."),
        ({"charge": ("mines",)}, r"jets\.charge lists 'mines', .* Did you mean 'minus'\?"),
        ({"jet_type": ("#4",)}, r"lists '#4'"),
    ],
)
def test_a_category_that_no_object_has_is_refused(valid: dict[str, tuple[str, ...]], words: str) -> None:
    with pytest.raises(ConfigError, match=rf"valid_type_values\.{words}" if "jets" in words else words):
        TypeMask(TWO, valid, "jets")


def test_a_list_is_of_the_one_feature_that_is_a_type() -> None:
    with pytest.raises(ConfigError, match=r"names no feature, and none of the .* \(flavour, charge\) end in 'type'"):
        TypeMask(Columns((), ("flavour", "charge"), (4, 3)), ("5",), "jets")


def test_all_features_of_an_object_are_projected_as_by_a_convolution() -> None:
    """As SeeSawML's ``conv1d_embedding``: batch norm, convolution of kernel size 1, batch norm, ReLU; of valid ones."""
    torch.manual_seed(0)
    embedding = ObjectEmbedding(sets(embeddings={"conv1d_embedding": True}), inputs(event=False), 8)
    own = embedding.embeddings[0]
    assert isinstance(own, ProjectedType)
    theirs = nn.Sequential(
        nn.BatchNorm1d(own.features.n_out), nn.Conv1d(own.features.n_out, 8, 1), nn.BatchNorm1d(8), nn.ReLU()
    )
    theirs[1].weight.data, theirs[1].bias.data = own.project.weight.data[..., None], own.project.bias.data
    objects = ragged_events(event=False).objects["jets"]
    there = own.features(objects.numerical, objects.categorical)[objects.mask]
    for _ in range(2):
        torch.testing.assert_close(own(objects, objects.mask)[objects.mask], theirs(there[..., None])[..., 0])
    torch.testing.assert_close(own.eval()(objects, objects.mask)[objects.mask], theirs.eval()(there[..., None])[..., 0])


def test_objects_of_equal_mean_are_told_apart_when_projected() -> None:
    torch.manual_seed(0)
    columns, objects = Columns(("a", "b")), torch.tensor([[[1.0, 3.0], [3.0, 1.0], [5.0, 5.0]]])
    embedding = ProjectedType(ObjectEmbeddings(conv1d_embedding=True), PostEmbeddings(), columns, 8)
    mask = torch.ones(1, 3, dtype=torch.bool)
    vectors = embedding(Objects(objects, torch.zeros(1, 3, 0, dtype=torch.long), mask, torch.zeros(1, 3, 0)), mask)[0]
    assert torch.dist(vectors[0], vectors[1]) > 0.5


def test_a_number_cannot_be_listed_by_its_values() -> None:
    with pytest.raises(ConfigError, match=r"valid_type_values\.jets names 'mass', .* categorical feature of jets"):
        TypeMask(JETS, {"mass": ("1",)}, "jets")


def test_each_type_has_a_vector_of_its_own_that_padding_does_not_get() -> None:
    torch.manual_seed(0)
    embedding = ObjectEmbedding(sets(add_particle_types=True), inputs(event=False), 8).eval()
    features = ragged_events(event=False)
    typed = embedding(features)
    vectors = embedding.type_vectors
    assert vectors is not None
    assert vectors.std().item() == pytest.approx(0.02, rel=0.5)
    vectors.data = torch.tensor([10.0, -20.0])[:, None].expand(2, 8).clone()
    moved = embedding(features)
    change = moved.vectors - typed.vectors
    jets, leptons = typed.mask.split([5, 2], dim=1)
    assert change[:, :5][jets].sub(10).abs().max() < 0.2
    assert change[:, 5:][leptons].add(20).abs().max() < 0.2
    assert moved.vectors[~moved.mask].eq(0).all()
    assert torch.equal(moved.mask, typed.mask)


@pytest.mark.parametrize(
    ("options", "event", "fuses"),
    [
        ({}, True, True),
        ({}, False, False),
        ({"flat_model": {"model": "MLP"}}, True, False),
        ({"flat_model": {"model": "MLP"}, "flat_embeddings": {}}, True, True),
    ],
)
def test_the_event_is_fused_unless_a_network_of_its_own_reads_it(
    options: dict[str, Any], event: bool, fuses: bool
) -> None:
    embedding = ObjectEmbedding(sets(flat_embeddings_fuse={"mode": "cat"}, **options), inputs(event=event), 8)
    assert (embedding.event is not None) is fuses
    assert embedding.extra_slots == int(fuses)
    vectors, mask = embedding(ragged_events(event=event))
    assert vectors.shape == (4, 7 + fuses, 8)
    assert mask.shape == (4, 7 + fuses)


def test_the_event_may_be_embedded_in_its_own_width_and_way() -> None:
    torch.manual_seed(0)
    options = {"flat_embeddings": {"embedding_dim": 3, "reduction": "conv1d"}, "post_flat_embeddings": {"act": "Tanh"}}
    embedding = ObjectEmbedding(sets(post_embeddings={"layernorm": True}, **options), inputs(), 8).eval()
    event, features = embedding.event, ragged_events()
    assert event is not None
    assert event.embed.width == 3
    tokens = event.embed.tokens(features.numerical, features.categorical)
    assert tokens.abs().max() < 1  # behind the Tanh of the event, without the norm of the objects
    fused, mask = embedding(features)
    vectors = torch.cat([part.vectors for part in embedding._by_type(features)], dim=1)
    expected = vectors + event.project(event.embed.reduction(tokens))[:, None]
    torch.testing.assert_close(fused, torch.where(mask[..., None], expected, 0.0))


def test_batch_norm_of_object_features_comes_before_activation_and_reduction() -> None:
    torch.manual_seed(0)
    post = PostEmbeddings(batchnorm=True, act="ReLU")
    embedding = TypeEmbedding(Embeddings(), post, LEPTONS, 4)
    objects = ragged_events().objects["leptons"]
    tokens = embedding.embed.tokens(objects.numerical, objects.categorical)
    there = tokens[objects.mask].flatten(0, -2)
    normed = functional.batch_norm(there, None, None, training=True).view(-1, 2, 4)
    torch.testing.assert_close(embedding(objects, objects.mask)[objects.mask], normed.relu().mean(1))


@pytest.mark.parametrize("mean", [True, False])
def test_types_are_averaged_or_put_side_by_side_with_the_event_as_one(mean: bool) -> None:
    torch.manual_seed(0)
    network = DeepSets(sets(mean_pooling=mean, flat_embeddings_fuse={"mode": "cat"}), inputs(), 1).eval()
    nn.init.normal_(network.empty)
    features = ragged_events()
    vectors, mask = network.objects(features)
    pooled = network._pool(features, vectors, mask)
    nothing = torch.stack([vectors[1, 0], network.empty[1], network.empty[2]])  # the second event has no object
    torch.testing.assert_close(pooled[1], nothing.mean(0) if mean else nothing.flatten())
    assert pooled.shape == (4, 8 if mean else 24)


def test_one_hot_codes_stand_feature_by_feature() -> None:
    one_hot = OneHotFeatures(2, (3, 1, 4))
    numerical = torch.randn(6, 2, dtype=torch.float64)
    categorical = torch.stack([torch.arange(6) % 3, torch.zeros(6).long(), torch.arange(6) % 4], dim=1)
    expected = [numerical, *(functional.one_hot(categorical[:, i], n).double() for i, n in enumerate((3, 1, 4)))]
    assert one_hot.n_out == 10
    torch.testing.assert_close(one_hot(numerical, categorical), torch.cat(expected, dim=1))


@pytest.mark.parametrize(
    ("options", "largest", "shared"),
    [
        ({}, 0.15, False),
        ({"numer_feature_wise_linear": True}, 1.0, False),
        ({"ple": True}, 0.708, False),
        ({"numer_shared_linear": True}, 0.15, True),
    ],
)
def test_numbers_start_as_their_way_of_embedding_says(options: dict[str, Any], largest: float, shared: bool) -> None:
    torch.manual_seed(0)
    embedding = build_embedding(Embeddings(**options), PostEmbeddings(), EVENT, 64)
    assert embedding.numerical is not None
    weight = embedding.numerical.weight
    assert 0.3 * largest < weight.abs().max() <= largest
    assert len(weight) == (1 if shared else 2)
    assert embedding.categorical is not None
    uniform = largest > 0.5
    assert (embedding.categorical.table.weight.abs().max() > 0.5) == uniform


def test_running_statistics_follow_torch_over_several_batches() -> None:
    own, theirs = MaskedBatchNorm(3, momentum=0.3), nn.BatchNorm1d(3, momentum=0.3)
    for seed in range(4):
        random = torch.Generator().manual_seed(seed)
        values, mask = torch.randn(5, 4, 3, generator=random) * 2 + 1, torch.rand(5, 4, generator=random) < 0.5
        torch.testing.assert_close(own(values, mask)[mask], theirs(values[mask]))
    torch.testing.assert_close(own.running_mean, theirs.running_mean)
    torch.testing.assert_close(own.running_var, theirs.running_var)
    torch.testing.assert_close(own.eval()(values, mask)[mask], theirs.eval()(values[mask]))


def test_a_batch_with_one_object_has_no_variance_and_is_survived() -> None:
    torch.manual_seed(0)
    norm = MaskedBatchNorm(2)
    normed = norm(torch.randn(3, 2, 2), torch.tensor([[True, False], [False, False], [False, False]]))
    assert normed[0, 0].abs().max() < 1e-4
    assert norm.running_var.tolist() == pytest.approx([0.9, 0.9])


def test_set_norm_scales_each_feature_and_leaves_its_shift_to_padding() -> None:
    norm = SetNorm(2)
    norm.weight.data, norm.bias.data = torch.tensor([2.0, -1.0]), torch.tensor([0.5, 3.0])
    values = torch.tensor([[[1.0, 3.0], [5.0, 7.0], [99.0, -99.0]]])
    seen = norm(values, torch.tensor([[True, True, False]]))
    plain = (values[0, :2] - 4.0) / 5**0.5
    torch.testing.assert_close(seen[0, :2], plain * norm.weight + norm.bias, atol=1e-5, rtol=1e-5)
    assert seen[0, 2].tolist() == [0.5, 3.0]


def test_a_rounded_energy_makes_no_negative_mass() -> None:
    momenta = torch.tensor([[[10.0, 1.0, 0.0, 15.0], [10.0, 1.0, 0.0, 20.0]]])  # the momentum is 15.43
    mass2 = kinematics(momenta, torch.ones(1, 2, dtype=torch.bool), torch.full((2,), 7.0)).mass2
    assert mass2[0, 0] == 0.0
    assert mass2[0, 1].item() == pytest.approx(20**2 - (10 * torch.tensor(1.0).cosh().item()) ** 2, rel=1e-5)


def test_azimuths_meet_behind_the_back() -> None:
    momenta = torch.tensor([[[10.0, 0.0, 3.1, 10.0], [10.0, 0.0, -3.1, 10.0]]], dtype=torch.float64)
    own = kinematics(momenta, torch.ones(1, 2, dtype=torch.bool), torch.zeros(2, dtype=torch.float64))
    first, second = (own.at(torch.tensor([slot])) for slot in (0, 1))
    distance = pair_logs(first, second, ("delta_r",)).exp().item()
    assert distance == pytest.approx(2 * (torch.pi - 3.1), rel=1e-9)
    assert pair_logs(first, first, ("delta_r",)).exp().item() == pytest.approx(1e-8)


def test_the_slot_of_the_event_has_no_pairwise_bias_and_padding_is_shut_out() -> None:
    torch.manual_seed(0)
    options = {"embedding_dim": 8, "heads": 2, "dim_head": 4, "flat_embeddings_fuse": {"mode": "cat"}}
    config = ParticleTransformerArchitecture.model_validate({"model": "ParticleTransformer", **options})
    network = ParticleTransformer(config, inputs(), 1).eval()
    features = events([5, 2], [2, 0])
    bias = network._bias(features, network.objects(features).mask)
    assert bias is not None
    assert bias[0, :, 0].eq(0).all()
    assert bias[0, :, :, 0].eq(0).all()
    assert bias[0, :, 1:, 1:].ne(0).all()
    assert bias[1, :, :, 3:].isneginf().all()
    assert bias[1, :, :3, :3].isfinite().all()


def test_the_network_follows_from_name_and_features() -> None:
    flat, jagged = Inputs(EVENT, {}), inputs()
    assert network_type("DeepSets", flat) is not network_type("DeepSets", jagged) is DeepSets
    with pytest.raises(ConfigError, match=r"has objects \(jets, leptons\)\. Networks .*: DeepSets, SetTransformer, P"):
        network_type("ResNet", jagged)
    with pytest.raises(ConfigError, match=r"has event features only\. .*: MLP, ResNet, DeepSets, EventTransformer, T"):
        network_type("ParticleTransformer", flat)


@pytest.mark.parametrize("wanted", [False, True])
def test_a_network_is_compiled_when_and_as_asked_for(wanted: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[dict[str, Any]] = []
    monkeypatch.setattr(nn.Module, "compile", lambda self, **options: seen.append(options))
    options = {"model": "MLP", "n_hidden": 4, "compile": wanted, "compile_kwargs": {"dynamic": True}}
    build_network(TypeAdapter(SignalArchitecture).validate_json(json.dumps(options)), Inputs(EVENT, {}), 1)
    assert seen == ([{"dynamic": True}] if wanted else [])


def test_flat_and_jagged_logits_reach_the_fusion_in_order() -> None:
    options = {"model": "DeepSets", "n_hidden": 4, "flat_model": {"model": "MLP", "n_hidden": 4},
               "flat_model_fuse": {"mode": "cat"}}  # fmt: skip
    network = build_network(TypeAdapter(SignalArchitecture).validate_json(json.dumps(options)), inputs(), 1).eval()
    fusion = network.get_submodule("fusion")
    fusion.get_parameter("combine.weight").data = torch.tensor([[1.0, 0.0]])
    fusion.get_parameter("combine.bias").data.zero_()
    features: Features = ragged_events()
    torch.testing.assert_close(network(features), network.get_submodule("flat")(features))
