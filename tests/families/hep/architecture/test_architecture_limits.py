"""Where the schemas of architectures begin and end, and what is said about keys that are wrong together."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from tabstar_lit.config.tree import dotted
from tabstar_lit.families.hep.architecture.union import SignalArchitecture
from tabstar_lit.families.hep.networks.check import network_problems


def architecture(model: str, **options: Any) -> Any:
    return TypeAdapter(SignalArchitecture).validate_json(json.dumps({"model": model, **options}))


@pytest.mark.parametrize(
    ("model", "options"),
    [
        ("MLP", {"dropout": 0.0}),
        ("MLP", {"n_layers": 1, "n_hidden": 1, "ensemble": {"members": 1}}),
        ("ResNet", {"block_size": 1, "res_layers": [1]}),
        ("DeepSets", {"encoder_layers": 1, "decoder_layers": [1]}),
        ("SetTransformer", {"decoder_depth": 0, "set_predictor": {"depth": 0}}),
        ("SetTransformer", {"valid_type_values": {"jets": {"flavour": [0]}}}),
        ("ParticleTransformer", {"particle_attention": {"rest_mass": 0, "quantities": ["z"]}}),
        ("ParticleTransformer", {"particle_attention": {"rest_mass": {"jets": 0.5}, "objects": []}}),
        ("ParticleTransformer", {"particle_attention": None}),
    ],
)
def test_the_least_that_makes_sense_is_taken(model: str, options: dict[str, Any]) -> None:
    assert list(network_problems(architecture(model, **options))) == []


@pytest.mark.parametrize(
    ("model", "options", "place"),
    [
        ("MLP", {"dropout": -0.1}, "dropout"),
        ("MLP", {"n_layers": 0}, "n_layers"),
        ("MLP", {"layers_dim": [8, 0]}, "layers_dim"),
        ("MLP", {"ensemble": {"members": 0}}, "ensemble.members"),
        ("MLP", {"post_embeddings": {"dropout": 1}}, "post_embeddings.dropout"),
        ("MLP", {"embeddings": {"ple": {"dropout": 1}}}, "embeddings.ple"),
        ("MLP", {"output_dim": 0}, "output_dim"),
        ("ResNet", {"block_size": 0}, "block_size"),
        ("ResNet", {"res_layers": []}, "res_layers"),
        ("EventTransformer", {"attn_dropout": 1}, "attn_dropout"),
        ("EventTransformer", {"transformer_depth": 0}, "transformer_depth"),
        ("DeepSets", {"encoder_layers": 0}, "encoder_layers"),
        ("DeepSets", {"embeddings": {"reduction": "none"}}, "embeddings.reduction"),
        ("SetTransformer", {"encoder_depth": 0}, "encoder_depth"),
        ("SetTransformer", {"seed_strategy": "slots"}, "seed_strategy"),
        ("SetTransformer", {"valid_type_values": {"jets": {"flavour": [1.5]}}}, "valid_type_values.jets"),
        ("SetTransformer", {"flat_embeddings_fuse": {"mode": "max"}}, "flat_embeddings_fuse.mode"),
        ("SetTransformer", {"flat_model_fuse": {"mode": "cat_proj"}}, "flat_model_fuse.mode"),
        ("SetTransformer", {"flat_model": {"model": "SetTransformer"}}, "flat_model"),
        ("ParticleTransformer", {"class_blocks": 0}, "class_blocks"),
        ("ParticleTransformer", {"particle_attention": {"quantities": []}}, "particle_attention.quantities"),
        ("ParticleTransformer", {"particle_attention": {"quantities": ["dr"]}}, "particle_attention.quantities"),
        ("ParticleTransformer", {"particle_attention": {"rest_mass": -1}}, "particle_attention.rest_mass"),
        ("ParticleTransformer", {"particle_attention": {"rest_mass": {"jets": -1}}}, "particle_attention.rest_mass"),
    ],
)  # fmt: skip
def test_less_than_that_is_refused_at_its_place(model: str, options: dict[str, Any], place: str) -> None:
    with pytest.raises(ValidationError) as refused:
        architecture(model, **options)
    assert all(dotted(error["loc"]).startswith(f"{model}.{place}") for error in refused.value.errors())


@pytest.mark.parametrize(
    ("options", "widths"),
    [
        ({}, (256,) * 4),
        ({"n_layers": 3, "n_hidden": 8}, (8, 8, 8)),
        ({"n_layers": 3, "num_blocks": 2, "n_hidden": 8}, (8, 8)),
        ({"num_blocks": 2, "n_hidden": 8, "res_layers": [4, 5, 6]}, (4, 5, 6)),
    ],
)
def test_blocks_of_a_resnet_are_counted_by_the_most_special_key(
    options: dict[str, Any], widths: tuple[int, ...]
) -> None:
    assert architecture("ResNet", **options).block_widths == widths


def test_layers_of_deep_sets_are_a_number_or_widths() -> None:
    sets = architecture("DeepSets", n_hidden=7, encoder_layers=3, decoder_layers=[5, 4])
    assert sets.encoder_widths == (7, 7, 7)
    assert sets.decoder_widths == (5, 4)


@pytest.mark.parametrize(
    ("ple", "expected"), [(False, None), (True, (False, False, None)), ({"learn_bins": True}, (False, True, None))]
)
def test_bins_are_read_where_piecewise_encoding_is_on(ple: Any, expected: tuple[bool, bool, None] | None) -> None:
    own = architecture("MLP", embeddings={"ple": ple})
    assert own.reads_bins is (expected is not None)
    options = own.embeddings.piecewise
    assert (options and (options.uniform_bins, options.learn_bins, options.act)) == expected


def test_tabstar_reads_no_bins() -> None:
    assert not architecture("TabSTAR").reads_bins


@pytest.mark.parametrize(
    ("ways", "named"),
    [
        (["numer_feature_wise_linear", "numer_shared_linear"], "numer_shared_linear"),
        (["numer_feature_wise_linear", "ple"], "ple"),
        (["numer_feature_wise_linear", "numer_shared_linear", "ple"], "ple"),
    ],
)
def test_ways_of_embedding_a_number_exclude_each_other(ways: list[str], named: str) -> None:
    (problem,) = architecture("MLP", embeddings=dict.fromkeys(ways, True)).embeddings.problems()
    assert problem.path == (named,)
    assert problem.message == f"{' and '.join(ways)} exclude each other; keep one."


@pytest.mark.parametrize("way", ["numer_feature_wise_linear", "numer_shared_linear", "ple"])
def test_one_way_of_embedding_a_number_is_no_problem(way: str) -> None:
    assert list(architecture("MLP", embeddings={way: True}).embeddings.problems()) == []


@pytest.mark.parametrize("key", ["layernorm", "batchnorm"])
def test_one_normalisation_is_no_problem(key: str) -> None:
    assert list(architecture("MLP", post_embeddings={key: True}).post_embeddings.problems()) == []


def test_a_quantity_is_listed_once() -> None:
    attention = architecture("ParticleTransformer", particle_attention={"quantities": ["kt", "z", "kt"]})
    (problem,) = attention.particle_attention.problems()
    assert problem.path == ("quantities",)
    assert "twice" in problem.message
    assert list(architecture("ParticleTransformer").particle_attention.problems()) == []


@pytest.mark.parametrize("model", ["MLP", "DeepSets"])
def test_a_gate_fits_stacks_of_linear_layers(model: str) -> None:
    assert list(network_problems(architecture(model, act="GeGLU"))) == []
    beside = {"flat_model": {"model": model, "act": "GeGLU"}}
    assert list(network_problems(architecture("SetTransformer", **beside))) == []


def test_all_mistakes_of_nested_sections_are_told_with_their_place() -> None:
    options = {
        "act_out": "Sigmoidd",
        "set_predictor": {"act": "Relu"},
        "post_flat_embeddings": {"act": "GeGLU"},
        "flat_model": {"model": "ResNet", "act_kwargs": {"slope": 1}, "embeddings": {"ple": {"act": "x"}}},
        "flat_model_fuse": {"mode": "attn", "fuse_kwargs": {"heads": 2}},
        "compile_kwargs": {"model": "x"},
    }
    found = network_problems(architecture("SetTransformer", **options), ("model_config", "architecture_config"))
    assert {dotted(problem.path).removeprefix("model_config.architecture_config.") for problem in found} == {
        "act_out",
        "set_predictor.act",
        "post_flat_embeddings.act",
        "flat_model.act_kwargs.slope",
        "flat_model.embeddings.ple.act",
        "compile_kwargs.model",
    }


@pytest.mark.parametrize(
    ("model", "options", "reads"),
    [
        ("SetTransformer", {}, False),
        ("SetTransformer", {"embeddings": {"ple": True}}, True),
        ("SetTransformer", {"flat_embeddings": {"ple": True}}, True),
        ("ParticleTransformer", {"flat_embeddings": {"ple": {"learn_bins": True}}}, True),
        ("DeepSets", {"flat_model": {"model": "MLP", "embeddings": {"ple": True}}}, True),
        ("DeepSets", {"flat_model": {"model": "MLP"}, "flat_embeddings": {}}, False),
    ],
)
def test_bins_are_read_wherever_a_part_embeds_numbers_by_them(model: str, options: dict[str, Any], reads: bool) -> None:
    assert architecture(model, **options).reads_bins is reads
