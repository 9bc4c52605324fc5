"""What flat architectures accept and what is said about the rest; networks and features that do not fit together."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
import torch
from pydantic import TypeAdapter, ValidationError
from torch import nn

from tabstar_lit.config.tree import dotted
from tabstar_lit.errors import ConfigError
from tabstar_lit.families.hep.architecture.union import SignalArchitecture
from tabstar_lit.families.hep.batch import Columns, Features, Inputs, Objects
from tabstar_lit.families.hep.networks.build import build_network
from tabstar_lit.families.hep.networks.check import network_problems

EVENTS = Columns(("pt", "eta"))
FLAT = Inputs(EVENTS, {})
JAGGED = Inputs(EVENTS, {"jets": Columns(("pt",), max_objects=2)})


def architecture(**options: Any) -> Any:
    return TypeAdapter(SignalArchitecture).validate_json(json.dumps(options))


def test_defaults_are_those_of_the_documentation() -> None:
    transformer = architecture(model="EventTransformer")
    sizes = (transformer.embedding_dim, transformer.transformer_depth, transformer.heads, transformer.dim_head)
    assert sizes == (32, 6, 8, 16)
    assert (transformer.ff_hidden_mult, transformer.attn_dropout, transformer.ff_dropout) == (4, 0.1, 0.1)
    assert (transformer.use_cls_token, transformer.remove_first_attn_layernorm) == (True, False)
    assert architecture(model="ResNet", num_blocks=3).block_widths == (256, 256, 256)
    assert architecture(model="ResNet", n_layers=2, n_hidden=8).block_widths == (8, 8)
    assert architecture(model="MLP", layers_dim=[3, 2]).widths == (3, 2)
    assert architecture(model="DeepSets", encoder_layers=[4, 5], n_hidden=6).decoder_widths == (6, 6)
    assert architecture(model="MLP", embeddings={"ple": True}).embeddings.piecewise is not None
    assert architecture(model="MLP").embeddings.piecewise is None


@pytest.mark.parametrize(
    "options",
    [
        {"model": "MLPs"},
        {"model": "MLP", "n_layer": 3},
        {"model": "MLP", "dropout": 1.0},
        {"model": "MLP", "layers_dim": []},
        {"model": "MLP", "embeddings": {"reduction": "max"}},
        {"model": "EventTransformer", "embeddings": {"reduction": "mean"}},
    ],
    ids=str,
)
def test_the_schema_refuses(options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        architecture(**options)


@pytest.mark.parametrize(
    ("options", "section", "message"),
    [
        (
            {"embeddings": {"ple": True, "numer_shared_linear": True}},
            "embeddings",
            "numer_shared_linear and ple exclude",
        ),
        ({"post_embeddings": {"layernorm": True, "batchnorm": True}}, "post_embeddings", "exclude each other"),
    ],
)
def test_keys_that_exclude_each_other(options: dict[str, Any], section: str, message: str) -> None:
    (problem,) = getattr(architecture(model="MLP", **options), section).problems()
    assert message in problem.message


def test_one_attention_kernel_must_be_left() -> None:
    kernels = dict.fromkeys(("enable_math", "enable_flash", "enable_mem_efficient", "enable_cudnn"), False)
    (problem,) = architecture(model="EventTransformer", sdp_backend=kernels).sdp_backend.problems()
    assert "every kernel" in problem.message
    assert architecture(model="EventTransformer", sdp_backend={"enable_cudnn": False}).sdp_backend.names == (
        "math",
        "flash",
        "mem_efficient",
    )


def test_a_residual_block_keeps_its_width() -> None:
    (problem,) = architecture(model="ResNet", act="GeGLU").problems()
    assert problem.path == ("act",)


@pytest.mark.parametrize(
    ("options", "place", "message"),
    [
        ({"model": "MLP", "act": "Sofplus"}, "act", "'Sofplus' is unknown"),
        ({"model": "MLP", "act_out": "GeGLU"}, "act_out", "halves the width"),
        ({"model": "MLP", "act_kwargs": {"inplce": True}}, "act_kwargs.inplce", "of ReLU"),
        ({"model": "DeepSets", "post_embeddings": {"act": "GeGLU"}}, "post_embeddings.act", "halves the width"),
        ({"model": "MLP", "embeddings": {"ple": {"act": "Rlu"}}}, "embeddings.ple.act", "'Rlu' is unknown"),
        ({"model": "MLP", "compile_kwargs": {"bakend": "eager"}}, "compile_kwargs.bakend", "of torch.compile"),
        (
            {"model": "SetTransformer", "flat_model": {"model": "MLP", "act": "Rlu"}},
            "flat_model.act",
            "'Rlu' is unknown",
        ),
        (
            {"model": "SetTransformer", "flat_embeddings_fuse": {"mode": "add", "fuse_kwargs": {"heads": 2}}},
            "flat_embeddings_fuse.fuse_kwargs.heads",
            "fusion add",
        ),
    ],
)
def test_names_only_torch_knows(options: dict[str, Any], place: str, message: str) -> None:
    (problem,) = network_problems(architecture(**options))
    assert dotted(problem.path) == place
    assert message in problem.message


def test_right_names_are_no_problem() -> None:
    options = {"act": "GeGLU", "act_out": "Softplus", "compile_kwargs": {"dynamic": True}}
    assert list(network_problems(architecture(model="MLP", **options))) == []


@pytest.mark.parametrize(
    ("options", "inputs", "message"),
    [
        ({"model": "MLP"}, JAGGED, "MLP reads event features only, but dataset_config.features has objects (jets)"),
        ({"model": "SetTransformer"}, FLAT, "needs objects, such as jets"),
        ({"model": "MLP", "output_dim": 3}, FLAT, "output_dim is 3, but dataset_config.classes needs 1"),
        ({"model": "MLP", "embeddings": {"ple": True}}, FLAT, "dataset_config.ple_bins is null"),
        ({"model": "MLP", "disable_embeddings": True}, Inputs(Columns(), {}), "no feature"),
        ({"model": "MLP"}, Inputs(Columns(), {}), "no feature for this part of the network"),
        ({"model": "DeepSets", "flat_model": {"model": "MLP"}}, FLAT, "beside a network of objects"),
        (
            {"model": "DeepSets", "flat_model": {"model": "MLP", "ensemble": {"members": 2}}},
            JAGGED,
            "an ensemble cannot be fused",
        ),
    ],
)
def test_what_does_not_fit_together(options: dict[str, Any], inputs: Inputs, message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        build_network(architecture(**options), inputs, 1)


def test_a_flat_network_beside_a_jagged_one_reads_the_event() -> None:
    options = {"flat_model": {"model": "MLP", "n_hidden": 8}, "flat_model_fuse": {"mode": "add"}}
    network = build_network(architecture(model="DeepSets", n_hidden=8, **options), JAGGED, 2).eval()
    jets = Objects(torch.randn(3, 2, 1), torch.zeros(3, 2, 0, dtype=torch.long), torch.rand(3, 2) < 0.7,
                   torch.zeros(3, 2, 0))  # fmt: skip
    features = Features(torch.randn(3, 2), torch.zeros(3, 0, dtype=torch.long), {"jets": jets})
    assert isinstance(network.flat, nn.Module)
    torch.testing.assert_close(network(features), network.flat(features) + network.jagged(features))
