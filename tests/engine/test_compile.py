"""A compiled network is the same network: its weights keep their names, and its outputs their values."""

from __future__ import annotations

import copy

import torch
from toy import ToyArchitecture, ToyModel, ToyModule, ToyNetwork


def module() -> ToyModule:
    torch.manual_seed(0)
    config = ToyArchitecture(dropout=0.0)
    return ToyModule(ToyNetwork(config), ToyModel(name="toy", architecture_config=config))


def test_weights_of_compiled_and_plain_networks_interchange() -> None:
    plain, compiled = module(), module()
    compiled.compile_network("eager")
    x = torch.randn(5, 4)
    torch.testing.assert_close(compiled.network(x), plain.network(x), rtol=0, atol=1e-6)
    assert list(compiled.state_dict()) == list(plain.state_dict())
    changed = {name: weight + 1 for name, weight in compiled.state_dict().items()}
    plain.load_state_dict(changed)
    compiled.load_state_dict(copy.deepcopy(changed))
    torch.testing.assert_close(compiled.network(x), plain.network(x), rtol=0, atol=1e-6)
