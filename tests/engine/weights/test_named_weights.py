"""Weights in safetensors with all that a checkpoint keeps: the file loads as the checkpoint does, or says why not."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from checks import assert_equal
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import nn

from tabstar_lit.engine.exporting import write_weights
from tabstar_lit.engine.weights.files import CHECKPOINT_KEY, read_checkpoint
from tabstar_lit.engine.weights.named import CHECKPOINT_ENTRY, SUM_ENTRY, write_named
from tabstar_lit.errors import CheckpointError, ConfigError

KEPT: dict[str, Any] = {
    "family": "toy",
    "sizes": (3, [4, None]),
    "by_number": {1: "one", 2: {"$": 0.5}},
    "far": [math.inf, -math.inf],
    "learned": {"mean": torch.tensor([1.0, 2.0], dtype=torch.float64), "count": torch.tensor(7)},
}


@pytest.fixture
def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))


@pytest.fixture
def path(network: nn.Module, tmp_path: Path) -> Path:
    file = tmp_path / "model.safetensors"
    assert write_weights(network, KEPT, file, {"tabstar_lit": "for others"}) == len(network.state_dict()) + 2
    return file


@pytest.mark.parametrize("mmap", [False, True])
def test_what_is_read_is_what_was_written(network: nn.Module, path: Path, mmap: bool) -> None:
    content = read_checkpoint(path, mmap=mmap)
    expected = {f"network.{name}": tensor for name, tensor in network.state_dict().items()}
    assert_equal(content["state_dict"], expected)
    assert_equal(content[CHECKPOINT_KEY], {"schema_version": 1, "payload": KEPT})
    assert isinstance(content[CHECKPOINT_KEY]["payload"]["sizes"], tuple)


def test_other_programs_find_every_tensor_by_its_name(network: nn.Module, path: Path) -> None:
    tensors = load_file(path)
    assert set(tensors) == {*network.state_dict(), "learned.mean", "learned.count"}
    assert torch.equal(tensors["0.weight"], network.state_dict()["0.weight"])


def test_other_programs_read_what_is_plain_as_plain_json(path: Path) -> None:
    with safe_open(path, framework="pt") as file:
        kept = json.loads(file.metadata()[CHECKPOINT_ENTRY])
    assert kept["payload"]["family"] == "toy"
    assert set(kept["payload"]["by_number"]) == {"$items"}


def test_one_tensor_may_have_two_names(tmp_path: Path) -> None:
    tied = nn.ModuleList([nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False)])
    tied[1].weight = tied[0].weight
    file = tmp_path / "tied.safetensors"
    write_weights(tied, {}, file)
    assert set(read_checkpoint(file)["state_dict"]) == {"network.0.weight", "network.1.weight"}


def test_no_flipped_bit_goes_unseen(path: Path) -> None:
    whole = path.read_bytes()
    size = int.from_bytes(whole[:8], "little")
    text = whole.index(b"by_number")
    for place in (text + 3, *range(8 + size, len(whole), 7)):
        damaged = bytearray(whole)
        damaged[place] ^= 4
        path.write_bytes(damaged)
        with pytest.raises(CheckpointError, match="damaged"):
            read_checkpoint(path)


@pytest.mark.parametrize("length", [0, 5, 100])
def test_a_file_that_is_cut_is_refused(path: Path, length: int) -> None:
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(CheckpointError, match=r"is missing or damaged .* Export it again"):
        read_checkpoint(path)


def test_a_file_that_is_not_there_is_refused_as_any_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="There is no checkpoint at"):
        read_checkpoint(tmp_path / "model.safetensors")


def test_weights_of_another_program_are_refused(tmp_path: Path) -> None:
    save_file({"weight": torch.zeros(2)}, tmp_path / "other.safetensors")
    with pytest.raises(CheckpointError, match=r"holds weights alone, .* that 'tabstar_lit export --safetensors' wrote"):
        read_checkpoint(tmp_path / "other.safetensors")


def test_a_file_of_a_newer_release_is_refused(tmp_path: Path) -> None:
    write_named(tmp_path / "newer.safetensors", {}, {"schema_version": 99, "payload": {}})
    with pytest.raises(CheckpointError, match="schema version 99"):
        read_checkpoint(tmp_path / "newer.safetensors")


def test_a_value_without_a_form_is_named(network: nn.Module, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"a complex under 'payload\.scale\.0', which has no form in JSON"):
        write_weights(network, {"scale": [1j]}, tmp_path / "model.safetensors")
    assert not list(tmp_path.iterdir())


def test_two_tensors_of_one_name_are_refused(network: nn.Module, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"both a weight and a tensor .* are called '0\.weight'"):
        write_weights(network, {"0": {"weight": torch.zeros(1)}}, tmp_path / "model.safetensors")


def test_a_file_that_would_not_be_known_again_is_not_written(network: nn.Module, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"model\.bin: weights are written to a file that ends in \.safetensors"):
        write_weights(network, KEPT, tmp_path / "model.bin")


def test_the_check_sum_stands_beside_what_it_is_of(path: Path) -> None:
    size = int.from_bytes(path.read_bytes()[:8], "little")
    metadata = json.loads(path.read_bytes()[8 : 8 + size])["__metadata__"]
    assert set(metadata) == {"format", "tabstar_lit", CHECKPOINT_ENTRY, SUM_ENTRY}
    assert len(metadata[SUM_ENTRY]) == 8
