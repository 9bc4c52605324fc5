"""Flat networks: shapes, gradients, sizes, formulas of their papers, and compilation."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
import torch
from pydantic import TypeAdapter
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from tabstar_lit.families.hep.architecture.union import SignalArchitecture
from tabstar_lit.families.hep.batch import Columns, Features, Inputs
from tabstar_lit.families.hep.networks.build import build_network
from tabstar_lit.families.hep.networks.flops import dense_flops
from tabstar_lit.nn.ensemble import EnsembleHeads
from tabstar_lit.nn.flops import TRAINED, linear_cost

EDGES = ((-2.0, -1.0, 0.0, 1.0, 2.0), (0.0, 0.0, 3.0), (1.0,))
INPUTS = Inputs(Columns(("pt", "eta", "mass"), ("charge", "n_jets"), (3, 4), EDGES), {})
NUMBERS = Inputs(Columns(tuple(f"x{i}" for i in range(20))), {})
NETWORKS: list[dict[str, Any]] = [
    {"model": "MLP", "n_hidden": 16, "n_layers": 2, "batchnorm": True, "dropout": 0.1},
    {"model": "MLP", "layers_dim": [16, 8], "disable_embeddings": True, "act": "GeGLU"},
    {"model": "MLP", "n_hidden": 16, "embeddings": {"ple": True, "reduction": "none"}, "embedding_dim": 4},
    {"model": "MLP", "n_hidden": 16, "ensemble": {"members": 3}, "batchnorm": True, "post_embeddings": {"act": "ReLU"}},
    {"model": "ResNet", "n_hidden": 16, "num_blocks": 2},
    {"model": "ResNet", "n_hidden": 16, "res_layers": [8, 24], "disable_embeddings": True, "act": "LeakyReLU",
     "act_kwargs": {"negative_slope": 0.2}},
    {"model": "DeepSets", "n_hidden": 16},
    {"model": "DeepSets", "encoder_layers": [16, 12], "decoder_layers": [8], "act": "GeGLU", "embedding_dim": 5},
    {"model": "EventTransformer", "transformer_depth": 2, "embeddings": {"ple": {"learn_bins": True}}},
    {"model": "EventTransformer", "transformer_depth": 2, "use_cls_token": False, "remove_first_attn_residual": True,
     "remove_first_attn_layernorm": True, "sdp_backend": {"enable_flash": False}},
]  # fmt: skip


def build(options: dict[str, Any], inputs: Inputs = INPUTS, output_dim: int = 1) -> nn.Module:
    architecture = TypeAdapter(SignalArchitecture).validate_json(json.dumps(options))
    return build_network(architecture, inputs, output_dim)


def events(n: int) -> Features:
    codes = torch.stack([torch.randint(0, 3, (n,)), torch.randint(0, 4, (n,))], dim=1)
    return Features(torch.randn(n, 3), codes, {})


@pytest.mark.parametrize("options", NETWORKS, ids=str)
@pytest.mark.parametrize("n", [1, 2, 7])
def test_shapes_and_gradients(options: dict[str, Any], n: int) -> None:
    network = build(options, output_dim=3)
    logits = network(events(n))
    members = options.get("ensemble", {}).get("members", 1)
    assert logits.shape == ((n, 3) if members == 1 else (n, members, 3))
    logits.square().sum().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
    assert network.eval()(events(n)).shape == (n, 3)


@pytest.mark.parametrize("options", NETWORKS, ids=str)
def test_events_do_not_see_each_other_in_evaluation(options: dict[str, Any]) -> None:
    network, features = build(options).eval().double(), events(7)
    features = features._replace(numerical=features.numerical.double())
    alone = [network(Features(features.numerical[i : i + 1], features.categorical[i : i + 1], {})) for i in range(7)]
    torch.testing.assert_close(network(features), torch.cat(alone))


@pytest.mark.parametrize("options", NETWORKS, ids=str)
def test_networks_train_in_mixed_precision(options: dict[str, Any]) -> None:
    network = build(options)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = network(events(4)).float().square().mean()
    loss.backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in network.parameters())


@pytest.mark.parametrize("options", NETWORKS, ids=str)
def test_networks_can_be_traced_by_compile(options: dict[str, Any]) -> None:
    torch.compiler.reset()
    compiled = build({**options, "compile": True, "compile_kwargs": {"backend": "eager"}}).eval()
    plain = build(options).eval()
    plain.load_state_dict(compiled.state_dict())
    features = events(4)
    torch.testing.assert_close(compiled(features), plain(features))


@pytest.mark.parametrize(
    ("options", "parameters"),
    [
        ({"disable_embeddings": True}, 203_009),
        ({}, 203_009 + (256 - 20) * 256 + 2 * 20 * 256),
    ],
)
def test_size_of_the_mlp(options: dict[str, Any], parameters: int) -> None:
    network = build({"model": "MLP", **options}, NUMBERS)
    assert sum(p.numel() for p in network.parameters()) == parameters


def test_an_ensemble_evaluates_to_the_mean_of_its_members() -> None:
    network = build({"model": "MLP", "n_hidden": 16, "ensemble": {"members": 4}})
    features = events(5)
    members = network(features)
    torch.testing.assert_close(network.eval()(features), members.mean(1))
    assert members.std(dim=1).min() > 0


def test_disabled_embeddings_are_numbers_and_one_hot_codes() -> None:
    network = build({"model": "MLP", "n_hidden": 16, "n_layers": 1, "disable_embeddings": True})
    features = events(6)
    codes = [functional.one_hot(features.categorical[:, i], size).float() for i, size in enumerate((3, 4))]
    layer, head = network.layers[0], network.head
    assert isinstance(layer, nn.Linear)
    expected = head(layer(torch.cat([features.numerical, *codes], dim=1)).relu())
    torch.testing.assert_close(network(features), expected)


def test_resnet_follows_the_paper() -> None:
    network = build({"model": "ResNet", "n_hidden": 16, "num_blocks": 2, "disable_embeddings": True, "dropout": 0.3})
    network.eval()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm1d):
            nn.init.normal_(module.weight)
            nn.init.normal_(module.running_mean)
    state = network.state_dict()

    def linear(name: str, x: Tensor) -> Tensor:
        return functional.linear(x, state[f"{name}.weight"], state[f"{name}.bias"])

    def norm(name: str, x: Tensor) -> Tensor:
        part = [state[f"{name}.{key}"] for key in ("running_mean", "running_var", "weight", "bias")]
        return functional.batch_norm(x, *part)

    features = events(6)
    codes = [functional.one_hot(features.categorical[:, i], size).float() for i, size in enumerate((3, 4))]
    x = linear("first", torch.cat([features.numerical, *codes], dim=1))
    for block in ("blocks.0.layers", "blocks.1.layers"):
        x = x + linear(f"{block}.2", linear(f"{block}.1.0", norm(f"{block}.0", x)).relu())
    torch.testing.assert_close(network(features), linear("head", norm("norm", x).relu()))


def test_deepsets_is_a_mean_over_features() -> None:
    network = build({"model": "DeepSets", "n_hidden": 16, "batchnorm": False})
    features = events(3)
    tokens = network.embed.tokens(features.numerical, features.categorical)
    elements = [network.encoder(tokens[:, i]) for i in range(5)]
    expected = network.head(network.decoder(sum(elements) / 5))
    torch.testing.assert_close(network(features), expected)


def test_event_transformer_follows_the_paper() -> None:
    """FT-Transformer with torch's own attention: pre-norm blocks, GeGLU, and a head on the learned token."""
    sizes = {"transformer_depth": 2, "embedding_dim": 16, "heads": 4, "dim_head": 4}
    network = build({"model": "EventTransformer", **sizes})
    network.eval()
    features = events(3)
    tokens = network.embed.tokens(features.numerical, features.categorical)
    x = torch.cat([network.cls.expand(3, 1, -1), tokens], dim=1)
    for block in network.blocks:
        ours = block.attention
        attention = nn.MultiheadAttention(16, 4, batch_first=True)
        attention.in_proj_weight = nn.Parameter(torch.cat([ours.query.weight, ours.key_value.weight]))
        attention.in_proj_bias = nn.Parameter(torch.cat([ours.query.bias, ours.key_value.bias]))
        attention.out_proj = ours.out
        normed = block.attention_norm(x)
        x = x + attention(normed, normed, normed)[0]
        first, _, _, second = block.feed_forward
        value, gate = first(block.feed_forward_norm(x)).chunk(2, dim=-1)
        x = x + second(value * functional.gelu(gate))
    torch.testing.assert_close(network(features), network.head(network.norm(x[:, 0]).relu()))


@pytest.mark.parametrize(
    "options", [{"model": "MLP"}, {"model": "MLP", "ensemble": {"members": 3}}, {"model": "ResNet"}], ids=str
)
def test_operations_are_those_that_torch_counts(options: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    inputs = replace(INPUTS, events=replace(INPUTS.events, cardinalities=(3, 40_000)))  # a table is no product
    network, features = build({"n_hidden": 256, **options}, inputs), events(50)
    monkeypatch.setattr("tabstar_lit.families.hep.networks.flops.may_have_peak", lambda tensor: True)
    own = dense_flops(network, features)
    with FlopCounterMode(display=False) as counter:
        network(features).sum().backward()
    assert counter.get_total_flops() == pytest.approx(own, rel=0.01)


def test_operations_of_heads_are_those_that_torch_counts() -> None:
    heads = EnsembleHeads(64, 5, (128, 128))
    vectors = torch.randn(50, 64, requires_grad=True)
    with FlopCounterMode(display=False) as counter:
        heads(vectors).sum().backward()
    assert counter.get_total_flops() == linear_cost(heads).token * TRAINED * 50
