"""Adapters: where the official package has them, each learns, and each acts in evaluation as in training."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from benchmarks.golden.tabstar_v1 import answers, write_published
from torch import Tensor
from trained_tables import Bench

from tabstar_lit.config import load_experiment
from tabstar_lit.errors import ConfigError
from tabstar_lit.families.tabstar.batch import TableBatch
from tabstar_lit.families.tabstar.config import LoraConfig, TabstarArchitecture
from tabstar_lit.families.tabstar.deployment.stored import merged
from tabstar_lit.families.tabstar.family import family
from tabstar_lit.families.tabstar.finetuning.adapters import adapted_layers, add_adapters
from tabstar_lit.families.tabstar.network import TabStarNetwork
from tabstar_lit.nn.tabstar_config import RandomEncoder, TextEncoderConfig
from tabstar_lit.nn.text_sources import load_text_encoder

LORA = LoraConfig(rank=4, alpha=8, dropout=0.1)


def network(unfreeze_layers: int = 1, **sizes: Any) -> TabStarNetwork:
    torch.manual_seed(0)
    text = TextEncoderConfig(name="random", unfreeze_layers=unfreeze_layers, random=RandomEncoder(**sizes))
    return TabStarNetwork(TabstarArchitecture(text_encoder=text, interaction_heads=2), load_text_encoder(text))


def adapted() -> tuple[TabStarNetwork, dict[str, Tensor]]:
    """Return a network whose adapters say something, and its own weights before."""
    net = network()
    weights = {name: weight.clone() for name, weight in net.state_dict().items()}
    add_adapters(net, LORA)
    with torch.no_grad():
        for name, parameter in net.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.3)
    return net, weights


@pytest.fixture(scope="module")
def batches(bench: Bench) -> dict[str, TableBatch]:
    told = ["model_config=tabstar/tiny", f"dataset_config.corpus={bench.corpus}"]
    data = family.data(load_experiment(family.schema(), command=family.command, overrides=told).experiment, seed=0)
    return {batch.task: batch for batch in data.val_dataloader()}


def test_adapters_are_where_the_package_has_them(tmp_path: Path) -> None:
    """By ``peft`` on the package's own model, as the package calls it."""
    told = answers()["model"]
    text = TextEncoderConfig(name=str(write_published(told, tmp_path)), unfreeze_layers=2)
    ours = TabStarNetwork(TabstarArchitecture(text_encoder=text), load_text_encoder(text))
    assert sorted(adapted_layers(ours)) == told["adapters"]["layers"]
    add_adapters(ours, LoraConfig())
    count = sum(parameter.numel() for parameter in ours.parameters() if parameter.requires_grad)
    assert count == told["adapters"]["weights"]


def test_adapters_that_learnt_nothing_change_nothing(batches: dict[str, TableBatch]) -> None:
    net = network().eval()
    with torch.inference_mode():
        before = [net(batch) for batch in batches.values()]
        add_adapters(net, LORA)
        for expected, batch in zip(before, batches.values(), strict=True):
            torch.testing.assert_close(net.eval()(batch), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("grad", [True, False])
def test_adapters_act_in_evaluation_as_when_they_are_merged(batches: dict[str, TableBatch], grad: bool) -> None:
    """Without gradients torch would take its fast path, past all adapters."""
    live, weights = adapted()
    whole = network()
    own = {name: parameter for name, parameter in live.named_parameters() if "lora_" in name}
    whole.load_state_dict(merged(weights, own, LORA.alpha / LORA.rank))
    plain = network()
    with torch.set_grad_enabled(grad):
        for batch in batches.values():
            seen = live.eval()(batch)
            torch.testing.assert_close(seen, whole.eval()(batch), rtol=1e-4, atol=1e-5)
            assert (seen - plain.eval()(batch)).abs().max() > 0.01
        with torch.autocast("cpu", torch.bfloat16):
            torch.testing.assert_close(live(batch).float(), whole(batch).float(), rtol=0.1, atol=0.1)


def test_every_adapter_learns_and_nothing_else(batches: dict[str, TableBatch]) -> None:
    net, _ = adapted()
    assert not net.text_encoder.is_frozen
    for batch in batches.values():
        net.train()(batch).square().sum().backward()
    trained = {name: parameter.grad for name, parameter in net.named_parameters() if parameter.requires_grad}
    assert len(trained) == 2 * len([*adapted_layers(network())]) == 52
    assert all("lora_" in name for name in trained)
    assert [name for name, gradient in trained.items() if gradient is None or not gradient.any()] == []


def test_adapters_without_peft_say_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(ConfigError, match=r"pip install 'tabstar_lit\[finetune\]'"):
        add_adapters(network(), LORA)
