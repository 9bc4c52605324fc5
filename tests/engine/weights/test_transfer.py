"""Staged training: modules taken from other checkpoints, and what freezing leaves to train."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from tabstar_lit.config.schema import LoadModule
from tabstar_lit.engine.weights.transfer import apply_freeze, frozen_modules, transfer_modules
from tabstar_lit.errors import CheckpointError, ConfigError


class Network(nn.Module):
    def __init__(self, width: int = 4) -> None:
        super().__init__()
        self.embedding = nn.Embedding(5, width)
        self.encoder = nn.Module()
        self.encoder.layer = nn.ModuleList(nn.Sequential(nn.Linear(width, width), nn.Dropout(0.5)) for _ in range(4))
        self.norm = nn.BatchNorm1d(width)
        self.head = nn.Linear(width, 1)


def checkpoint(path: Path, network: nn.Module) -> Path:
    torch.save({"state_dict": {f"network.{name}": t for name, t in network.state_dict().items()}}, path)
    return path


def equal(a: nn.Module, b: nn.Module) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


def test_modules_come_from_stages_and_files_under_the_same_or_another_path(tmp_path: Path) -> None:
    pretrained, target = Network(), Network()
    untouched = target.head.weight.clone()
    path = checkpoint(tmp_path / "a.ckpt", pretrained)
    asked = []

    def resolve(source: str) -> Path:
        asked.append(source)
        return path

    lines = transfer_modules(
        target,
        {
            "embedding": "pretrain",
            "encoder.layer.0": LoadModule(source="other.ckpt", module="encoder.layer.3"),
            "encoder.layer.1": LoadModule(source="pretrain"),
        },
        resolve,
        strict=True,
    )
    assert asked == ["pretrain", "other.ckpt", "pretrain"]
    assert equal(target.embedding, pretrained.embedding)
    assert equal(target.encoder.layer[0], pretrained.encoder.layer[3])
    assert equal(target.encoder.layer[1], pretrained.encoder.layer[1])
    assert torch.equal(target.head.weight, untouched)
    assert lines[1] == f"encoder.layer.0: 2 tensors from 'encoder.layer.3' in {path}"


def test_strict_refuses_and_not_strict_says_what_it_skipped(tmp_path: Path) -> None:
    path = checkpoint(tmp_path / "a.ckpt", Network(width=6))
    target = Network()
    with pytest.raises(CheckpointError, match=r"'head' in .*a\.ckpt do not fit 'head'; .*1 of another shape"):
        transfer_modules(target, {"head": str(path)}, Path, strict=True)
    (line,) = transfer_modules(target, {"head": str(path)}, Path, strict=False)
    assert "head: 1 tensors from" in line
    assert "skipped 0 missing, 0 unexpected, 1 of another shape" in line


def test_unknown_modules_name_the_nearest(tmp_path: Path) -> None:
    path = checkpoint(tmp_path / "a.ckpt", Network())
    with pytest.raises(ConfigError, match=r"load_modules: the network has no module 'encodr'\. Nearest: encoder"):
        transfer_modules(Network(), {"encodr": str(path)}, Path, strict=True)
    with pytest.raises(CheckpointError, match="has no module 'decoder'; it has embedding, encoder, norm, head"):
        transfer_modules(Network(), {"encoder": LoadModule(source=str(path), module="decoder")}, Path, strict=True)


def trained(network: nn.Module) -> set[str]:
    return {name for name, parameter in network.named_parameters() if parameter.requires_grad}


def test_patterns_freeze_modules_and_single_parameters() -> None:
    network = Network()
    report = apply_freeze(network, ("encoder", "*.bias"), {})
    assert trained(network) == {"embedding.weight", "norm.weight", "head.weight"}
    assert report.trainable_parameters == 20 + 4 + 4
    assert report.frozen_parameters == 4 * (16 + 4) + 4 + 1
    assert report.frozen[0] == "encoder.layer.0.0.weight"
    assert str(report) == "28 of 113 parameters are trained, 85 frozen"


def test_the_last_layers_are_trained_inside_a_frozen_encoder_too() -> None:
    network = Network()
    apply_freeze(network, ("embedding", "encoder"), {"encoder.layer": 2})
    assert {name for name in trained(network) if name.startswith("encoder")} == {
        f"encoder.layer.{layer}.0.{kind}" for layer in (2, 3) for kind in ("weight", "bias")
    }


@pytest.mark.parametrize(("last", "first_trained"), [(0, 4), (1, 3), (4, 0)])
def test_the_layers_before_the_last_are_frozen(last: int, first_trained: int) -> None:
    network = Network()
    apply_freeze(network, (), {"encoder.layer": last})
    layers = [all(p.requires_grad for p in layer.parameters()) for layer in network.encoder.layer]
    assert layers == [index >= first_trained for index in range(4)]
    assert "embedding.weight" in trained(network)


def test_nothing_is_frozen_without_being_asked() -> None:
    report = apply_freeze(Network(), (), {})
    assert report.frozen == ()
    assert report.frozen_parameters == 0


@pytest.mark.parametrize(
    ("freeze", "unfreeze_last", "message"),
    [
        (("encodr",), {}, "freeze: 'encodr' matches no module or parameter.*Nearest: encoder"),
        ((), {"encoder.layers": 2}, r"unfreeze_last: the network has no module 'encoder\.layers'\. Nearest: encoder"),
        ((), {"head": 1}, r"'head' is a Linear, not a list of layers.*encoder\.layer"),
        ((), {"encoder.layer": 5}, r"has 4 layers, so not its last 5"),
    ],
)
def test_names_that_fit_nothing_are_errors(freeze: Any, unfreeze_last: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        apply_freeze(Network(), freeze, unfreeze_last)


def test_frozen_modules_are_the_outermost_ones_and_keep_still_in_evaluation_mode() -> None:
    network = Network()
    assert list(frozen_modules(network)) == []
    apply_freeze(network, ("norm",), {"encoder.layer": 1})
    assert list(frozen_modules(network)) == [*network.encoder.layer[:3], network.norm]
    network.train()
    for module in frozen_modules(network):
        module.eval()
    assert [layer[1].training for layer in network.encoder.layer] == [False, False, False, True]
    mean = network.norm.running_mean.clone()
    network.norm(torch.randn(8, 4) + 5)
    assert torch.equal(network.norm.running_mean, mean)
    apply_freeze(network, ("*",), {})
    assert list(frozen_modules(network)) == [network]
