"""Who is decayed, who gets which learning rate, and what a wrong pattern says."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from tabstar_lit.config.schema import TrainingConfig
from tabstar_lit.engine.optim.optimizers import build_optimizer
from tabstar_lit.engine.optim.parameter_groups import parameter_groups
from tabstar_lit.errors import ConfigError


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(4, 2)
        self.norm = nn.LayerNorm(4)


class HomeMadeNorm(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(4))


class Network(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(7, 4)
        self.encoder = nn.ModuleList([Block(), Block()])
        self.norms = nn.ModuleList([nn.BatchNorm1d(4), nn.GroupNorm(2, 4), nn.RMSNorm(4), HomeMadeNorm()])
        self.head = nn.Linear(4, 2)


def config(groups: list[dict[str, Any]] | None = None, name: str = "AdamW", **params: Any) -> TrainingConfig:
    return TrainingConfig.model_validate(
        {
            "optimizer": {"optimizer_name": name, "optimizer_params": params},
            "parameter_groups": {"groups": groups or []},
        }
    )


def names_by_group(network: nn.Module, groups: list[dict[str, Any]]) -> dict[str, list[str]]:
    names = {id(parameter): name for name, parameter in network.named_parameters()}
    return {group["name"]: [names[id(p)] for p in group["params"]] for group in groups}


def test_biases_and_norms_are_not_decayed_but_embeddings_are() -> None:
    network = Network()
    groups = parameter_groups(network, config())
    assert names_by_group(network, groups)["default"] == [
        "embedding.weight",
        "encoder.0.attention.in_proj_weight",
        "encoder.0.attention.out_proj.weight",
        "encoder.1.attention.in_proj_weight",
        "encoder.1.attention.out_proj.weight",
        "head.weight",
    ]
    assert [(group["name"], group.get("weight_decay")) for group in groups] == [
        ("default", None),
        ("default/no_decay", 0.0),
    ]
    assert sum(len(group["params"]) for group in groups) == len(list(network.parameters()))


def test_factors_around_one_are_not_decayed() -> None:
    class Scaled(nn.Linear):
        def __init__(self) -> None:
            super().__init__(4, 2)
            self.scale_in = nn.Parameter(torch.ones(4))

    network = Scaled()
    assert names_by_group(network, parameter_groups(network, config()))["default"] == ["weight"]


def test_everything_is_decayed_when_asked_for() -> None:
    training = TrainingConfig.model_validate({"parameter_groups": {"exclude_from_decay": "none"}})
    (group,) = parameter_groups(Network(), training)
    assert group["name"] == "default"
    assert "weight_decay" not in group


def test_an_optimizer_without_weight_decay_gets_one_group() -> None:
    (group,) = parameter_groups(Network(), config(name="Rprop"))
    assert set(group) == {"params", "name"}


def test_the_first_matching_pattern_decides() -> None:
    network = Network()
    groups = parameter_groups(
        network,
        config(
            [
                {"pattern": "encoder.1", "lr_scale": 0.5},
                {"pattern": "encoder.*", "lr_scale": 0.1, "weight_decay": 0.3},
                {"pattern": "*.weight", "lr": 0.7},
            ],
            lr=0.01,
        ),
    )
    by_group = names_by_group(network, groups)
    patterns = [name for pattern in ("encoder.1", "encoder.*", "*.weight") for name in (pattern, f"{pattern}/no_decay")]
    assert [group["name"] for group in groups] == [*patterns, "default/no_decay"]
    assert all(name.startswith("encoder.1.") for name in by_group["encoder.1"])
    assert by_group["*.weight"] == ["embedding.weight", "head.weight"]
    optimizer = build_optimizer(config(lr=0.01).optimizer, groups)
    assert [group["lr"] for group in optimizer.param_groups] == [0.005, 0.005, 0.001, 0.001, 0.7, 0.7, 0.01]
    decay = [group["weight_decay"] for group in optimizer.param_groups]
    assert decay == [0.01, 0.0, 0.3, 0.0, 0.01, 0.0, 0.0]


def test_the_scale_applies_to_the_optimizers_own_default() -> None:
    groups = parameter_groups(Network(), config([{"pattern": "head", "lr_scale": 10.0}]))
    assert groups[0]["lr"] == pytest.approx(1e-2)


def test_frozen_parameters_are_left_out_and_shared_ones_appear_once() -> None:
    network = Network()
    network.encoder.requires_grad_(False)
    network.tied = network.embedding
    groups = parameter_groups(network, config([{"pattern": "encoder", "lr": 0.1}]))
    names = [name for names in names_by_group(network, groups).values() for name in names]
    assert len(names) == len(set(names))
    assert not any(name.startswith("encoder") for name in names)
    network.requires_grad_(False)
    with pytest.raises(ConfigError, match="Nothing is left to train"):
        parameter_groups(network, config())


def test_the_order_is_the_networks_own_and_repeats() -> None:
    network = Network()
    first, second = parameter_groups(network, config()), parameter_groups(network, config())
    assert names_by_group(network, first) == names_by_group(network, second)


@pytest.mark.parametrize(
    ("group", "name", "message"),
    [
        ({"pattern": "encodr.*", "lr": 1.0}, "AdamW", r"groups\[0\]\.pattern: 'encodr\.\*' matches.*Nearest: encoder"),
        ({"pattern": "zzz", "lr": 1.0}, "AdamW", r"The first parameters are embedding\.weight"),
        ({"pattern": "head", "weight_decay": 0.1}, "Rprop", "Rprop has no weight decay"),
        ({"pattern": "head", "lr_scale": 0.1}, "sara", "sara has no fixed learning rate to scale"),
    ],
)
def test_groups_that_cannot_be_made_are_errors(group: dict[str, Any], name: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parameter_groups(Network(), config([group], name=name))
